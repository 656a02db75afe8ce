//! The fold against a naive model, and its replay against itself.

use std::collections::BTreeMap;

use catchment_partial::{Partial, Timestamp};
use catchment_proto::Name;
use proptest::prelude::*;

mod client;
mod forget;
mod snapshot;
mod states;

use super::*;
use crate::batch_encoder;

const WIDTH_MS: u32 = 10;

/// A state with devices 0..n, each with series 0..m.
fn introduced(devices: u32, series: u32) -> (State, u64) {
    let mut state = State::default();
    let mut position = 1;
    let mut apply = |entry: Entry| {
        state.apply(position, &entry).unwrap();
        position += 1;
    };
    apply(Entry::Configure(ConfigureEntry { width_ms: WIDTH_MS, ..ConfigureEntry::default() }));
    for index in 0..devices {
        apply(Entry::Device(DeviceEntry { index, name: format!("d{index}") }));
        for number in 0..series {
            let metric = format!("m{number}");
            apply(Entry::Series(SeriesEntry { device: index, index: number, metric, labels: Vec::new() }));
        }
    }
    (state, position)
}

fn intake(device: u32, seq: u64, readings: &[(u32, i64, f64)]) -> Entry {
    let mut entry = IntakeEntry { device, epoch: "e".into(), seq, ..IntakeEntry::default() };
    let mut last = 0;
    for (series, time_ms, value) in readings {
        let time = time_ms * 1_000_000;
        entry.series.push(*series);
        entry.time.push(time - last);
        entry.value.push(*value);
        last = time;
    }
    Entry::Intake(entry)
}

fn close(state: &State, watermark_ms: i64, late_before: u64, all: bool, take: u32) -> Entry {
    Entry::Close(CloseEntry {
        number: state.next_batch(),
        watermark_ns: watermark_ms * 1_000_000,
        late_before,
        all,
        take,
        ..CloseEntry::default()
    })
}

fn ms(time: Timestamp) -> i64 {
    time.as_millis()
}

#[test]
fn windows_close_at_their_end_and_late_readings_open_another_part() {
    let (mut state, at) = introduced(1, 1);
    state.apply(at, &intake(0, 1, &[(0, 5, 1.0), (0, 9, 3.0), (0, 10, 7.0)])).unwrap();
    assert_eq!(state.open_count(), (2, 0));
    assert_eq!(state.first_end().map(ms), Some(10));
    let emission = state.apply(at + 1, &close(&state, 10, 0, false, 100)).unwrap().unwrap();
    assert_eq!((emission.number, emission.closed.len(), emission.watermark.map(ms)), (1, 1, Some(10)));
    let closed = &emission.closed[0];
    assert_eq!((closed.part, closed.revision, closed.partial.count()), (at, at, 2));
    // Late for the window that is closed: another part, which waits for its position and not for the watermark.
    state.apply(at + 2, &intake(0, 2, &[(0, 6, 5.0)])).unwrap();
    assert_eq!(state.open_count(), (2, 1));
    assert_eq!(state.first_late(), Some(at + 2));
    assert!(state.apply(at + 3, &close(&state, 10, at + 2, false, 100)).unwrap().is_none());
    let emission = state.apply(at + 4, &close(&state, 10, at + 3, false, 100)).unwrap().unwrap();
    assert_eq!(
        (emission.number, emission.closed[0].part, emission.closed[0].partial.sum()),
        (2, at + 2, 5.0)
    );
}

#[test]
fn the_watermark_waits_for_the_last_piece_of_a_close() {
    let (mut state, at) = introduced(2, 2);
    state.apply(at, &intake(0, 1, &[(0, 1, 1.0), (1, 1, 1.0)])).unwrap();
    state.apply(at + 1, &intake(1, 1, &[(0, 1, 1.0)])).unwrap();
    let first = state.apply(at + 2, &close(&state, 20, 0, false, 2)).unwrap().unwrap();
    assert_eq!((first.closed.len(), first.watermark), (2, None));
    let second = state.apply(at + 3, &close(&state, 20, 0, false, 2)).unwrap().unwrap();
    assert_eq!((second.closed.len(), second.watermark.map(ms)), (1, Some(20)));
    assert_eq!(state.next_batch(), 3);
}

#[test]
fn a_batch_has_windows_of_one_width() {
    let (mut state, at) = introduced(1, 1);
    state.apply(at, &intake(0, 1, &[(0, 1, 1.0)])).unwrap();
    state
        .apply(at + 1, &Entry::Configure(ConfigureEntry { width_ms: 20, ..ConfigureEntry::default() }))
        .unwrap();
    state.apply(at + 2, &intake(0, 2, &[(0, 1, 2.0)])).unwrap();
    let first = state.apply(at + 3, &close(&state, 20, 0, false, 100)).unwrap().unwrap();
    assert_eq!((first.closed.len(), first.width.as_millis(), first.watermark), (1, 10, None));
    let second = state.apply(at + 4, &close(&state, 20, 0, false, 100)).unwrap().unwrap();
    assert_eq!((second.width.as_millis(), second.watermark.map(ms)), (20, Some(20)));
}

fn covered(state: &State, batches: u64) -> Option<(i64, i64)> {
    state.history().of_last(batches).map(|span| (ms(span.from), ms(span.to)))
}

/// Of what an aggregator may lose: each batch says which times those before it cover, also after a start.
#[test]
fn a_batch_knows_which_times_those_before_it_cover() {
    let (mut state, at) = introduced(1, 1);
    let mut histories = Vec::new();
    for (step, time) in (0..).zip([105, 15, 125, 135]) {
        state.apply(at + 2 * step, &intake(0, step + 1, &[(0, time, 1.0)])).unwrap();
        let entry = close(&state, 110 + 10 * step as i64, at + 2 * step + 1, false, 100);
        histories.push(state.apply(at + 2 * step + 1, &entry).unwrap().unwrap().history);
    }
    assert_eq!(histories[0].of_last(1), None);
    assert_eq!(histories[1].of_last(1).map(|span| ms(span.from)), Some(100));
    assert_eq!((covered(&state, 2), covered(&state, 3)), (Some((120, 140)), Some((10, 140))));
    assert_eq!(covered(&state, 5), None);
    assert_eq!(State::decode(&state.encode()).unwrap().history(), state.history());

    // Batches that are made again under new numbers, and numbers that may have been used.
    let (from_ns, to_ns) = (5_000_000, 6_000_000);
    let again = NumbersEntry { next_batch: 7, again: 2, from_ns, to_ns, left_out_to_ns: None };
    state.apply(at + 20, &Entry::Numbers(again)).unwrap();
    assert_eq!(
        (state.next_batch(), covered(&state, 2), covered(&state, 6)),
        (7, Some((5, 6)), Some((5, 140)))
    );
    let left_out = NumbersEntry { next_batch: 100, again: 2, from_ns, to_ns, left_out_to_ns: None };
    state.apply(at + 21, &Entry::Numbers(left_out)).unwrap();
    assert_eq!((covered(&state, 2), covered(&state, 3)), (Some((5, 6)), None));
    state.apply(at + 22, &Entry::Numbers(NumbersEntry { next_batch: 101, ..Default::default() })).unwrap();
    assert_eq!(covered(&state, 1), None, "as an earlier version wrote it");
}

#[test]
fn nothing_is_known_of_batches_that_a_damaged_journal_made() {
    let (mut state, at) = introduced(1, 1);
    let batch = |state: &mut State, position, seq, time| {
        state.apply(position, &intake(0, seq, &[(0, time, 1.0)])).unwrap();
        let entry = close(state, time + 10, 0, false, 100);
        state.apply(position + 1, &entry).unwrap();
    };
    batch(&mut state, at, 1, 100);
    let mut entries = [State::clone(&state), State::clone(&state)];
    entries[0].mark_lost(at + 2, at + 4);
    entries[1].mark_incomplete();
    for state in &mut entries {
        batch(state, at + 4, 2, 200);
        assert_eq!(covered(state, 1), None, "it may have held more");
        state.end_replay();
        batch(state, at + 6, 3, 300);
        assert_eq!((covered(state, 1), covered(state, 2)), (Some((300, 310)), None));
    }
    let entry = close(&state, 120, 0, false, 100);
    let Entry::Close(entry) = entry else { unreachable!() };
    state.apply(at + 10, &intake(0, 2, &[(0, 110, 1.0)])).unwrap();
    state.apply(at + 11, &Entry::Close(CloseEntry { number: 5, ..entry })).unwrap();
    assert_eq!((covered(&state, 1), covered(&state, 2)), (Some((110, 120)), None), "batches 2 to 4 are lost");
}

#[test]
fn sequence_numbers_are_kept_for_the_last_epochs() {
    let (mut state, at) = introduced(1, 1);
    for epoch in 0..DEVICE_EPOCHS_MAX as u64 + 1 {
        let mut entry =
            IntakeEntry { device: 0, epoch: format!("e{epoch}"), seq: epoch + 5, ..Default::default() };
        state.apply(at + 2 * epoch, &Entry::Intake(entry.clone())).unwrap();
        // The first is used again and so outlives the second.
        entry.epoch = "e0".into();
        state.apply(at + 2 * epoch + 1, &Entry::Intake(entry)).unwrap();
    }
    let device = state.device(&Name::new("d0").unwrap()).unwrap();
    assert_eq!(state.highest(device, "e0"), DEVICE_EPOCHS_MAX as u64 + 5);
    assert_eq!(state.highest(device, "e1"), 0);
    assert_eq!(state.highest(device, "e2"), 7);
}

#[test]
fn entries_that_build_on_lost_ones_are_told_and_change_nothing() {
    let (mut state, at) = introduced(1, 1);
    let unknown = state.apply(at, &intake(1, 1, &[(0, 1, 1.0)]));
    assert_eq!(unknown.unwrap_err(), ApplyError::Unknown { device: 1, series: None });
    let unknown = state.apply(at, &intake(0, 1, &[(0, 1, 1.0), (1, 1, 1.0)]));
    assert_eq!(unknown.unwrap_err(), ApplyError::Unknown { device: 0, series: Some(1) });
    let order = state.apply(at, &Entry::Device(DeviceEntry { index: 2, name: "x".into() }));
    assert_eq!(order.unwrap_err(), ApplyError::Order { got: 2, expected: 1 });
    assert_eq!(state.open_count(), (0, 0));
    assert_eq!(state.highest(0, "e"), 0);
}

#[test]
fn bytes_that_are_no_entry_are_told() {
    assert!(Entry::decode(b"").is_err());
    assert!(Entry::decode(&[0xff; 9]).is_err());
    assert!(State::decode(&[0xff; 9]).is_err());
}

/// What a schedule does to a shard.
#[derive(Clone, Debug)]
enum Step {
    Intake { device: u32, readings: Vec<(u32, i64, f64)> },
    Close { watermark_ms: i64, late_age: u64, all: bool, take: u32 },
    Width { width_ms: u32 },
    Checkpoint,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reading = (0..2_u32, -30..120_i64, -100..100_i32).prop_map(|(s, t, v)| (s, t, f64::from(v) / 4.0));
    let intake = (0..3_u32, prop::collection::vec(reading, 0..8))
        .prop_map(|(device, readings)| Step::Intake { device, readings });
    let close =
        (-3..12_i64, 0..6_u64, prop::bool::weighted(0.1), 1..6_u32).prop_map(|(w, late_age, all, take)| {
            Step::Close { watermark_ms: w * i64::from(WIDTH_MS), late_age, all, take }
        });
    let width = prop::sample::select(vec![10_u32, 20, 30]).prop_map(|width_ms| Step::Width { width_ms });
    let step = prop_oneof![8 => intake, 5 => close, 1 => width, 1 => Just(Step::Checkpoint)];
    prop::collection::vec(step, 0..40)
}

type Key = (u32, u32, i64, u32);
type Run = (BTreeMap<Key, Partial>, Vec<(u64, Entry)>, Vec<Vec<u8>>);

/// Runs a schedule; answers the emitted partials by name, merged by (device, series, window), the entries, and the outbox
/// records of the batches.
fn run(steps: &[Step], checkpoints: bool) -> Run {
    let (mut state, mut position) = introduced(3, 2);
    let mut merged: BTreeMap<Key, Partial> = BTreeMap::new();
    let mut names = std::collections::HashSet::new();
    let (mut entries, mut records) = (Vec::new(), Vec::new());
    let mut seq = 0;
    let mut snapshot: Option<Vec<u8>> = None;
    let last = [Step::Close { watermark_ms: 1_000, late_age: 0, all: true, take: u32::MAX }];
    // Many: a batch has windows of one width, and widths alternate.
    let drain = last.iter().cycle().take(400);
    for step in steps.iter().chain(drain) {
        position += 7;
        let entry = match step {
            Step::Intake { device, readings } => {
                seq += 1;
                states::mixed(*device, seq, readings)
            }
            Step::Close { watermark_ms, late_age, all, take } => {
                close(&state, *watermark_ms, position.saturating_sub(late_age * 7), *all, *take)
            }
            Step::Width { width_ms } => Entry::Configure(states::configuration(*width_ms)),
            Step::Checkpoint => {
                if checkpoints && snapshot.is_none() {
                    state = State::decode(&state.encode()).unwrap();
                    state.begin_snapshot();
                    snapshot = Some(state.encode());
                }
                continue;
            }
        };
        let decoded = Entry::decode(&{
            let mut bytes = Vec::new();
            entry.clone().encode_into(&mut bytes);
            bytes
        });
        assert_eq!(decoded.as_ref(), Ok(&entry));
        if let Some(emission) = state.apply(position, &entry).unwrap() {
            records.push(record(&state, &emission));
            for closed in emission.closed {
                let key =
                    (closed.device, closed.series, closed.window.index(), closed.window.width().as_millis());
                assert!(names.insert((key, closed.part)), "a name is used once");
                assert!(closed.part <= closed.revision && closed.revision < position);
                merged.entry(key).or_default().merge(&closed.partial);
            }
        }
        entries.push((position, entry));
        // A part of a device a step, while the others move on, and sometimes this one.
        if position % 2 == 0
            && let Some(parts) = state.step_snapshot((position % 10) as usize)
        {
            assert_eq!(Some(parts.concat()), snapshot.take(), "a snapshot is of when it began");
        }
    }
    assert_eq!((snapshot, state.has_snapshot()), (None, false));
    assert_eq!(state.open_count(), (0, 0), "everything was closed");
    (merged, entries, records)
}

/// What the outbox gets of an emission.
fn record(state: &State, emission: &Emission) -> Vec<u8> {
    batch_encoder::encode_record(&batch_encoder::encode_batch(0, state, emission))
}

proptest! {
    /// Whatever the order of readings and closes: each reading is in exactly one emitted partial.
    #[test]
    fn every_reading_is_emitted_once(steps in steps()) {
        let (merged, _, records) = run(&steps, true);
        let number = |record: &Vec<u8>| batch_encoder::split_record(record).unwrap().0;
        let numbers: Vec<u64> = records.iter().map(number).collect();
        let mut model: BTreeMap<Key, (u64, f64, u64)> = BTreeMap::new();
        let mut width = i64::from(WIDTH_MS);
        for step in &steps {
            match step {
                Step::Width { width_ms } => width = i64::from(*width_ms),
                Step::Intake { device, readings } => {
                    for (series, time, value) in readings {
                        let window = time.div_euclid(width);
                        let place = model.entry((*device, *series, window, width as u32)).or_default();
                        let (is_number, is_state) = states::kind(*value);
                        place.0 += u64::from(is_number);
                        place.1 += if is_number { *value } else { 0.0 };
                        place.2 += u64::from(is_state);
                    }
                }
                _ => {}
            }
        }
        let figures = |partial: Partial| (partial.count(), partial.sum(), partial.state_count());
        let found: BTreeMap<Key, _> =
            merged.into_iter().map(|(key, partial)| (key, figures(partial))).collect();
        prop_assert_eq!(found, model);
        prop_assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "numbers have no gap: {:?}", numbers);
    }

    /// The same entries give the same batches, with or without checkpoints in between.
    #[test]
    fn a_replay_emits_the_same(steps in steps()) {
        let (_, entries, records) = run(&steps, true);
        let (_, entries_without, records_without) = run(&steps, false);
        prop_assert_eq!(&entries, &entries_without);
        prop_assert_eq!(&records, &records_without);
        let (mut state, _) = introduced(3, 2);
        let mut replayed = Vec::new();
        for (position, entry) in &entries {
            if let Some(emission) = state.apply(*position, entry).unwrap() {
                replayed.push(record(&state, &emission));
            }
        }
        prop_assert_eq!(records, replayed);
    }
}

#[test]
fn a_close_takes_no_other_windows_where_readings_are_lost() {
    let (mut state, at) = introduced(2, 2);
    let mut damaged = state.clone();
    let entries = [intake(0, 1, &[(0, 1, 1.0)]), intake(0, 2, &[(1, 1, 1.0)]), intake(1, 1, &[(0, 1, 1.0)])];
    for (position, entry) in (at..).zip(&entries) {
        state.apply(position, entry).unwrap();
        if position > at {
            damaged.apply(position, entry).unwrap();
        }
    }
    let Entry::Close(mut entry) = close(&state, 10, 0, false, u32::MAX) else { unreachable!() };
    state.limit(&mut entry, usize::MAX, 2);
    let places = |emission: Option<Emission>| -> Vec<_> {
        emission.unwrap().closed.iter().map(|emitted| (emitted.device, emitted.series)).collect()
    };
    assert_eq!(places(state.apply(at + 3, &Entry::Close(entry.clone())).unwrap()), [(0, 0), (0, 1)]);
    // The window of the other device went into the next batch.
    assert_eq!(places(damaged.apply(at + 3, &Entry::Close(entry)).unwrap()), [(0, 1)]);
    assert_eq!(damaged.open_count(), state.open_count());
}
