//! States, and the optional parts of metrics: in entries, windows and checkpoints.

use catchment_partial::{Parts, Width};

use super::*;

/// Whether a reading of the schedules is a number, and whether it is a state.
pub(super) fn kind(value: f64) -> (bool, bool) {
    let rest = (value as i64).rem_euclid(4);
    (rest != 0, rest <= 1)
}

/// Readings of which some are states alone and some booleans.
pub(super) fn mixed(device: u32, seq: u64, readings: &[(u32, i64, f64)]) -> Entry {
    let numbers: Vec<_> = readings.iter().copied().filter(|reading| kind(reading.2).0).collect();
    let Entry::Intake(mut entry) = intake(device, seq, &numbers) else { unreachable!() };
    let mut last = 0;
    for (series, time_ms, value) in readings {
        let (is_number, is_state) = kind(*value);
        if is_state {
            let time = time_ms * 1_000_000;
            let text =
                if is_number { "true".to_owned() } else { format!("state {}", value.abs() as i64 % 5) };
            entry.state_series.push(*series);
            entry.state_time.push(time - std::mem::replace(&mut last, time));
            entry.state_text.push((entry.text_bytes.len() as u32) << 1 | u32::from(!is_number));
            entry.text_bytes.push(text.len() as u32);
            entry.texts.push_str(&text);
            entry.states_alone += u32::from(!is_number);
        }
    }
    assert_eq!(entry.readings(), readings.len() as u64);
    Entry::Intake(entry)
}

fn metric_parts(rules: &[(&str, Parts)]) -> MetricParts {
    let mut metric_parts = MetricParts::default();
    for (pattern, parts) in rules {
        assert!(metric_parts.insert(pattern, *parts));
    }
    metric_parts
}

/// A configuration of a schedule: other widths have other optional parts.
pub(super) fn configuration(width_ms: u32) -> ConfigureEntry {
    let rules: &[(&str, Parts)] = match width_ms {
        10 => &[],
        20 => &[("m0", Parts::ORDER)],
        _ => &[("m*", Parts::DISTINCT), ("m1", Parts::ORDER.with(Parts::MOMENTS))],
    };
    ConfigureEntry::new(Width::from_millis(width_ms).unwrap(), &metric_parts(rules))
}

#[test]
fn a_state_is_a_reading_and_a_boolean_is_one() {
    let (mut state, at) = introduced(1, 2);
    let entry = mixed(0, 1, &[(0, 1, 2.0), (0, 2, 4.0), (1, 3, 4.0), (0, 4, 1.0), (0, 15, 8.0)]);
    state.apply(at, &entry).unwrap();
    assert_eq!(state.open_count(), (3, 0), "a state alone opens its window");
    let closed = state.apply(at + 1, &close(&state, 10, 0, false, 100)).unwrap().unwrap().closed;
    let figures: Vec<_> = closed
        .iter()
        .map(|closed| (closed.series, closed.partial.count(), closed.partial.state_count(), closed.revision))
        .collect();
    assert_eq!(figures, [(0, 2, 2, at), (1, 0, 1, at)]);
    // Without numbers of messages, readings are counted.
    let Entry::Intake(mut entry) = mixed(0, 0, &[(0, 20, 4.0), (0, 21, 1.0), (0, 22, 2.0)]) else {
        unreachable!()
    };
    (entry.epoch, entry.previous) = (String::new(), 5);
    assert_eq!(entry.reaches(), 8);
    state.apply(at + 2, &Entry::Intake(entry)).unwrap();
    assert_eq!(state.reached(0, ""), 8);
}

#[test]
fn columns_of_states_that_do_not_fit_change_nothing() {
    let (mut state, at) = introduced(1, 1);
    let before = state.encode();
    let Entry::Intake(good) = mixed(0, 1, &[(0, 1, 4.0), (0, 2, 8.0), (0, 3, 1.0)]) else { unreachable!() };
    let wrong: [fn(&mut IntakeEntry); 5] = [
        |entry| _ = entry.state_series.pop(),
        |entry| _ = entry.state_time.pop(),
        |entry| entry.state_text[0] = 99,
        |entry| entry.text_bytes[1] = 1_000,
        |entry| (entry.texts, entry.text_bytes) = ("\u{e4}".to_owned(), vec![1, 1, 0]),
    ];
    for spoil in wrong {
        let mut entry = good.clone();
        spoil(&mut entry);
        assert_eq!(state.apply(at, &Entry::Intake(entry)).unwrap_err(), ApplyError::Columns);
    }
    let unknown = IntakeEntry { state_series: vec![0, 7, 0], ..good.clone() };
    let error = ApplyError::Unknown { device: 0, series: Some(7) };
    assert_eq!(state.apply(at, &Entry::Intake(unknown)).unwrap_err(), error);
    assert_eq!(state.encode(), before);
    state.apply(at, &Entry::Intake(good)).unwrap();
}

#[test]
fn windows_carry_the_parts_that_their_metric_had_when_they_were_opened() {
    let (mut state, at) = introduced(1, 2);
    let many =
        |series: u32, from: i64| (0..40).map(move |n| (series, from, f64::from(n))).collect::<Vec<_>>();
    state.apply(at, &intake(0, 1, &many(0, 5))).unwrap();
    let order = configuration(20);
    assert_eq!(state.configuration(), Some(ConfigureEntry { width_ms: 10, metrics: Vec::new() }));
    let parts = metric_parts(&[("m0", Parts::ORDER)]);
    let entry = ConfigureEntry::new(Width::from_millis(10).unwrap(), &parts);
    assert_eq!((&entry.metrics, entry.metrics.len()), (&order.metrics, 1));
    state.apply(at + 1, &Entry::Configure(entry.clone())).unwrap();
    assert_eq!(state.configuration().as_ref(), Some(&entry));
    // One window was open; two of few readings are opened, whose partials do not show what they will carry.
    state.apply(at + 2, &intake(0, 2, &[(0, 6, 1.0), (0, 15, 1.0), (1, 15, 1.0)])).unwrap();
    // A new series of the metric, and a checkpoint.
    let series = SeriesEntry {
        index: 2,
        metric: "m0".to_owned(),
        labels: vec![catchment_proto::wire::Label { name: "a".to_owned(), value: "b".to_owned() }],
        ..SeriesEntry::default()
    };
    state.apply(at + 3, &Entry::Series(series)).unwrap();
    let mut restored = State::decode(&state.encode()).unwrap();
    assert_eq!(restored.encode(), state.encode());
    for state in [&mut state, &mut restored] {
        for series in 0..3 {
            state.apply(at + 4 + u64::from(series), &intake(0, 3, &many(series, 16))).unwrap();
        }
        let closed = state.apply(at + 7, &close(state, 30, 0, false, 100)).unwrap().unwrap().closed;
        let parts: Vec<_> = closed
            .iter()
            .map(|closed| (closed.series, closed.window.index(), closed.partial.parts()))
            .collect();
        let (none, order) = (Parts::NONE, Parts::ORDER);
        assert_eq!(parts, [(0, 0, none), (0, 1, order), (1, 1, none), (2, 1, order)]);
    }
    // A configuration without parts, as earlier versions wrote it, takes them back.
    state
        .apply(at + 8, &Entry::Configure(ConfigureEntry { width_ms: 10, ..ConfigureEntry::default() }))
        .unwrap();
    state.apply(at + 9, &intake(0, 4, &many(0, 45))).unwrap();
    let closed = state.apply(at + 10, &close(&state, 50, 0, false, 100)).unwrap().unwrap().closed;
    assert_eq!(closed[0].partial.parts(), Parts::NONE);
}
