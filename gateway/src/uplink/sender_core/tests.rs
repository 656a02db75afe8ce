mod outbox;
mod versions;

use super::*;
use crate::lineage::{Epoch, Epochs, ShardEpoch};

use outbox::{
    Done::{self, Acknowledged, Batch, Progress as Progressed, Released, Reopened},
    Outbox, damage, stored,
};

#[test]
fn batches_leave_in_order_up_to_the_bound_and_are_released_once_acknowledged() {
    let mut outbox = Outbox::of(4, 2);
    outbox.begin(Numbering::default(), 0);
    assert_eq!(outbox.run(), [Batch(1), Batch(2)]);
    assert_eq!((outbox.wait, outbox.ack_due), ((None, false), true), "commits need not wake it");
    assert_eq!(outbox.run(), [], "nothing has changed");
    assert_eq!(outbox.acknowledge(1), [Released(10), Batch(3)]);
    assert_eq!(outbox.acknowledge(3), [Released(30), Batch(4)], "acknowledgements are merged");
    assert_eq!(outbox.acknowledge(2), [], "an older one is no news");
    assert!(outbox.ack_due);
    assert_eq!(outbox.acknowledge(4), [Released(40), Released(50), Acknowledged(50)]);
    assert_eq!((outbox.wait, outbox.ack_due), ((None, true), false));
    assert_eq!(outbox.core.sent(), 4);
}

#[test]
fn a_chunk_without_the_end_is_followed_by_an_update_and_the_next_chunk() {
    let mut outbox = Outbox::of(3, 10);
    outbox.chunk = 1;
    outbox.begin(Numbering::default(), 0);
    let mut updates = 0;
    let mut sent = Vec::new();
    loop {
        match outbox.core.next_effect() {
            Effect::Wait { .. } => break,
            effect => {
                updates += usize::from(effect == Effect::Update);
                sent.extend(outbox.carry_out(effect));
            }
        }
    }
    assert_eq!(sent, [Batch(1), Batch(2), Batch(3)]);
    assert_eq!(updates, 4, "each chunk is decided by the latest feedback");
}

#[test]
fn a_batch_counts_as_sent_when_it_leaves_and_not_when_it_is_read() {
    let mut outbox = Outbox::of(3, 10);
    outbox.begin(Numbering::default(), 0);
    outbox.core.update(outbox.inputs.clone());
    assert_eq!(outbox.core.next_effect(), Effect::StopAckDeadline);
    assert_eq!(outbox.core.next_effect(), Effect::Read { batches_max: 10 });
    outbox.core.batches_read(OutboxChunk { batches: (1..=3).map(stored).collect(), ..Default::default() });
    assert_eq!(outbox.core.sent(), 0);
    assert_eq!(outbox.core.next_effect(), Effect::StartAckDeadline);
    assert!(matches!(outbox.core.next_effect(), Effect::Send(_)));
    assert_eq!(outbox.core.sent(), 1, "the stream may end before the others leave");
}

#[test]
fn a_refused_batch_and_those_behind_it_leave_again_after_the_pause() {
    let mut outbox = Outbox::of(4, 10);
    outbox.begin(Numbering::default(), 0);
    assert_eq!(outbox.run(), [Batch(1), Batch(2), Batch(3), Batch(4)]);
    outbox.inputs.feedback.acknowledge(1);
    assert_eq!(outbox.refuse(2), [Released(10), Reopened(20)], "the acknowledgement comes first");
    let (pause_until, has_room) = outbox.wait;
    let pause_until = pause_until.unwrap();
    assert!(!has_room && !outbox.ack_due, "a refused batch is not in flight while it waits");
    assert!(pause_until >= Duration::from_millis(250), "{pause_until:?}");
    outbox.inputs.now = pause_until - Duration::from_nanos(1);
    assert_eq!(outbox.run(), [], "no batch leaves, and nothing is released, while the pause lasts");
    outbox.inputs.now = pause_until;
    assert_eq!(outbox.run(), [Batch(2), Batch(3), Batch(4)]);
    assert_eq!(outbox.wait, (None, true));
    let over = Done::Report(Report::RefusalsOver(1));
    assert_eq!(outbox.acknowledge(4), [over, Released(40), Released(50), Acknowledged(50)]);
}

#[test]
fn pauses_grow_and_outlive_the_stream_until_something_is_taken() {
    let mut outbox = Outbox::of(1, 10);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        outbox.begin(Numbering::default(), 0);
        assert_eq!(outbox.run(), [Batch(1)], "a new stream does not wait for the pause of the one before");
        assert_eq!(outbox.refuse(1), [Reopened(10)]);
        pauses.push(outbox.wait.0.unwrap() - outbox.inputs.now);
    }
    assert_eq!(pauses, [250, 500, 1_000].map(Duration::from_millis));
    outbox.inputs.now = outbox.wait.0.unwrap();
    assert_eq!(outbox.run(), [Batch(1)]);
    outbox.acknowledge(1);
    outbox.append(2..=2);
    assert_eq!(outbox.run(), [Batch(2)]);
    outbox.refuse(2);
    assert_eq!(outbox.wait.0.unwrap() - outbox.inputs.now, Duration::from_millis(250));
}

#[test]
fn a_refusal_of_what_is_not_in_flight_changes_nothing() {
    let mut outbox = Outbox::of(2, 10);
    outbox.begin(Numbering::default(), 0);
    outbox.run();
    assert_eq!(outbox.refuse(7), []);
    assert_eq!(outbox.wait, (None, true));
    outbox.refuse(1);
    let pause_until = outbox.wait.0;
    assert_eq!(outbox.refuse(2), [], "it was taken back with the one before it");
    assert_eq!(outbox.wait.0, pause_until);
}

#[test]
fn open_windows_leave_also_while_batches_have_to_wait() {
    let mut outbox = Outbox::of(1, 1);
    outbox.begin(Numbering::default(), 0);
    let live = || vec![wire::Batch { live: true, ..wire::Batch::default() }];
    assert_eq!(outbox.run(), [Batch(1)]);
    outbox.core.live(live());
    assert_eq!(outbox.run(), [Done::Live]);
    outbox.refuse(1);
    outbox.core.live(live());
    assert_eq!(outbox.run(), [Done::Live]);
    assert!(outbox.wait.0.is_some(), "the pause continues");
}

#[test]
fn a_stream_begins_anew_from_what_the_aggregator_has() {
    let mut outbox = Outbox::of(4, 10);
    outbox.begin(Numbering::default(), 3);
    assert_eq!(outbox.run(), [Released(10), Released(20), Released(30), Batch(4)]);
    // It was restored from a backup, and knows less.
    outbox.begin(Numbering::default(), 1);
    assert_eq!(outbox.run(), [Released(10), Batch(2), Batch(3), Batch(4)]);
    assert_eq!(outbox.core.sent(), 4);
    assert_eq!(
        outbox.acknowledge(2),
        [Released(20)],
        "an acknowledgement of the earlier stream is forgotten"
    );
}

#[test]
fn what_is_left_of_a_stream_does_not_leave_on_the_next_one() {
    let mut outbox = Outbox::of(3, 10);
    outbox.begin(Numbering::default(), 0);
    outbox.core.update(outbox.inputs.clone());
    outbox.core.batches_read(OutboxChunk { batches: (1..=3).map(stored).collect(), ..Default::default() });
    outbox.begin(Numbering::default(), 2);
    assert_eq!(outbox.run(), [Released(10), Released(20), Batch(3)]);
}

#[test]
fn damage_is_reported_once_and_its_neighbours_leave() {
    let mut outbox = Outbox::of(1, 10);
    outbox.append(3..=3);
    outbox.damage = vec![damage(20, 30)];
    outbox.begin(Numbering::default(), 0);
    let first = Done::Report(Report::Damage(damage(20, 30)));
    assert_eq!(outbox.run(), [first, Batch(1), Batch(3)]);
    // Every stream reads the outbox again from its start.
    outbox.damage = vec![damage(20, 30), damage(50, 60)];
    outbox.begin(Numbering::default(), 0);
    let second = Done::Report(Report::Damage(damage(50, 60)));
    assert_eq!(outbox.run(), [second, Batch(1), Batch(3)]);
}

#[test]
fn a_batch_that_cannot_be_decoded_is_left_out_and_released_with_the_rest() {
    let mut outbox = Outbox::of(3, 10);
    outbox.stored[1].bytes = vec![0xff];
    outbox.begin(Numbering::default(), 0);
    let done = outbox.run();
    assert!(
        matches!(&done[..], [Batch(1), Done::Report(Report::Unreadable { number: 2, .. }), Batch(3)]),
        "{done:?}"
    );
    assert_eq!(outbox.acknowledge(3), [Released(30), Released(40), Acknowledged(40)]);
}

#[test]
fn the_outbox_is_released_as_a_whole_only_when_nothing_is_in_flight_or_refused() {
    let mut outbox = Outbox::of(2, 10);
    outbox.begin(Numbering::default(), 0);
    outbox.run();
    assert_eq!(outbox.acknowledge(1), [Released(10)], "the end is read, but batch 2 is in flight");
    assert_eq!(outbox.refuse(2), [Reopened(20)]);
    assert_eq!(outbox.run(), [], "batch 2 waits");
    outbox.inputs.now = outbox.wait.0.unwrap();
    outbox.run();
    let over = Done::Report(Report::RefusalsOver(1));
    assert_eq!(outbox.acknowledge(2), [over, Released(20), Released(30), Acknowledged(30)]);
}

#[test]
fn what_becomes_durable_after_the_outbox_was_read_is_not_released() {
    let mut outbox = Outbox::of(1, 10);
    outbox.begin(Numbering::default(), 1);
    for _ in 0..3 {
        let effect = outbox.core.next_effect();
        assert_eq!(outbox.carry_out(effect), None, "update, deadline, read");
    }
    outbox.append(2..=2);
    assert_eq!(outbox.run(), [Released(10), Released(20), Acknowledged(20)]);
    assert_eq!(outbox.run(), [Batch(2)]);
}

/// A release notifies as a commit does.
#[test]
fn a_release_does_not_wake_its_own_sender_forever() {
    let mut outbox = Outbox::of(2, 10);
    outbox.begin(Numbering::default(), 2);
    assert_eq!(outbox.run(), [Released(10), Released(20), Released(30), Acknowledged(30)]);
    for _ in 0..3 {
        assert_eq!(outbox.run(), [], "the notification of a release");
    }
    // Segments were removed: the outbox has changed, and is then as it was.
    outbox.inputs.outbox_bytes = 10;
    assert_eq!(outbox.run(), [Released(30)]);
    for _ in 0..3 {
        assert_eq!(outbox.run(), []);
    }
}

#[test]
fn progress_is_reported_once_when_every_batch_before_it_is_acknowledged() {
    let mut outbox = Outbox::of(2, 10);
    outbox.close(1_000);
    outbox.begin(Numbering::default(), 0);
    assert_eq!(outbox.run(), [Batch(1), Batch(2)]);
    assert_eq!(outbox.acknowledge(1), [Released(10)]);
    assert!(!outbox.core.has_delivered(&outbox.inputs.progress));
    assert_eq!(outbox.acknowledge(2), [Released(20), Released(30), Acknowledged(30), Progressed(2)]);
    assert!(outbox.core.has_delivered(&outbox.inputs.progress));
    assert_eq!(outbox.run(), []);
    // Its last batch is not durable yet.
    outbox.close(2_000);
    outbox.inputs.progress.outbox_end = Position::new(40);
    assert_eq!(outbox.run(), []);
    outbox.append(3..=3);
    assert_eq!(outbox.run(), [Batch(3)]);
    outbox.close(2_000);
    assert_eq!(outbox.acknowledge(3), [Released(30), Released(40), Acknowledged(40), Progressed(3)]);
    outbox.begin(Numbering::default(), 3);
    let done = outbox.run();
    assert_eq!(done.last(), Some(&Progressed(3)), "each stream reports it again: {done:?}");
}

#[test]
fn a_refused_batch_holds_progress_back() {
    let mut outbox = Outbox::of(1, 10);
    outbox.begin(Numbering::default(), 0);
    outbox.run();
    outbox.refuse(1);
    outbox.close(1_000);
    assert_eq!(outbox.run(), []);
    outbox.inputs.now = outbox.wait.0.unwrap();
    assert_eq!(outbox.run(), [Batch(1)]);
    assert_eq!(outbox.acknowledge(1).last(), Some(&Progressed(1)));
}

#[test]
fn what_is_left_out_of_a_new_epoch_leaves_first() {
    let mut epochs = Epochs::first(7, 0);
    let shards = vec![ShardEpoch::default(); 3];
    let here = ShardEpoch { offset: 20, names: Vec::new() };
    let shards = [shards, vec![here]].concat();
    epochs.begin(Epoch { id: 9, created_ms: 1, shards, left_out_to: Some(Timestamp::from_nanos(90)) });
    let mut outbox = Outbox::of(0, 10);
    outbox.append(20..=21);
    outbox.begin(epochs.numbering(3), 0);
    assert_eq!(
        outbox.run(),
        [Progressed(1), Released(200), Batch(2)],
        "number 1 stands for what is left out, and batch 20 is of the epoch before"
    );
    outbox.begin(epochs.numbering(3), 2);
    assert_eq!(outbox.run()[..2], [Released(200), Released(210)], "the aggregator knows");
}
