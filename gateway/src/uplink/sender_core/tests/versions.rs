//! Aggregators that read less than this gateway writes.

use catchment_partial::{Partial, Parts, Width, Window};
use catchment_proto::ColumnEncoder;

use super::{super::*, outbox::*};

/// A partial of one series.
#[derive(Clone, Copy)]
enum Body {
    Plain,
    WithParts,
    WithStates,
    /// Of a version that does not exist yet.
    Later,
}

fn encode(body: Body, window: Window, out: &mut Vec<u8>) {
    let mut partial = match body {
        Body::Later => return out.extend([9, 9]),
        Body::Plain => Partial::empty(),
        Body::WithParts | Body::WithStates => Partial::with_parts(Parts::ORDER),
    };
    for offset in 0..100 {
        partial.push(window.start().saturating_add_nanos(offset * 1_000_000), offset as f64);
    }
    if let Body::WithStates = body {
        partial.push_state(window.start(), "auto");
    }
    match body {
        Body::Plain => drop(partial.encode_version_1(window.start(), out)),
        _ => partial.encode(window.start(), out),
    }
}

fn batch(bodies: &[Body]) -> wire::Batch {
    let width = Width::from_millis(10_000).unwrap();
    let mut columns = ColumnEncoder::default();
    for (index, body) in (0..).zip(bodies) {
        let window = Window::from_index(index, width).unwrap();
        columns.push(0, window, (1, 1), |out| encode(*body, window, out));
    }
    wire::Batch { width_ms: 10_000, ..columns.finish() }
}

fn outbox(bodies: &[&[Body]]) -> Outbox {
    let mut outbox = Outbox::of(bodies.len() as u64, 10);
    for (stored, bodies) in outbox.stored.iter_mut().zip(bodies) {
        stored.bytes = batch(bodies).encode_to_vec();
    }
    outbox
}

/// The first bytes of the bodies that the core sends until it waits, by message.
fn versions(core: &mut SenderCore, outbox: &[StoredBatch]) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    loop {
        match core.next_effect() {
            Effect::Wait { .. } => return sent,
            Effect::Update => core.update(Inputs { durable: Position::new(1_000), ..Inputs::default() }),
            Effect::Read { .. } => {
                core.batches_read(OutboxChunk { batches: outbox.to_vec(), damage: Vec::new(), at_end: true })
            }
            Effect::Send(request) => {
                let Some(Kind::Batch(batch)) = request.kind else { continue };
                let mut at = 0;
                sent.push(
                    batch
                        .body_bytes
                        .iter()
                        .map(|length| {
                            at += *length as usize;
                            batch.bodies[at - *length as usize]
                        })
                        .collect(),
                );
            }
            _ => {}
        }
    }
}

#[test]
fn bodies_leave_in_the_version_that_the_aggregator_reads() {
    let stored = outbox(&[&[Body::Plain, Body::WithParts], &[Body::WithParts]]).stored;
    let mut core = SenderCore::new(3, 10);
    core.begin(Numbering::default(), 0, Capabilities::PARTIAL_2);
    assert_eq!(versions(&mut core, &stored), [vec![1, 2], vec![2]]);
    core.begin(Numbering::default(), 0, Capabilities::NONE);
    assert_eq!(versions(&mut core, &stored), [vec![1, 1], vec![1]]);
    core.begin(Numbering::default(), 0, Capabilities::PARTIAL_2);
    assert_eq!(versions(&mut core, &stored), [vec![1, 2], vec![2]], "each stream has its own aggregator");
}

#[test]
fn partials_that_lost_their_optional_parts_are_counted() {
    let mut outbox = outbox(&[&[Body::Plain], &[Body::WithParts, Body::Plain, Body::WithParts]]);
    outbox.begin_with(Numbering::default(), 0, Capabilities::NONE);
    assert_eq!(outbox.run(), [Done::Batch(1), Done::Batch(2), Done::Report(Report::PartsLeftOut(2))]);
    outbox.core.live(vec![wire::Batch { live: true, ..batch(&[Body::WithParts]) }]);
    assert_eq!(outbox.run(), [Done::Live, Done::Report(Report::PartsLeftOut(1))]);
}

#[test]
fn a_batch_with_states_waits_for_an_aggregator_that_reads_them() {
    let mut outbox = outbox(&[&[Body::Plain], &[Body::Plain, Body::WithStates], &[Body::Plain]]);
    outbox.close(1_000);
    outbox.begin_with(Numbering::default(), 0, Capabilities::NONE);
    let held = Done::Report(Report::Held { number: 2, error: TranscodeError::States });
    assert_eq!(outbox.run(), [Done::Batch(1), held]);
    assert_eq!(outbox.acknowledge(1), [Done::Released(10)], "the rest is neither released nor reported");
    assert_eq!((outbox.wait, outbox.ack_due), ((None, false), false), "commits need not wake it");
    assert!(!outbox.core.has_delivered(&outbox.inputs.progress));
    outbox.append(4..=4);
    assert_eq!(outbox.run(), [], "later batches wait too");
    outbox.close(1_000);
    outbox.begin(Numbering::default(), 1);
    assert_eq!(outbox.run(), [Done::Released(10), Done::Batch(2), Done::Batch(3), Done::Batch(4)]);
    let all = [Done::Released(40), Done::Released(50), Done::Acknowledged(50), Done::Progress(4)];
    assert_eq!(outbox.acknowledge(4), all);
}

#[test]
fn a_batch_of_a_later_version_waits_too_and_is_not_taken_for_damage() {
    let mut outbox = outbox(&[&[Body::Later]]);
    outbox.begin_with(Numbering::default(), 0, Capabilities::NONE);
    assert!(matches!(outbox.run()[..], [Done::Report(Report::Held { number: 1, .. })]));
    outbox.begin(Numbering::default(), 0);
    assert_eq!(outbox.run(), [Done::Batch(1)]);
}

#[test]
fn a_refused_batch_leaves_again_although_a_later_one_is_held() {
    let mut outbox = outbox(&[&[Body::Plain], &[Body::Later]]);
    outbox.begin_with(Numbering::default(), 0, Capabilities::NONE);
    let held = |done: &[Done]| matches!(done, [Done::Batch(1), Done::Report(Report::Held { number: 2, .. })]);
    assert!(held(&outbox.run()));
    assert_eq!(outbox.refuse(1), [Done::Reopened(10)]);
    outbox.inputs.now = outbox.wait.0.unwrap();
    assert!(held(&outbox.run()));
}

#[test]
fn open_windows_leave_without_those_that_have_states() {
    let mut outbox = outbox(&[]);
    outbox.begin_with(Numbering::default(), 0, Capabilities::NONE);
    let live = wire::Batch { live: true, ..batch(&[Body::Plain, Body::WithStates, Body::WithParts]) };
    outbox.core.live(vec![live]);
    let Effect::Send(request) = outbox.core.next_effect() else { panic!("nothing is sent") };
    let Some(Kind::Batch(batch)) = request.kind else { panic!("{request:?}") };
    assert_eq!((batch.body_bytes.len(), batch.bodies[0]), (2, 1));
}

#[test]
fn a_batch_whose_partials_cannot_be_read_is_reported_as_damage() {
    let mut outbox = outbox(&[&[Body::Plain], &[Body::Plain]]);
    let mut spoilt = batch(&[Body::Plain]);
    spoilt.bodies = vec![2; spoilt.bodies.len()].into();
    outbox.stored[0].bytes = spoilt.encode_to_vec();
    outbox.begin_with(Numbering::default(), 0, Capabilities::NONE);
    let done = outbox.run();
    assert!(
        matches!(done[..], [Done::Report(Report::Unreadable { number: 1, .. }), Done::Batch(2)]),
        "{done:?}"
    );
}
