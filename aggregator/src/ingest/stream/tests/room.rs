//! Streams whose batches find no room: limits of series, memory.

use super::*;
use crate::clock;

#[tokio::test(start_paused = true)]
async fn a_batch_without_room_for_its_series_is_refused_and_resent() {
    let rig = rig(8);
    let (mut stream, _) = rig.start_as(7).await;
    rig.store.fail(Fault::TooManySeries);
    for number in 1..=5 {
        stream.send(numbered(number)).await;
    }
    let refusal = match stream.answer().await {
        Some(Kind::Refusal(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!((refusal.shard, refusal.number, refusal.code.as_str()), (0, 1, "too_many_series"));
    stream.run_pending().await;
    let ready = rig.shared.metrics.conditions.ready().unwrap_err();
    assert_eq!(ready, "series_full: gateway berlin/g1 waits: no room for series");
    assert_eq!(rig.store.delivered(&epoch()), [0], "nothing after it was accepted");
    for number in 1..=5 {
        stream.send(numbered(number)).await;
    }
    while stream.ack().await.unwrap() < 5 {}
    assert_eq!(rig.shared.metrics.conditions.ready(), Ok(()));
    assert_eq!(rig.shared.metrics.gaps.get(), 0);
    let refused = rig.shared.metrics.encode();
    assert!(refused.contains(r#"ingest_refused_batches_total{reason="too_many_series"} 1"#), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_older_gateway_is_held_as_by_a_full_store() {
    let rig = rig(8);
    let (stream, _) = rig.start().await;
    rig.store.fail(Fault::TooManySeries);
    stream.send(numbered(1)).await;
    stream.run_pending().await;
    assert!(rig.shared.metrics.conditions.ready().is_err());
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (None, "full", Code::ResourceExhausted));
    assert_eq!(rig.shared.metrics.conditions.ready(), Ok(()), "nobody waits on a stream");
}

#[tokio::test]
async fn a_gateway_at_its_share_of_memory_is_not_read_and_loses_nothing() {
    let bounds = ByteBounds { max: 100_000, per_gateway_max: 6_000, message: 2_000, stream: 1_000 };
    let rig = rig_within(1_000, bounds);
    let (mut stream, _) = rig.start().await;
    let disk = rig.store.gate.write().await;
    for number in 1..=50 {
        stream.send(numbered(number)).await;
    }
    stream.run_pending().await;
    let counts = rig.shared.bytes.counts();
    assert!(stream.unread() > 30 && counts.waiting == 1, "{counts:?}");
    assert!(counts.gateway_most <= bounds.per_gateway_max, "{counts:?}");
    drop(disk);
    while stream.ack().await.unwrap() < 50 {}
    drop(stream.requests);
    stream.end.await.unwrap();
    assert_eq!(rig.shared.bytes.counts().used, 0);
}

#[tokio::test]
async fn names_that_take_too_much_memory_end_the_stream_after_its_acks() {
    let bounds = ByteBounds { max: 100_000, per_gateway_max: 100, message: 50, stream: 10 };
    let rig = rig_within(8, bounds);
    let (stream, _) = rig.start().await;
    stream.send(numbered(1)).await;
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (Some(1), "names", Code::ResourceExhausted));
    let (_stream, delivered) = rig.start().await;
    assert_eq!(delivered, [1]);
}

/// A batch of the window that ended just now.
fn recent(number: u64) -> DeliverRequest {
    let now_ms = clock::now_ms() / 10_000 * 10_000;
    let batch = batch(number, key("d1", "m", &[]), &[(now_ms - 10_000, 1.0)], now_ms);
    message(wire::deliver_request::Kind::Batch(wire::Batch::from(&batch)))
}

#[tokio::test]
async fn a_backlog_waits_for_tables_and_recent_windows_do_not() {
    let rig = rig(4);
    let (mut stream, _) = rig.start().await;
    rig.store.behind.send_replace(true);
    // What a stream delivers shows with its first batch.
    stream.send(numbered(1)).await;
    assert_eq!(stream.ack().await, Some(1));
    stream.send(numbered(2)).await;
    let waits = tokio::time::timeout(Duration::from_millis(200), stream.ack()).await;
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(rig.shared.bytes.counts().tables_waits, 1);
    rig.store.behind.send_replace(false);
    assert_eq!(stream.ack().await, Some(2));
    stream.send(recent(3)).await;
    assert_eq!(stream.ack().await, Some(3));
    rig.store.behind.send_replace(true);
    stream.send(recent(4)).await;
    assert_eq!(stream.ack().await, Some(4));
    assert_eq!(rig.shared.bytes.counts().tables_waits, 1);
}
