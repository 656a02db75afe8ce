//! Readings that are texts.

use super::readings::at;
use super::*;
use crate::{Width, Window};
use proptest::prelude::*;

fn states(readings: &[(i64, &str)]) -> Partial {
    let mut partial = Partial::empty();
    readings.iter().for_each(|(time, text)| partial.push_state(at(*time), text));
    partial
}

fn window(index: i64) -> Window {
    Window::from_index(index, Width::from_millis(10_000).unwrap()).unwrap()
}

fn figures(windows: &[Vec<Partial>]) -> OrderFigures {
    let mut order = SeriesOrder::new(&[]);
    for (index, partials) in windows.iter().enumerate() {
        partials.iter().for_each(|partial| order.push(window(index as i64), partial));
    }
    order.finish(at(0), at(10_000 * windows.len() as i64))
}

#[test]
fn states_hold_until_the_next_one_also_over_windows() {
    let windows = [
        vec![states(&[(1_000, "auto"), (4_000, "off")])],
        vec![],
        vec![states(&[(21_000, "auto"), (25_000, "auto")])],
    ];
    let figures = figures(&windows);
    assert_eq!(figures.state_times(), Some(vec![("auto", 7.0), ("off", 17.0)]));
    assert_eq!((figures.transitions(), figures.last_state()), (Some(2), Some("auto")));
    assert_eq!((figures.resets(), figures.integral()), (None, None), "there are no numbers");
    let partial = &windows[0][0];
    assert_eq!((partial.count(), partial.state_count(), partial.is_empty()), (0, 2, false));
    assert_eq!(partial.distinct(), Some(2.0));
}

#[test]
fn the_least_32_states_are_told_apart() {
    let texts: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    let readings: Vec<(i64, &str)> = texts.iter().zip(0..).map(|(text, n)| (n * 100, &**text)).collect();
    let reversed: Vec<(i64, &str)> = readings.iter().rev().copied().collect();
    let in_order = states(&readings);
    let figures_of = |partial: &Partial| figures(&[vec![partial.clone()]]);
    let figures = figures_of(&in_order);
    let times = figures.state_times().unwrap();
    assert_eq!((times.len(), times[0].0, times[0].1), (33, "other", 0.7));
    assert!(times.iter().skip(1).zip(&texts).all(|(time, text)| time.0 == text && time.1 == 0.1));
    assert_eq!(figures.last_state(), Some("other"));
    let reversed = figures_of(&states(&reversed));
    let texts_of =
        |times: Vec<(&str, f64)>| times.into_iter().map(|(text, _)| text.to_owned()).collect::<Vec<_>>();
    assert_eq!(texts_of(reversed.state_times().unwrap()), texts_of(times));
    assert_eq!(in_order.distinct(), None, "some are not told apart");
    let mut distinct = Partial::with_parts(Parts::DISTINCT);
    readings.iter().for_each(|(time, text)| distinct.push_state(at(*time), text));
    assert!((distinct.distinct().unwrap() - 40.0).abs() < 4.0);
}

#[test]
fn the_limit_of_states_is_that_of_the_window_whatever_its_parts() {
    let texts: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    let readings: Vec<(i64, &str)> = texts.iter().zip(0..).map(|(text, n)| (n * 100, &**text)).collect();
    let late = [(5_000, "s35"), (6_000, "s01")];
    let (most, few) = (states(&readings), states(&late));
    let apart = figures(&[vec![most.clone(), few.clone()]]);
    let mut merged = few;
    merged.merge(&most);
    assert_eq!(apart, figures(&[vec![merged]]));
    assert!(apart.state_times().unwrap().iter().all(|(text, _)| *text != "s35"));
}

#[test]
fn a_state_beside_a_number_is_no_reading_that_version_1_loses() {
    let mut partial = Partial::empty();
    partial.push(at(5), 1.0);
    partial.push_state_of_number(at(5), "true");
    assert!(!partial.encode_version_1(at(0), &mut Vec::new()));
    let mut other = states(&[(6, "auto")]);
    assert!(other.encode_version_1(at(0), &mut Vec::new()));
    other.merge(&partial);
    let mut bytes = Vec::new();
    other.encode(at(0), &mut bytes);
    assert!(Partial::decode(&bytes, at(0)).unwrap().encode_version_1(at(0), &mut Vec::new()));
}

#[test]
fn states_of_several_series_add_up() {
    let mut sum = figures(&[vec![states(&[(0, "on"), (6_000, "off")])]]);
    sum.merge(&figures(&[vec![states(&[(1_000, "on"), (4_000, "idle"), (9_000, "on")])]]));
    assert_eq!(sum.state_times(), Some(vec![("idle", 5.0), ("off", 0.0), ("on", 9.0)]));
    assert_eq!((sum.transitions(), sum.last_state()), (Some(3), Some("on")));
    let mut across = Partial::empty();
    across.merge_across_series(&states(&[(0, "on"), (6_000, "off")]));
    across.merge_across_series(&states(&[(1_000, "on")]));
    assert_eq!(across.state_count(), 3);
    assert_eq!(figures(&[vec![across]]).state_times(), None, "their order is not known");
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "not a state"))]
fn texts_that_are_no_states_are_ignored() {
    for text in ["", "a\nb", &"x".repeat(65)] {
        let partial = states(&[(0, text)]);
        assert!(partial.is_empty());
    }
}

fn readings() -> impl Strategy<Value = Vec<(i64, String)>> {
    let text = prop_oneof![
        6 => (0..5).prop_map(|n| format!("s{n}")),
        2 => (0..60).prop_map(|n| format!("s{n}")),
        1 => "[a-zäß☃ ]{1,20}",
        1 => Just(OTHER_STATE.to_owned()),
    ];
    prop::collection::vec((0..9_999_i64, text), 0..100)
}

fn of(readings: &[(i64, String)], parts: Parts) -> Partial {
    let mut partial = Partial::with_parts(parts);
    readings.iter().for_each(|(time, text)| partial.push_state(at(*time), text));
    partial
}

proptest! {
    #[test]
    fn few_states_in_any_order_and_parts_give_one_answer(
        mut readings in readings(),
        owners in prop::collection::vec(0..3_usize, 33),
    ) {
        readings.truncate(32);
        let mut sorted = readings.clone();
        sorted.sort();
        sorted.dedup_by_key(|reading| reading.0);
        let mut seen = std::collections::BTreeSet::new();
        readings.retain(|reading| sorted.contains(reading) && seen.insert(reading.0));
        let whole = figures(&[vec![of(&sorted, Parts::NONE)]]);
        let mut parts = vec![Partial::empty(); 3];
        for ((time, text), owner) in readings.iter().zip(&owners) {
            parts[*owner].push_state(at(*time), text);
        }
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let mut merged = Partial::empty();
        parts.iter().rev().for_each(|part| merged.merge(part));
        let parts = figures(&[parts]);
        prop_assert_eq!(&figures(&[vec![merged]]), &parts);
        prop_assert_eq!(&parts, &whole);
    }

    #[test]
    fn decoding_inverts_encoding_of_states(readings in readings(), numbers: bool, distinct: bool, base: i64) {
        let parts = if distinct { Parts::DISTINCT } else { Parts::NONE };
        let mut partial = of(&readings, parts);
        if numbers {
            partial.push(at(5), 1.5);
        }
        for base in [Timestamp::from_nanos(base), at(0)] {
            let mut bytes = Vec::new();
            partial.encode(base, &mut bytes);
            let decoded = Partial::decode(&bytes, base).map(|partial| partial.asking_for(parts));
            prop_assert_eq!(decoded.as_ref(), Ok(&partial));
            let last = readings.iter().map(|(time, _)| at(*time)).chain(numbers.then_some(at(5))).max();
            prop_assert_eq!(Partial::check(&bytes, base), Ok(last));
            let mut old = Vec::new();
            prop_assert_eq!(partial.encode_version_1(base, &mut old), !readings.is_empty());
        }
    }

    #[test]
    fn time_in_states_adds_up(readings in readings()) {
        let figures = figures(&[vec![of(&readings, Parts::NONE)]]);
        let times: Vec<i64> = readings.iter().map(|(time, _)| *time).collect();
        let covered = times.iter().max().zip(times.iter().min()).map(|(max, min)| (max - min) as f64 / 1e3);
        let sum = figures.state_times().map(|times| times.iter().map(|(_, time)| time).sum::<f64>());
        let in_order = readings.is_sorted_by_key(|reading| reading.0);
        if readings.len() <= 32 || in_order {
            prop_assert!((sum.unwrap_or(0.0) - covered.unwrap_or(0.0)).abs() < 1e-9);
        } else {
            // Unknown, if one came too late.
            prop_assert!(sum.is_none_or(|sum| (sum - covered.unwrap()).abs() < 1e-9));
        }
    }
}
