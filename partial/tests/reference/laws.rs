//! Laws for any readings: splits, orders of arrival, merges and storage change nothing.

use catchment_partial::{EXACT_MAX, OrderFigures, Partial, Parts, SeriesOrder, Timestamp};
use proptest::prelude::*;

use crate::build::{self, Shuffle, partial_of, window};
use crate::data::{Reading, Value};
use crate::naive::Naive;

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

/// Some states, more than are told apart.
fn state() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["auto", "off", "manual", "Störung"]).prop_map(str::to_owned),
        1 => (0..50).prop_map(|number| format!("step {number}")),
        1 => Just(catchment_partial::OTHER_STATE.to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (-300i32..300).prop_map(|tenths| Value::Number(f64::from(tenths) / 10.0)),
        2 => (0u32..1_000_000).prop_map(|count| Value::Number(f64::from(count))),
        1 => any::<bool>().prop_map(Value::Boolean),
        2 => state().prop_map(Value::State),
    ]
}

/// Up to `most` readings in order of time, at different times within three windows.
fn ordered(most: usize) -> impl Strategy<Value = Vec<Reading>> {
    prop::collection::btree_map(0i64..30_000, value(), 0..=most)
        .prop_map(|readings| readings.into_iter().map(|(millis, value)| (at(millis), value)).collect())
}

/// Up to `most` readings of one window in any order, also at equal and at odd times.
pub(crate) fn disordered(most: usize) -> impl Strategy<Value = Vec<Reading>> {
    let time = prop_oneof![
        3 => (0i64..10_000).prop_map(at),
        2 => (0i64..5).prop_map(at),
        1 => (0i64..10_000_000_000).prop_map(Timestamp::from_nanos),
    ];
    prop::collection::vec((time, value()), 0..=most)
}

pub(crate) fn parts() -> impl Strategy<Value = Parts> {
    (0u8..8).prop_map(|bits| Parts::from_bits(bits).unwrap())
}

/// All figures as bits, with their names.
pub(crate) fn bits(figures: &OrderFigures, bounds: &[f64]) -> Vec<String> {
    let number = |name: &str, value: Option<f64>| format!("{name} {:?}", value.map(f64::to_bits));
    let count = |name: &str, value: Option<u64>| format!("{name} {value:?}");
    let mut found = vec![
        number("increase", figures.increase()),
        number("rate", figures.rate()),
        number("delta", figures.delta()),
        count("resets", figures.resets()),
        count("changes", figures.changes()),
        number("time_weighted_mean", figures.time_weighted_mean()),
        number("time_weighted_mean_linear", figures.time_weighted_mean_linear()),
        number("integral", figures.integral()),
        number("integral_linear", figures.integral_linear()),
        count("transitions", figures.transitions()),
        format!("state_times {:?}", figures.state_times()),
        format!("last_state {:?}", figures.last_state()),
    ];
    for bound in bounds {
        found.push(number("time_above", figures.time_above(*bound)));
        found.push(number("time_below", figures.time_below(*bound)));
    }
    found
}

/// All figures of the values, as bits.
fn value_bits(partial: &Partial) -> Vec<Option<u64>> {
    let moments = [partial.mean(), partial.variance(), partial.sample_variance(), partial.sample_stddev()];
    let shape = [partial.skewness(), partial.kurtosis(), partial.distinct()];
    let means = [0.0, 0.1, 0.25, 0.49].map(|cut| partial.trimmed_mean(cut));
    let quantiles = [0.0, 0.1, 0.5, 0.9, 1.0].map(|q| partial.quantile(q));
    let numbers = moments.into_iter().chain(shape).chain(means).chain(quantiles);
    let mut found: Vec<_> = numbers.map(|number| number.map(f64::to_bits)).collect();
    found.extend([-5.0, 0.0, 1.0, 20.0, 1e5].map(|bound| Some(partial.below(bound))));
    found.extend([Some(partial.count()), Some(partial.state_count())]);
    found
}

fn near(value: f64, expected: f64, scale: f64) -> bool {
    (value - expected).abs() <= 1e-9 * scale.max(expected.abs()) + 1e-12
}

/// Compares with the naive model. Bounds are known where every value is.
fn assert_as_naive(
    figures: &OrderFigures,
    naive: &Naive,
    is_many: bool,
    bound: f64,
) -> Result<(), TestCaseError> {
    let pairs = [
        ("increase", figures.increase(), naive.increase),
        ("delta", figures.delta(), naive.delta),
        ("integral", figures.integral(), (naive.count > 1).then_some(naive.integral)),
        ("linear", figures.integral_linear(), (naive.count > 1).then_some(naive.integral_linear)),
        ("mean", figures.time_weighted_mean(), (naive.count > 1).then(|| naive.integral / naive.covered)),
    ];
    for (name, value, expected) in pairs {
        // With one reading there is no time: an integral of nothing is 0 or undefined.
        if naive.count == 1 && value.is_none_or(|value| value == 0.0) {
            continue;
        }
        let is_near = value.zip(expected).map_or(value == expected, |(a, b)| near(a, b, 1e7));
        prop_assert!(is_near, "{}: {:?}, expected {:?}", name, value, expected);
    }
    if naive.count > 0 {
        prop_assert_eq!(figures.resets(), Some(naive.resets));
        prop_assert_eq!(figures.changes(), Some(naive.changes));
    }
    if naive.count > 1 && !is_many {
        prop_assert!(near(figures.time_above(bound).unwrap(), naive.above, 30.0));
        prop_assert!(near(figures.time_below(bound).unwrap(), naive.below, 30.0));
    }
    if naive.last_state.is_some() {
        prop_assert_eq!(figures.last_state(), naive.last_state.as_deref());
        prop_assert_eq!(figures.transitions(), Some(naive.transitions));
        let times = figures.state_times().unwrap();
        let states: Vec<_> = times.iter().map(|(state, _)| *state).collect();
        prop_assert_eq!(states, naive.state_times.keys().collect::<Vec<_>>());
        for (state, seconds) in times {
            prop_assert!(near(seconds, naive.state_times[state], 30.0), "{}: {}", state, seconds);
        }
    }
    Ok(())
}

const BOUND: f64 = 12.5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Parts of a window that do not overlap give what one pass over all readings gives.
    #[test]
    fn splits_of_windows_equal_the_single_pass(readings in ordered(160), seed: u64, merge: bool) {
        let (from, to) = (at(0), at(30_000));
        let mut shuffle = Shuffle(seed);
        let mut partials = Vec::new();
        for group in readings.chunk_by(|a, b| window(a.0) == window(b.0)) {
            let stretches = build::stretches(group, &mut shuffle);
            let mut split: Vec<_> =
                stretches.into_iter().map(|part| partial_of(build::all_parts(), part)).collect();
            shuffle.shuffle(&mut split);
            if merge {
                split = vec![build::merged(&split)];
            }
            partials.extend(split.into_iter().map(|partial| (window(group[0].0), partial)));
        }
        let figures = build::order(&partials, &[BOUND], from, to);
        // The states of a window that are told apart are those of all of its readings.
        let states: std::collections::BTreeSet<_> =
            readings.iter().filter_map(|(time, value)| Some((window(*time), value.state()?))).collect();
        let naive = Naive::of(&readings, BOUND, [from, to]);
        prop_assume!(states.len() <= catchment_partial::STATES_MAX || readings.len() <= EXACT_MAX);
        assert_as_naive(&figures, &naive, build::is_many(&readings), BOUND)?;
    }

    /// Few readings give the same bits in every order of arrival, and however they are spread over partials.
    #[test]
    fn few_readings_in_any_order_give_the_same_bits(
        readings in disordered(EXACT_MAX), seed: u64, parts in parts(),
    ) {
        let single = partial_of(parts, &readings);
        let mut shuffled = readings.clone();
        let mut shuffle = Shuffle(seed);
        shuffle.shuffle(&mut shuffled);
        let pushed = partial_of(parts, &shuffled);
        prop_assert_eq!(&pushed, &single);
        let mut pieces: Vec<_> =
            shuffled.chunks(1 + shuffle.below(9)).map(|piece| partial_of(parts, piece)).collect();
        shuffle.shuffle(&mut pieces);
        let mut merged = Partial::with_parts(parts);
        pieces.iter().for_each(|piece| merged.merge(piece));
        prop_assert_eq!(&merged, &single);
        prop_assert_eq!(build::encoded(&merged, at(0)), build::encoded(&single, at(0)));
        prop_assert_eq!(value_bits(&merged), value_bits(&single));

        let figures = |partials: &[Partial]| {
            let mut order = SeriesOrder::new(&[BOUND]);
            partials.iter().for_each(|partial| order.push(window(at(0)), partial));
            bits(&order.finish(at(0), at(10_000)), &[BOUND])
        };
        let expected = figures(std::slice::from_ref(&single));
        prop_assert_eq!(figures(&[pushed]), expected.clone());
        prop_assert_eq!(figures(&[merged]), expected.clone());
        prop_assert_eq!(figures(&pieces), expected);
        let naive = Naive::of(&readings, BOUND, [at(0), at(10_000)]);
        // With all readings at one time, a mean over time is undefined.
        if naive.count != 0 && naive.covered > 0.0 {
            let order = build::order(&[(window(at(0)), single)], &[BOUND], at(0), at(10_000));
            assert_as_naive(&order, &naive, false, BOUND)?;
        }
    }

    /// Many readings, in any order: all that does not depend on their order.
    #[test]
    fn values_in_any_order_give_the_same_bits(readings in disordered(120), seed: u64, parts in parts()) {
        let single = partial_of(parts, &readings);
        let mut shuffled = readings;
        let mut shuffle = Shuffle(seed);
        shuffle.shuffle(&mut shuffled);
        let mut merged = Partial::with_parts(parts);
        for piece in shuffled.chunks(1 + shuffle.below(50)) {
            merged.merge(&partial_of(parts, piece));
        }
        prop_assert_eq!(value_bits(&merged), value_bits(&single));
    }

    /// A run is as good as one reading after the other.
    #[test]
    fn runs_equal_pushes(readings in disordered(120), parts in parts()) {
        let numbers: Vec<_> = readings.iter().filter_map(|(time, value)| Some((*time, value.number()?))).collect();
        let mut run = Partial::with_parts(parts);
        run.push_run(numbers.iter().copied());
        let mut pushed = Partial::with_parts(parts);
        numbers.iter().for_each(|(time, number)| pushed.push(*time, *number));
        prop_assert_eq!(run, pushed);
    }

    #[test]
    fn merging_partials_is_commutative_and_associative(
        a in disordered(70), b in disordered(70), c in disordered(70), parts in parts(),
    ) {
        let [a, b, c] = [a, b, c].map(|readings| partial_of(parts, &readings));
        let merge = |a: &Partial, b: &Partial| {
            let mut merged = a.clone();
            merged.merge(b);
            merged
        };
        prop_assert_eq!(merge(&a, &b), merge(&b, &a));
        prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
        prop_assert_eq!(merge(&a, &Partial::with_parts(parts)), a.clone());
        prop_assert_eq!(merge(&Partial::with_parts(parts), &a), a);
    }

    /// Partials of different metrics' settings: a part that one side lacks is unknown, in either order.
    #[test]
    fn merging_different_parts_is_commutative(
        a in disordered(70), b in disordered(70), a_parts in parts(), b_parts in parts(),
    ) {
        let (a, b) = (partial_of(a_parts, &a), partial_of(b_parts, &b));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        prop_assert_eq!(value_bits(&ab), value_bits(&ba));
        prop_assert_eq!(build::encoded(&ab, at(0)), build::encoded(&ba, at(0)));
        prop_assert_eq!(ab, ba);
    }

    #[test]
    fn merging_figures_is_commutative(a in ordered(120), b in ordered(120), a_parts in parts(), b_parts in parts()) {
        let figures = |readings: &[Reading], parts| {
            let windows = build::windows(build::Way::Pushed, parts, readings);
            build::order(&windows, &[BOUND], at(0), at(30_000))
        };
        let (a, b) = (figures(&a, a_parts), figures(&b, b_parts));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        prop_assert_eq!(bits(&ab, &[BOUND]), bits(&ba, &[BOUND]));
        let mut with_none = a.clone();
        with_none.merge(&OrderFigures::default());
        prop_assert_eq!(bits(&with_none, &[BOUND]), bits(&a, &[BOUND]));
        let mut of_none = OrderFigures::default();
        of_none.merge(&a);
        prop_assert_eq!(bits(&of_none, &[BOUND]), bits(&a, &[BOUND]));
    }

    #[test]
    fn decoding_inverts_encoding(readings in disordered(120), parts in parts(), base in -10_000i64..20_000) {
        for partial in [partial_of(parts, &readings), merged_halves(&readings, parts)] {
            let bytes = build::encoded(&partial, at(base));
            prop_assert_eq!(Partial::check(&bytes, at(base)).is_ok(), true);
            let read = Partial::decode(&bytes, at(base)).map(|read| read.asking_for(partial.parts()));
            prop_assert_eq!(read, Ok(partial));
        }
    }

    /// Version 1 has what it always had, and says whether states are left out.
    #[test]
    fn version_1_keeps_the_values(readings in disordered(120), parts in parts()) {
        let partial = partial_of(parts, &readings);
        let mut bytes = Vec::new();
        let left_out = partial.encode_version_1(at(0), &mut bytes);
        prop_assert_eq!(left_out, partial.state_count() > 0);
        prop_assert_eq!(bytes[0], 1);
        let read = Partial::decode(&bytes, at(0)).unwrap();
        prop_assert_eq!(read.count(), partial.count());
        prop_assert_eq!(read.sum(), partial.sum());
        prop_assert_eq!(read.variance(), partial.variance());
        prop_assert_eq!(read.quantile(0.5), partial.quantile(0.5));
        prop_assert_eq!([read.min(), read.max(), read.first(), read.last()],
            [partial.min(), partial.max(), partial.first(), partial.last()]);
    }
}

/// Readings in two parts that may overlap, merged.
fn merged_halves(readings: &[Reading], parts: Parts) -> Partial {
    let (a, b) = readings.split_at(readings.len() / 2);
    build::merged(&[partial_of(parts, a), partial_of(parts, b)])
}
