use catchment_proto::Name;

use super::*;

fn gateway() -> GatewayId {
    GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() }
}

fn message(kind: Kind) -> wire::DeliverRequest {
    wire::DeliverRequest { kind: Some(kind) }
}

fn batch(shard: u32, number: u64) -> wire::DeliverRequest {
    message(Kind::Batch(wire::Batch {
        shard,
        number,
        live: number == 0,
        width_ms: 10_000,
        ..wire::Batch::default()
    }))
}

fn admitted(admission: &mut Admission, shard: u32, number: u64) -> (bool, Order) {
    match admission.admit(batch(shard, number)).unwrap() {
        Admitted::Batch { first, order, .. } => (first, order),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_begins_with_a_start() {
    let begin = wire::Start { epoch: 7, epoch_created_ms: 5, shards: 2, version: "1.0\n".repeat(40), run: 0 };
    let (origin, version) = start(gateway(), message(Kind::Start(begin.clone()))).unwrap();
    assert_eq!((origin.epoch, origin.shards, origin.gateway), (7, 2, gateway()));
    assert_eq!(version.chars().count(), VERSION_CHARS_MAX);
    assert!(!version.contains('\n'));
    assert!(matches!(start(gateway(), batch(0, 1)), Err(Refusal::NoStart)));
    assert!(matches!(start(gateway(), wire::DeliverRequest { kind: None }), Err(Refusal::NoStart)));
    for shards in [0, SHARDS_MAX + 1, u32::MAX] {
        let begin = wire::Start { shards, ..begin.clone() };
        assert!(matches!(start(gateway(), message(Kind::Start(begin))), Err(Refusal::Shards(_))));
    }
    let second = Admission::new(2, &[]).admit(message(Kind::Start(begin)));
    assert!(matches!(second, Err(Refusal::SecondStart)));
}

#[test]
fn resume_tells_every_shard() {
    assert_eq!(Admission::new(3, &[4]).resume().delivered, [4, 0, 0]);
    assert_eq!(Admission::new(1, &[4, 5, 6]).resume().delivered, [4]);
}

#[test]
fn numbers_follow_each_other_within_a_shard() {
    let mut admission = Admission::new(2, &[4, 0]);
    assert_eq!(admitted(&mut admission, 0, 5), (true, Order::Next));
    assert_eq!(admitted(&mut admission, 1, 1), (true, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 6), (false, Order::Next));
    for number in [5, 6, 8] {
        let refusal = admission.admit(batch(0, number)).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { shard: 0, last: 6, .. }), "{refusal}");
        assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
    }
    assert_eq!(admitted(&mut admission, 0, 7), (false, Order::Next));
}

#[test]
fn what_was_delivered_before_is_a_duplicate_and_what_was_lost_a_gap() {
    let mut admission = Admission::new(2, &[4, 4]);
    assert_eq!(admitted(&mut admission, 0, 3), (true, Order::Duplicate));
    assert_eq!(admitted(&mut admission, 0, 4), (false, Order::Duplicate));
    assert_eq!(admitted(&mut admission, 0, 5), (false, Order::Next));
    assert_eq!(admitted(&mut admission, 1, 8), (true, Order::Gap(3)));
    assert_eq!(admitted(&mut admission, 1, 9), (false, Order::Next));
}

#[test]
fn live_batches_are_not_numbered() {
    let mut admission = Admission::new(1, &[4]);
    assert_eq!(admitted(&mut admission, 0, 0), (false, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 5), (true, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 0), (false, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 6), (false, Order::Next));
}

#[test]
fn shards_and_watermarks_are_checked() {
    let mut admission = Admission::new(2, &[]);
    let refusal = admission.admit(batch(2, 1)).unwrap_err();
    assert!(matches!(refusal, Refusal::Shard { shard: 2, shards: 2 }), "{refusal}");
    assert!(matches!(admission.admit(batch(0, 1)), Ok(Admitted::Batch { .. })));
    let progress = |shard, watermark_ms| message(Kind::Progress(wire::Progress { shard, watermark_ms }));
    assert!(matches!(admission.admit(progress(1, 60_000)), Ok(Admitted::Progress { shard: 1, .. })));
    assert!(matches!(admission.admit(progress(2, 60_000)), Err(Refusal::Shard { .. })));
    assert!(matches!(admission.admit(progress(1, i64::MAX)), Err(Refusal::Watermark(_))));
    let wrong = wire::Batch { number: 2, width_ms: 0, ..wire::Batch::default() };
    assert!(matches!(admission.admit(message(Kind::Batch(wrong))), Err(Refusal::Batch(_))));
    assert!(matches!(admission.admit(wire::DeliverRequest { kind: None }), Err(Refusal::Empty)));
}
