//! Windows of times that no gateway accepts from its devices.

use super::*;
use crate::clock;

const DAY_MS: i64 = 86_400_000;

/// A batch with one window on each of these days from now.
fn on_days(number: u64, days: &[i64]) -> DeliverRequest {
    let now = clock::now_ms();
    let readings: Vec<(i64, f64)> = days.iter().map(|day| (now + day * DAY_MS, 1.0)).collect();
    let batch = batch(number, key("d1", "m", &[]), &readings, now);
    message(wire::deliver_request::Kind::Batch(wire::Batch::from(&batch)))
}

#[tokio::test]
async fn windows_more_than_a_year_ahead_are_dropped_and_counted_and_delivery_goes_on() {
    let rig = rig(8);
    let (mut stream, _) = rig.start().await;
    stream.send(on_days(1, &[-10_000, 0, 1, 365, 370, 9_000])).await;
    stream.send(on_days(2, &[400, 500])).await;
    stream.send(on_days(0, &[0, 400])).await;
    stream.send(on_days(3, &[2])).await;
    while stream.ack().await.unwrap() < 3 {}
    assert_eq!(rig.store.rows(), 5);
    assert_eq!(rig.shared.metrics.partials.get(), 5);
    let dropped = |count: u64| {
        let page = rig.shared.metrics.encode();
        assert!(
            page.contains(&format!("ingest_dropped_partials_total{{reason=\"too_far_ahead\"}} {count}")),
            "{page}"
        );
    };
    dropped(5);
    drop(stream);

    let (mut stream, delivered) = rig.start().await;
    assert_eq!(delivered, [3]);
    stream.send(on_days(3, &[2, 400])).await;
    stream.send(on_days(4, &[3])).await;
    while stream.ack().await.unwrap() < 4 {}
    dropped(5);
}
