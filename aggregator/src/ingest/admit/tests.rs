use catchment_proto::{Capabilities, Name, Span};

use super::*;

fn gateway() -> GatewayId {
    GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() }
}

fn delivered(numbers: &[u64]) -> Vec<Delivered> {
    let one = |number: &u64| {
        let run = RunDelivered { run: 7, previous: previous_runs(&[6]), number: *number };
        Delivered { number: *number, runs: vec![run] }
    };
    numbers.iter().map(one).collect()
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

fn admitted(admission: &mut StreamAdmission, shard: u32, number: u64) -> (bool, Order) {
    match admission.admit(batch(shard, number), ClockBound::UNBOUNDED).unwrap() {
        Admitted::Batch { stream_start, order, .. } => (stream_start, order),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_begins_with_a_start() {
    let begin = wire::Start {
        epoch: 7,
        epoch_created_ms: 5,
        shards: 2,
        version: "1.0\n".repeat(40),
        ..wire::Start::default()
    };
    let (epoch, version) = start(gateway(), message(Kind::Start(begin.clone()))).unwrap();
    assert_eq!((epoch.id, epoch.shards, epoch.gateway), (7, 2, gateway()));
    assert_eq!(version.chars().count(), VERSION_CHARS_MAX);
    assert!(!version.contains('\n'));
    assert!(matches!(start(gateway(), batch(0, 1)), Err(Refusal::NoStart)));
    assert!(matches!(start(gateway(), wire::DeliverRequest { kind: None }), Err(Refusal::NoStart)));
    for shards in [0, SHARDS_MAX + 1, u32::MAX] {
        let begin = wire::Start { shards, ..begin.clone() };
        assert!(matches!(start(gateway(), message(Kind::Start(begin))), Err(Refusal::Shards(_))));
    }
    let second =
        StreamAdmission::new(2, delivered(&[])).admit(message(Kind::Start(begin)), ClockBound::UNBOUNDED);
    assert!(matches!(second, Err(Refusal::SecondStart)));
}

#[test]
fn resume_lists_every_shard() {
    assert_eq!(StreamAdmission::new(3, delivered(&[4])).resume().delivered, [4, 0, 0]);
    let resume = StreamAdmission::new(1, delivered(&[4, 5, 6])).resume();
    let run = wire::RunDelivered { run: 7, number: 4, previous_runs: vec![6] };
    assert_eq!((resume.delivered, resume.runs), (vec![4], vec![wire::ShardRuns { runs: vec![run] }]));
}

#[test]
fn capabilities_are_announced_and_those_of_a_later_gateway_ignored() {
    let resume = StreamAdmission::new(1, delivered(&[])).resume();
    assert_eq!(Capabilities::read(&resume.capabilities), Capabilities::OURS);
    let capabilities = (0..10_000).map(|number| format!("{number:0>1000}")).collect();
    let later = wire::Start { epoch: 7, shards: 1, capabilities, ..wire::Start::default() };
    assert!(start(gateway(), message(Kind::Start(later))).is_ok());
}

#[test]
fn numbers_follow_each_other_within_a_shard() {
    let mut admission = StreamAdmission::new(2, delivered(&[4, 0]));
    assert_eq!(admitted(&mut admission, 0, 5), (true, Order::Next));
    assert_eq!(admitted(&mut admission, 1, 1), (true, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 6), (false, Order::Next));
    for number in [5, 6, 8] {
        let refusal = admission.admit(batch(0, number), ClockBound::UNBOUNDED).unwrap_err();
        assert!(matches!(refusal, Refusal::Gap { shard: 0, last: 6, .. }), "{refusal}");
        assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
    }
    assert_eq!(admitted(&mut admission, 0, 7), (false, Order::Next));
}

#[test]
fn delivered_batches_are_duplicates_and_lost_ones_a_gap() {
    let mut admission = StreamAdmission::new(2, delivered(&[4, 4]));
    assert_eq!(admitted(&mut admission, 0, 3), (true, Order::Duplicate));
    assert_eq!(admitted(&mut admission, 0, 4), (false, Order::Duplicate));
    assert_eq!(admitted(&mut admission, 0, 5), (false, Order::Next));
    assert_eq!(admitted(&mut admission, 1, 8), (true, Order::Gap(3)));
    assert_eq!(admitted(&mut admission, 1, 9), (false, Order::Next));
}

#[test]
fn live_batches_are_not_numbered() {
    let mut admission = StreamAdmission::new(1, delivered(&[4]));
    assert_eq!(admitted(&mut admission, 0, 0), (false, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 5), (true, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 0), (false, Order::Next));
    assert_eq!(admitted(&mut admission, 0, 6), (false, Order::Next));
}

#[test]
fn shards_and_watermarks_are_checked() {
    let mut admission = StreamAdmission::new(2, delivered(&[]));
    let refusal = admission.admit(batch(2, 1), ClockBound::UNBOUNDED).unwrap_err();
    assert!(matches!(refusal, Refusal::Shard { shard: 2, shards: 2 }), "{refusal}");
    assert!(matches!(admission.admit(batch(0, 1), ClockBound::UNBOUNDED), Ok(Admitted::Batch { .. })));
    let progress = |shard, watermark_ms| {
        message(Kind::Progress(wire::Progress { shard, watermark_ms, number: 0, history: None }))
    };
    assert!(matches!(
        admission.admit(progress(1, 60_000), ClockBound::UNBOUNDED),
        Ok(Admitted::Progress(ProgressReport { shard: 1, .. }))
    ));
    assert!(matches!(
        admission.admit(progress(2, 60_000), ClockBound::UNBOUNDED),
        Err(Refusal::Shard { .. })
    ));
    assert!(matches!(
        admission.admit(progress(1, i64::MAX), ClockBound::UNBOUNDED),
        Err(Refusal::Watermark(_))
    ));
    let wrong = wire::Batch { number: 2, width_ms: 0, ..wire::Batch::default() };
    assert!(matches!(
        admission.admit(message(Kind::Batch(wrong)), ClockBound::UNBOUNDED),
        Err(Refusal::Batch(_))
    ));
    assert!(matches!(
        admission.admit(wire::DeliverRequest { kind: None }, ClockBound::UNBOUNDED),
        Err(Refusal::Empty)
    ));
}

#[test]
fn watermarks_far_ahead_of_the_clock_are_not_believed() {
    let now = 1_700_000_000_000;
    let clock_bound = ClockBound::new(now, std::time::Duration::from_secs(600));
    let mut admission = StreamAdmission::new(2, delivered(&[]));
    let mut admit = |shard, number, watermark_ms| {
        let kind = match number {
            0 => Kind::Progress(wire::Progress { shard, watermark_ms, number: 7, history: None }),
            _ => Kind::Batch(wire::Batch {
                shard,
                number,
                watermark_ms,
                width_ms: 10_000,
                ..wire::Batch::default()
            }),
        };
        let watermark = match admission.admit(message(kind), clock_bound).unwrap() {
            Admitted::Batch { batch, .. } => batch.watermark,
            Admitted::Progress(ProgressReport { watermark, last, .. }) => {
                assert_eq!(last, 7);
                watermark
            }
            Admitted::Raw(_)
            | Admitted::RevocationsHeld(_)
            | Admitted::Certificates(_)
            | Admitted::Skipped => {
                panic!("nothing was refused")
            }
        };
        (watermark.map(Timestamp::as_millis), admission.watermarks_refused(), admission.ahead_ms())
    };
    assert_eq!(admit(0, 1, now + 600_000), (Some(now + 600_000), 0, None));
    assert_eq!(admit(0, 2, now + 600_001), (None, 1, Some(600_001)));
    assert_eq!(admit(1, 1, now), (Some(now), 1, Some(600_001)), "the other shard is still ahead");
    assert_eq!(admit(0, 0, now + 700_000), (None, 2, Some(700_000)));
    assert_eq!(admit(0, 3, now + 5), (Some(now + 5), 2, None));
}

#[test]
fn windows_are_stored_up_to_a_year_ahead_of_the_clock() {
    let now = 1_700_000_000_000;
    let latest = now + 600_000 + 366 * 86_400_000;
    let admit = |clock_bound| {
        let times =
            [0, now, now + 4_200_000, now + 365 * 86_400_000, latest, latest + 10_000, 8_000_000_000_000];
        let readings = times.map(|time| (time, 1.0));
        let sent = crate::testing::batch(1, crate::testing::key("d", "m", &[]), &readings, now);
        let message = message(Kind::Batch(wire::Batch::from(&sent)));
        match StreamAdmission::new(1, delivered(&[])).admit(message, clock_bound).unwrap() {
            Admitted::Batch { batch, left_out, .. } => {
                assert_eq!(batch.entries, sent.entries[..batch.entries.len()]);
                (batch.entries.len(), left_out)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(admit(ClockBound::new(now, std::time::Duration::from_secs(600))), (5, 2));
    assert_eq!(admit(ClockBound::UNBOUNDED), (7, 0));
}

#[test]
fn numbers_that_no_gateway_reaches_are_refused() {
    let mut admission = StreamAdmission::new(1, delivered(&[3]));
    for number in [NUMBER_MAX + 1, u64::MAX] {
        let refusal = admission.admit(batch(0, number), ClockBound::UNBOUNDED).unwrap_err();
        assert!(matches!(refusal, Refusal::Number { .. }), "{refusal}");
        let progress = Kind::Progress(wire::Progress { shard: 0, watermark_ms: 1, number, history: None });
        assert!(matches!(
            admission.admit(message(progress), ClockBound::UNBOUNDED),
            Err(Refusal::Number { .. })
        ));
    }
    assert_eq!(admitted(&mut admission, 0, 4), (true, Order::Next), "nothing of it was accepted");
}

#[test]
fn after_a_refused_batch_nothing_is_accepted_until_it_is_resent() {
    let mut admission = StreamAdmission::new(2, delivered(&[4, 0]));
    let attempt = |admitted: Admitted| match admitted {
        Admitted::Batch { batch, stream_start, attempt, .. } => Some((batch.number, stream_start, attempt)),
        _ => None,
    };
    let send = |admission: &mut StreamAdmission, shard, number| {
        attempt(admission.admit(batch(shard, number), ClockBound::UNBOUNDED).unwrap())
    };
    assert_eq!(send(&mut admission, 0, 5), Some((5, true, 0)));
    assert_eq!(send(&mut admission, 0, 6), Some((6, false, 0)));
    assert!(admission.refuse(0, 5, true, 0));
    assert!(!admission.refuse(0, 6, false, 0), "the next one is not reported");
    assert!(!admission.is_current(0, 0) && admission.is_current(1, 0));
    assert_eq!(send(&mut admission, 0, 7), None);
    assert_eq!(send(&mut admission, 0, 0), Some((0, false, 0)), "live states continue");
    assert_eq!(send(&mut admission, 1, 1), Some((1, true, 0)), "the other shard continues");
    let progress =
        message(Kind::Progress(wire::Progress { shard: 0, watermark_ms: 90_000, number: 0, history: None }));
    assert!(matches!(admission.admit(progress, ClockBound::UNBOUNDED), Ok(Admitted::Skipped)));
    assert_eq!(send(&mut admission, 0, 5), Some((5, true, 1)), "first of the stream again");
    assert!(admission.is_current(0, 1) && !admission.is_current(0, 0));
    assert!(!admission.refuse(0, 6, false, 0), "results from before count no more");
    assert_eq!(send(&mut admission, 0, 6), Some((6, false, 1)));
    assert!(matches!(admission.admit(batch(0, 8), ClockBound::UNBOUNDED), Err(Refusal::Gap { last: 6, .. })));
}

#[test]
fn lost_windows_of_a_time_that_has_not_come_are_not_missing_until_then() {
    let now = 1_700_000_000_000;
    let clock_bound = ClockBound::new(now, std::time::Duration::from_secs(600));
    let mut admission = StreamAdmission::new(1, delivered(&[]));
    let mut history = History::default();
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    history.push(1, Span { from: time(now - 10_000), to: time(7_984_137_600_000) });
    let history = history.wire(catchment_partial::Width::from_millis(10_000).unwrap());
    let progress = wire::Progress { shard: 0, watermark_ms: now, number: 1, history: history.clone() };
    let batch = wire::Batch { number: 2, width_ms: 10_000, history, ..wire::Batch::default() };
    for kind in [Kind::Progress(progress), Kind::Batch(batch)] {
        let history = match admission.admit(message(kind), clock_bound).unwrap() {
            Admitted::Batch { batch, .. } => batch.history,
            Admitted::Progress(report) => report.history,
            _ => panic!("a progress report"),
        };
        let span = Span { from: time(now - 10_000), to: time(now + 4_200_000) };
        assert_eq!(history.of_last(1), Some(span));
    }
}
