//! Late corrections, refused readings, retired gateways.

use catchment_partial::Timestamp;
use catchment_proto::{Batch, RefusedReadings};

use super::{Subject, put};
use crate::store::{
    GatewayEpoch, LateAndRefused, ProgressReport, ReadAll as _, Store,
    testing::{WIDTH_MS, batch, entry, epoch},
};

/// A time in widths of a window.
fn at(windows: i64) -> Option<Timestamp> {
    Timestamp::from_millis(windows * i64::from(WIDTH_MS))
}

fn counts(store: &dyn Store, epoch: &GatewayEpoch) -> LateAndRefused {
    let gateways = store.gateways();
    let entry = gateways.iter().find(|entry| entry.epoch.gateway == epoch.gateway).unwrap();
    entry.hours.within(i64::MIN, i64::MAX)
}

pub(super) async fn late_corrections_and_refused_readings_are_counted_once(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    let refused = |readings| vec![RefusedReadings { hour: 7, readings }];
    let first = Batch {
        watermark: at(2),
        refused: refused(4),
        ..batch(0, 1, vec![entry(0, 0, 1, 1), entry(0, 1, 2, 2)])
    };
    put(subject, &g, first.clone()).await;
    assert_eq!(counts(store, &g), LateAndRefused { late: 0, refused: 4 }, "in order");
    // Windows 0 and 1 again, late; window 2 on time; live ones and the other shard's do not count.
    let late = vec![entry(0, 0, 3, 3), entry(1, 1, 4, 4), entry(0, 2, 5, 5)];
    let second = Batch { watermark: at(3), refused: refused(1), ..batch(0, 2, late) };
    put(subject, &g, second.clone()).await;
    put(subject, &g, batch(0, 0, vec![entry(0, 0, 6, 6)])).await;
    put(subject, &g, batch(1, 1, vec![entry(0, 0, 1, 1)])).await;
    let expected = LateAndRefused { late: 2, refused: 5 };
    for again in [first, second] {
        assert_eq!(counts(store, &g), expected);
        put(subject, &g, again).await;
    }
    assert_eq!(counts(store, &g), expected, "sent again");
    // A report moves the time up to which the shard has delivered.
    let report = ProgressReport { shard: 0, watermark: at(9), last: 2, ..ProgressReport::default() };
    store.progress(&g, &report).unwrap();
    put(subject, &g, batch(0, 3, vec![entry(0, 8, 7, 7), entry(0, 9, 8, 8)])).await;
    assert_eq!(counts(store, &g), LateAndRefused { late: 3, refused: 5 });
    let entry = store.gateways().into_iter().find(|entry| entry.epoch.gateway == g.gateway).unwrap();
    let hour = 3_600_000;
    assert_eq!(entry.hours.within(7 * hour, 8 * hour), LateAndRefused { late: 0, refused: 5 });
}

pub(super) async fn a_retired_gateway_comes_back_with_its_next_stream(subject: &dyn Subject) {
    let (store, g, other) = (subject.store(), epoch("g", 1), epoch("h", 1));
    assert_eq!(store.retire_gateway(&g.gateway, true).unwrap(), None, "not known");
    for of in [&g, &other] {
        put(subject, of, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    }
    let retired = || -> Vec<bool> {
        let mut gateways = store.gateways();
        gateways.sort_by(|a, b| a.epoch.gateway.cmp(&b.epoch.gateway));
        gateways.iter().map(|entry| entry.retired).collect()
    };
    assert_eq!(store.retire_gateway(&g.gateway, true).unwrap(), Some(false));
    assert_eq!(store.retire_gateway(&g.gateway, true).unwrap(), Some(true));
    subject.settle().await;
    assert_eq!(retired(), [true, false]);
    store.begin(&other).await.unwrap();
    assert_eq!(retired(), [true, false], "another's stream");
    store.begin(&g).await.unwrap();
    assert_eq!(retired(), [false, false]);
    store.retire_gateway(&g.gateway, true).unwrap();
    assert_eq!(store.retire_gateway(&g.gateway, false).unwrap(), Some(true));
    assert_eq!(retired(), [false, false]);
}
