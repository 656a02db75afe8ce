use std::sync::Arc;

use catchment_journal::{Committer, GroupLog, Log, LogConfig, Position, sim::SimDisk};
use catchment_proto::wire;
use proptest::prelude::*;

use super::{
    columns::{Readings, Wanted},
    read::read_chunk,
    settings::RawSettings,
    start,
};
use crate::fold::{CloseEntry, Entry, IntakeEntry};

const SECOND: i64 = 1_000_000_000;
const SETTINGS: RawSettings =
    RawSettings { kept: true, rate: 1, ahead: 2 * SECOND, close_lag: SECOND + SECOND / 5 };

/// A reading: device, series, time, value.
type Reading = (u32, u32, i64, f64);

fn intake(device: u32, readings: &[(u32, i64, f64)]) -> Entry {
    let mut entry = IntakeEntry { device, ..IntakeEntry::default() };
    let mut last = 0;
    for (series, time, value) in readings {
        entry.series.push(*series);
        entry.time.push(time - last);
        entry.value.push(*value);
        last = *time;
    }
    Entry::Intake(entry)
}

fn journal(disk: &Arc<SimDisk>) -> (GroupLog<SimDisk>, Committer<SimDisk>) {
    let config = LogConfig {
        segment_bytes: 16 << 10,
        record_bytes_max: 8 << 10,
        reserve_bytes: 4 << 10,
        ..LogConfig::default()
    };
    GroupLog::manual(Log::open(Arc::clone(disk), std::path::Path::new("/journal"), config).unwrap().0)
}

fn append(log: &GroupLog<SimDisk>, committer: &mut Committer<SimDisk>, entry: Entry) {
    let mut record = Vec::new();
    entry.encode_into(&mut record);
    log.append(&record).unwrap();
    committer.step().unwrap();
}

/// Everything that is found from a position, in chunks of at most `most` readings in all.
fn find(
    log: &GroupLog<SimDisk>,
    from: Position,
    wanted: &Wanted,
    most: u64,
) -> (Vec<(usize, i64, f64)>, bool) {
    let names: Vec<_> =
        (0..9).map(|n| wire::SeriesRef { device: n.to_string(), ..wire::SeriesRef::default() }).collect();
    let (mut reader, mut found) = (log.read(from), Vec::new());
    loop {
        let chunk = read_chunk(&mut reader, wanted, most - found.len() as u64).unwrap();
        for series in chunk.readings.into_wire(&names) {
            let index: usize = series.series.unwrap().device.parse().unwrap();
            let mut time = 0;
            for (step, value) in series.time_ns.iter().zip(&series.values) {
                time += step;
                found.push((index, time, *value));
            }
        }
        if chunk.at_end || chunk.more {
            return (found, chunk.more);
        }
    }
}

proptest! {
    /// Against a naive list: all wanted readings are found from where reading begins, each once, those of a series in
    /// order, and no time is claimed to be held that is not.
    #[test]
    fn every_wanted_reading_is_found(
        seed: u64,
        steps in prop::collection::vec((0..3_u32, prop::collection::vec((0..3_u32, -40..2_i64), 0..40), 0..4_i64), 1..150),
        from in 0..200_i64,
        length in 0..100_i64,
        released in 0..150_usize,
        most in 1..3_000_u64,
    ) {
        let disk = Arc::new(SimDisk::new(seed));
        let (log, mut committer) = journal(&disk);
        let (mut now, mut all): (i64, Vec<(Position, i64, Reading)>) = (100 * SECOND, Vec::new());
        for (device, readings, later) in &steps {
            let position = log.end();
            let readings: Vec<_> = readings
                .iter()
                .map(|(series, ago)| (*series, now + ago * SECOND, (all.len() as i64 * 7 + ago) as f64))
                .collect();
            all.extend(readings.iter().map(|(series, time, value)| (position, now, (*device, *series, *time, *value))));
            append(&log, &mut committer, intake(*device, &readings));
            for _ in 0..*later {
                now += SECOND;
                let close = CloseEntry { watermark_ns: now - SECOND, ..CloseEntry::default() };
                append(&log, &mut committer, Entry::Close(close));
            }
        }
        let segments = log.segments();
        if let Some(segment) = segments.get(released.min(segments.len() - 1)) {
            log.release(segment.start);
            committer.step().unwrap();
        }
        let times = (100 + from) * SECOND..(100 + from + length) * SECOND;
        let series = [((0, 1), 4), ((2, 0), 7)].into_iter().collect();
        let wanted = Wanted { series, times: times.clone() };
        let begin = start::find(&log, times.start, &SETTINGS).unwrap();
        let (found, more) = find(&log, begin.position, &wanted, most);
        let is_wanted = |reading: &Reading| match reading {
            (0, 1, time, value) if times.contains(time) => Some((4, *time, *value)),
            (2, 0, time, value) if times.contains(time) => Some((7, *time, *value)),
            _ => None,
        };
        let held = all.iter().filter(|(position, ..)| *position >= log.start_position());
        let right: Vec<_> = held.filter_map(|(_, _, reading)| is_wanted(reading)).collect();
        prop_assert_eq!(more, right.len() as u64 > most);
        if !more {
            for index in [4, 7] {
                let of = |list: &[(usize, i64, f64)]| list.iter().copied().filter(|reading| reading.0 == index).collect::<Vec<_>>();
                prop_assert_eq!(of(&found), of(&right));
            }
        } else {
            prop_assert_eq!(found.len() as u64, most);
        }
        let held_from = begin.held_from.unwrap_or(i64::MIN);
        let claimed = all.iter().filter(|(_, arrived, _)| *arrived >= held_from);
        for (position, ..) in claimed {
            prop_assert!(*position >= log.start_position(), "claimed and not held");
        }
    }
}

#[test]
fn states_are_apart_from_numbers_and_those_of_booleans_are_numbers() {
    let entry = IntakeEntry {
        device: 1,
        series: vec![0, 2],
        time: vec![10, 5],
        value: vec![1.0, 20.5],
        state_series: vec![0, 3, 3, 3],
        state_time: vec![10, 1, 1, 1],
        // The first is that of a boolean; the last names a text that there is not.
        state_text: vec![0, 3, 1, 9],
        texts: "trueauto".to_owned(),
        text_bytes: vec![4, 4],
        ..IntakeEntry::default()
    };
    let series = [((1, 0), 0), ((1, 3), 1)].into_iter().collect();
    let wanted = Wanted { series, times: 0..100 };
    let mut readings = Readings::default();
    assert!(readings.add(&entry, &wanted, 100));
    assert_eq!(readings.count(), 3);
    let names = ["a", "b"].map(|name| wire::SeriesRef { device: name.to_owned(), ..Default::default() });
    let [numbers, states] = readings.into_wire(&names).try_into().unwrap();
    assert_eq!((numbers.time_ns, numbers.values, numbers.states), (vec![10], vec![1.0], false));
    assert_eq!((states.time_ns, states.values), (vec![11, 1], vec![0.0, 1.0]));
    assert_eq!((states.texts, states.states), (vec!["auto".to_owned(), "true".to_owned()], true));
}
