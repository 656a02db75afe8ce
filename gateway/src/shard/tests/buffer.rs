//! A full buffer of the journal: what found no room waits for the committer, and costs nothing meanwhile.

use catchment_journal::{Committer, sim::SimDisk};

use super::{damage::Site, *};
use crate::{
    device::{DeviceSessions, IntakeOutcome},
    intake::{Intake, Reading},
};

/// A message of so many readings of one series, which is new to the session if it is `fresh`.
fn intake(readings: i64, fresh: bool) -> Intake {
    let mut intake = Intake::default();
    if fresh {
        intake.fresh.push((0, MetricName::new("m").unwrap(), Labels::none()));
    }
    let time = |n| Timestamp::from_millis(START_MS + n).unwrap();
    intake.readings.extend((0..readings).map(|n| Reading { series: 0, time: time(n), value: 1.0 }));
    intake.end_message(None, 1);
    intake
}

type Taken = Result<IntakeOutcome, Backpressure>;

#[test]
fn what_the_full_buffer_refused_is_not_prepared_again_before_the_next_round() {
    let world = World::new();
    let (mut shard, mut committers, _) = Site::open(&world, &SimDisk::new(1)).unwrap();
    let mut sessions = DeviceSessions::new(Name::new("press").unwrap(), 4, 10, Metrics::new());
    assert_eq!(sessions.attach(1), None);
    let step =
        |committers: &mut [Committer<SimDisk>; 2]| committers.iter_mut().for_each(|c| c.step().unwrap());
    let mut take = |shard: &mut Shard<SimDisk>, intake: &Intake| -> Taken { sessions.take(1, intake, shard) };
    while take(&mut shard, &intake(100, true)).is_err() {
        step(&mut committers);
    }
    let refused = loop {
        if let Err(refused) = take(&mut shard, &intake(100, false)) {
            break refused;
        }
    };
    assert_eq!((refused, shard.room_for(100)), (Backpressure::Sync, Err(Backpressure::Sync)));
    assert!(shard.spare().series.capacity() >= 100, "the memory of the entry is kept");
    for readings in [100, 101] {
        shard.journaled.encoded().clear();
        assert_eq!(take(&mut shard, &intake(readings, false)).unwrap_err(), Backpressure::Sync);
        assert!(shard.journaled.encoded().is_empty(), "it is asked first");
    }
    // A smaller one may find room.
    assert_eq!(shard.room_for(99), Ok(()));
    while take(&mut shard, &intake(1, false)).is_ok() {}
    assert_eq!(shard.room_for(1), Err(Backpressure::Sync));
    step(&mut committers);
    assert_eq!(shard.room_for(100), Ok(()));
    let taken = take(&mut shard, &intake(100, false)).unwrap();
    assert!(matches!(taken, IntakeOutcome::Taken { refusals, .. } if refusals.is_empty()));
}
