use std::sync::Arc;

use catchment_journal::{Log, LogConfig, sim::SimDisk};
use catchment_proto::wire;
use proptest::prelude::*;

use super::*;
use crate::{
    batch_encoder,
    uplink::{outbox_chunk::read_chunk, outbox_start::position_after},
};

const fn at(position: u64) -> Position {
    Position::new(position)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Segments of 100 bytes up to a position.
fn segments(end: u64) -> Vec<Segment> {
    (0..=end / 100).map(|number| Segment { start: at(number * 100), file_bytes: 100 }).collect()
}

#[test]
fn batches_stay_for_their_time_and_bytes_and_while_an_aggregator_lacks_them() {
    let mut kept = KeptRecords::new(KeepLimits { time: seconds(640), bytes: 400 });
    kept.note(at(150), seconds(1));
    kept.note(at(250), seconds(5));
    assert_eq!(kept.removable(at(250), &segments(1_000), seconds(640)), Position::ZERO);
    kept.note(at(350), seconds(20));
    assert_eq!(kept.removable(at(350), &segments(1_000), seconds(645)), at(250), "one step, by its last");
    assert_eq!(kept.age(seconds(645)), seconds(625));
    kept.note(at(350), seconds(646));
    assert_eq!(kept.removable(at(350), &segments(1_000), seconds(660)), at(350));
    // Too much, although young: eight segments hold nothing else, and four may stay.
    kept.note(at(850), seconds(700));
    assert_eq!(kept.removable(at(850), &segments(1_000), seconds(700)), at(400));
    // An aggregator that begins again gets all that is still there.
    kept.begin_stream();
    assert_eq!(kept.removable(at(850), &segments(1_000), seconds(9_000)), Position::ZERO);
    kept.note(at(200), seconds(9_001));
    assert_eq!(kept.removable(at(850), &segments(1_000), seconds(9_001)), at(200));
}

#[test]
fn without_a_time_nothing_stays() {
    let mut kept = KeptRecords::new(KeepLimits::default());
    for position in [100, 101, 250] {
        kept.note(at(position), seconds(1));
        assert_eq!(kept.removable(at(position), &segments(1_000), seconds(1)), at(position));
    }
}

#[test]
fn the_account_is_bounded() {
    let mut kept = KeptRecords::new(KeepLimits { time: seconds(1_000), bytes: u64::MAX });
    for second in 0..100_000 {
        kept.note(at(second), seconds(second));
        let before = kept.removable(at(second), &segments(0), seconds(second));
        assert!(before <= at(second.saturating_sub(1_000)), "{before} at {second}");
        assert!(kept.steps.len() <= STEPS as usize + 2, "{}", kept.steps.len());
    }
}

fn outbox(disk: &Arc<SimDisk>) -> (GroupLog<SimDisk>, catchment_journal::Committer<SimDisk>) {
    let config = LogConfig {
        segment_bytes: 16 << 10,
        bytes_max: 256 << 10,
        record_bytes_max: 4 << 10,
        reserve_bytes: 4 << 10,
        disk_free_min: 4 << 10,
        ..LogConfig::default()
    };
    GroupLog::manual(Log::open(Arc::clone(disk), std::path::Path::new("/outbox"), config).unwrap().0)
}

/// The own numbers that reading from a position meets.
fn numbers(log: &GroupLog<SimDisk>, from: Position) -> Vec<u64> {
    let (mut reader, mut numbers) = (log.read(from), Vec::new());
    loop {
        let chunk = read_chunk(&mut reader, usize::MAX).unwrap();
        numbers.extend(chunk.batches.iter().map(|stored| stored.number));
        if chunk.at_end {
            return numbers;
        }
    }
}

proptest! {
    /// Against a naive list: whatever is delivered, removed and damaged, reading for an aggregator meets everything
    /// above its number, and the outbox always has room for more.
    #[test]
    fn an_aggregator_gets_everything_above_its_number(
        seed: u64,
        steps in prop::collection::vec((1..40_u64, 0..3_000_usize, 0..100_u64, any::<bool>()), 1..30),
        keep in 0..200_u64,
        bytes in 0..300_000_u64,
        asked in prop::collection::vec(0..600_u64, 5),
    ) {
        let disk = Arc::new(SimDisk::new(seed));
        let (log, mut committer) = outbox(&disk);
        let mut kept = KeptRecords::new(KeepLimits { time: seconds(keep), bytes });
        let (mut next, mut now, mut positions) = (1_u64, 0, Vec::new());
        for (batches, size, later, begins) in steps {
            if begins {
                kept.begin_stream();
            }
            for _ in 0..batches {
                let series = vec![wire::SeriesRef { device: "d".repeat(size), ..wire::SeriesRef::default() }];
                let batch = wire::Batch { number: next, series, ..wire::Batch::default() };
                let record = batch_encoder::encode_record(&batch);
                let appended = loop {
                    match log.append(&record) {
                        Err(catchment_journal::AppendError::BufferFull) => committer.step().unwrap(),
                        other => break other,
                    }
                };
                prop_assert!(appended.is_ok(), "kept batches are in the way: {appended:?}");
                positions.push(appended.unwrap());
                next += 1;
                committer.step().unwrap();
                now += later;
                // All but the last two are delivered.
                if let Some(position) = positions.len().checked_sub(3).and_then(|at| positions.get(at)) {
                    kept.delivered(&log, *position, seconds(now));
                    committer.step().unwrap();
                }
            }
        }
        let all = numbers(&log, Position::ZERO);
        let delivered = positions.len().saturating_sub(3) as u64;
        prop_assert!(all.ends_with(&(delivered + 1..next).collect::<Vec<_>>()), "undelivered ones are gone: {all:?}");
        let begin = log.segments().len();
        for delivered in asked {
            let met = numbers(&log, position_after(&log, delivered).unwrap());
            let wanted: Vec<u64> = all.iter().copied().filter(|number| *number > delivered).collect();
            prop_assert!(met.ends_with(&wanted), "above {delivered}: {met:?} of {all:?}");
            let before = met.len() - wanted.len();
            prop_assert!(before == 0 || before * begin <= all.len() * 8, "{before} are read in vain");
        }
    }
}
