//! New series and the gateway's budget.

use std::sync::Arc;

use super::*;
use crate::{
    budget::Budget,
    device::{DeviceSessions, IntakeOutcome},
    intake::{Intake, Reading, SeriesTable as Table},
    shard::SeriesFull,
};

fn metric(name: &str) -> MetricName {
    MetricName::new(name).unwrap()
}

#[test]
fn a_new_series_needs_a_place_and_a_known_one_none() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let open = |budget: &Arc<Budget>| {
        let setup = Setup { budget: Arc::clone(budget), ..world.setup(folder.path()) };
        Shard::open(&setup).unwrap().0
    };
    let budget = Arc::new(Budget::default());
    let mut shard = open(&budget);
    let device = shard.device(&Name::new("d").unwrap()).unwrap();
    let series =
        |shard: &mut Shard, name: &str| shard.series(device, &metric(name), &Labels::none()).unwrap();
    assert_eq!(series(&mut shard, "a"), Ok(0), "no budget is known");
    budget.set(2);
    assert_eq!(series(&mut shard, "b"), Ok(1));
    assert_eq!(series(&mut shard, "c"), Err(SeriesFull::Gateway(2)));
    assert_eq!(series(&mut shard, "a"), Ok(0));
    sync(&shard);
    drop(shard);
    // What the journal holds has its places, also beyond a budget that is lower by now.
    let budget = Arc::new(Budget::default());
    budget.set(1);
    let mut shard = open(&budget);
    assert_eq!(series(&mut shard, "b"), Ok(1));
    assert_eq!(series(&mut shard, "c"), Err(SeriesFull::Gateway(1)));
    budget.set(3);
    assert_eq!(series(&mut shard, "c"), Ok(2));
}

#[test]
fn a_refused_series_is_taken_on_the_same_session_once_there_is_a_place() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let budget = Arc::new(Budget::default());
    budget.set(1);
    let setup = Setup { budget: Arc::clone(&budget), ..world.setup(folder.path()) };
    let (mut shard, _) = Shard::open(&setup).unwrap();
    let mut device_sessions = DeviceSessions::new(Name::new("d").unwrap(), 4, 10, Metrics::new());
    assert_eq!(device_sessions.attach(1), None);
    let mut table = Table::new(10);
    let mut ordinal = 0;
    let mut send = |shard: &mut Shard| {
        let mut intake = Intake::default();
        for name in ["a", "b", "b"] {
            let series = table.index(name, &Labels::none(), &mut intake.fresh).unwrap();
            let time = Timestamp::from_millis(START_MS).unwrap();
            intake.readings.push(Reading { series, time, value: 1.0 });
        }
        ordinal += 1;
        intake.end_message(None, ordinal);
        match device_sessions.take(1, &intake, shard).unwrap() {
            IntakeOutcome::Taken { refusals, .. } => refusals,
            IntakeOutcome::Ended => panic!("the session has ended"),
        }
    };
    for _ in 0..2 {
        let refusals = send(&mut shard);
        assert_eq!(refusals.len(), 1);
        assert_eq!((refusals[0].reason.code(), refusals[0].count), ("too_many_series", 2));
        let why = "2 readings of new series: this gateway may have 1 series, as its aggregator says";
        assert!(refusals[0].message.starts_with(why), "{}", refusals[0].message);
    }
    assert_eq!(shard.state().series_count(), 1);
    budget.set(2);
    assert!(send(&mut shard).is_empty());
    assert_eq!(shard.state().series_count(), 2);
}
