//! Revocation lists beside batches.

use catchment_proto::{
    Capabilities,
    revocations::{ListsAssembler, PART_BYTES},
};

use super::*;
use crate::ingest::revocations::{ListsState, offer};

impl Rig {
    /// A stream of a gateway that takes revocation lists, after its Start.
    async fn start_with_lists(&self) -> Stream {
        let mut stream = self.open();
        let capabilities = Capabilities::REVOCATIONS_1.names();
        let start =
            wire::Start { epoch: 1, epoch_created_ms: 1, shards: 1, capabilities, ..wire::Start::default() };
        stream.send(message(wire::deliver_request::Kind::Start(start))).await;
        assert!(matches!(stream.answer().await, Some(Kind::Resume(_))));
        stream
    }

    fn lists(&self) -> ListsState {
        self.shared.streams.lists(&gateway("berlin", "g1")).unwrap()
    }
}

impl Stream {
    /// Reads parts until a transfer is whole; returns it, and the numbers of the acks in between.
    async fn lists(&mut self) -> (u64, Vec<u64>) {
        let (mut assembler, mut acks) = (ListsAssembler::default(), Vec::new());
        loop {
            match self.answer().await.unwrap() {
                Kind::Ack(ack) => acks.push(ack.number),
                Kind::Revocations(part) => {
                    if let Some((transfer, _)) = assembler.take(part).unwrap() {
                        return (transfer, acks);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn long_lists_leave_beside_acks_and_the_gateways_answer_is_shown() {
    let rig = rig(4);
    rig.shared.streams.revocations.send_replace(offer(1, 7, &[1; 20 * PART_BYTES]));
    let mut stream = rig.start_with_lists().await;
    assert_eq!(rig.lists(), ListsState { behind: true, ..ListsState::default() });
    assert_eq!(rig.shared.streams.behind_revocations(), 1);
    for number in 1..=4 {
        stream.send(numbered(number)).await;
    }
    let (transfer, acks) = stream.lists().await;
    assert_eq!((transfer, acks.last()), (1, Some(&4)), "no ack waits for the end of the lists");
    let held = wire::RevocationsHeld { number: 7, transfer: 1, refused: String::new() };
    stream.send(message(wire::deliver_request::Kind::Revocations(held))).await;
    while rig.lists().behind {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.lists(), ListsState { sent: Some(7), held: Some(7), behind: false });
    assert_eq!(rig.shared.streams.behind_revocations(), 0);
    // Another list: the gateway is behind until it says that it holds it.
    rig.shared.streams.revocations.send_replace(offer(2, 8, b"short"));
    assert!(rig.lists().behind);
    assert_eq!(stream.lists().await.0, 2);
    let refused = "signed by nobody in ca.pem".to_owned();
    let held = wire::RevocationsHeld { number: 7, transfer: 1, refused };
    stream.send(message(wire::deliver_request::Kind::Revocations(held))).await;
    stream.send(numbered(5)).await;
    assert_eq!(stream.ack().await, Some(5), "the stream stays");
    assert_eq!(rig.lists(), ListsState { sent: Some(8), held: Some(7), behind: true });
}

#[tokio::test]
async fn a_gateway_of_an_earlier_version_is_sent_no_lists_and_counts_as_behind() {
    let rig = rig(4);
    rig.shared.streams.revocations.send_replace(offer(1, 7, b"list"));
    let (mut stream, _) = rig.start().await;
    rig.shared.streams.revocations.send_replace(offer(2, 8, b"list"));
    stream.send(numbered(1)).await;
    assert_eq!(stream.ack().await, Some(1));
    assert_eq!(rig.lists(), ListsState { behind: true, ..ListsState::default() });
    drop(stream.requests);
    assert_eq!(stream.end.await.unwrap().reason, "closed");
    assert_eq!(rig.shared.streams.behind_revocations(), 0, "it has no stream");
}
