//! The revocation lists that gateways are sent: encoded once, shared by all streams, sent in small parts.
//!
//! A stream holds the newest lists and a position in them; a part leaves when the stream has room, in turns with
//! acknowledgements. So a gateway that reads slowly holds up nothing, and lists of any length take their memory once.

use bytes::Bytes;
use catchment_certs::{RevocationList, Revocations, TrustStatus};
use catchment_proto::{
    revocations::{EncodedLists, encode_lists, part},
    wire,
};
use catchment_settings::supervise::resume_panic;
use tokio::sync::watch;

/// The newest lists. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    /// Counts the changes; 0: there are no lists.
    pub(crate) transfer: u64,
    /// The highest number of a root's list; 0: there is none.
    pub(crate) number: u64,
    /// As [`encode_lists`] encodes them.
    bytes: Bytes,
}

/// Offers the lists of the trust, now and whenever they change. Forever; may be dropped at any await.
pub(crate) async fn publish(mut trust: watch::Receiver<TrustStatus>, offers: watch::Sender<Offer>) {
    let mut offered = Revocations::default();
    loop {
        let lists = trust.borrow_and_update().revocations.clone();
        let before = offered.clone();
        // Lists may have megabytes.
        let encoding = tokio::task::spawn_blocking(move || {
            let encoded = (!are_equal(before.lists(), lists.lists())).then(|| encode(lists.lists()));
            (encoded, lists)
        });
        let Ok((encoded, lists)) = resume_panic(encoding.await) else { return std::future::pending().await };
        offered = lists;
        if let Some((number, EncodedLists { bytes, left_out })) = encoded {
            if left_out > 0 {
                tracing::warn!(
                    condition = "revocations_left_out",
                    left_out,
                    "there are too many or too long revocation lists: some do not reach the gateways"
                );
            }
            tracing::info!(
                number,
                lists = offered.lists().len(),
                bytes = bytes.len(),
                "revocation lists for the gateways"
            );
            offers.send_modify(|offer| *offer = Offer { transfer: offer.transfer + 1, number, bytes });
        }
        if trust.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Whether they are the same lists.
fn are_equal(before: &[RevocationList], now: &[RevocationList]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| a.der == b.der && a.issuer == b.issuer)
}

/// The highest number of a root's list, and all lists. (Those of roots, which count for every site, come first.)
fn encode(lists: &[RevocationList]) -> (u64, EncodedLists) {
    let roots = lists.iter().filter(|list| list.issuer.is_none());
    let encoded = encode_lists(lists.iter().map(|list| (&*list.der, list.issuer.as_deref())));
    (roots.map(|list| list.number).max().unwrap_or(0), encoded)
}

/// What one stream still has to send: always of the newest lists.
#[derive(Debug)]
pub(super) struct ListsSender {
    offers: watch::Receiver<Offer>,
    offer: Offer,
    offset: usize,
    /// An ack went before the next part.
    yielded: bool,
}

impl ListsSender {
    /// Begins with the newest lists.
    pub(super) fn new(offers: &watch::Sender<Offer>) -> Self {
        let mut offers = offers.subscribe();
        let offer = offers.borrow_and_update().clone();
        Self { offers, offer, offset: 0, yielded: false }
    }

    /// Whether a part waits.
    pub(super) fn has_part(&self) -> bool {
        self.offset < self.offer.bytes.len()
    }

    /// The next part, in turns with acks that wait, and the offer if the part is its last one.
    pub(super) fn next_in_turn(&mut self, ack_waits: bool) -> Option<(wire::RevocationPart, Option<Offer>)> {
        if ack_waits && !std::mem::replace(&mut self.yielded, true) {
            return None;
        }
        self.yielded = false;
        self.next_part()
    }

    fn next_part(&mut self) -> Option<(wire::RevocationPart, Option<Offer>)> {
        let part = part(self.offer.transfer, &self.offer.bytes, self.offset)?;
        self.offset += part.content.len();
        let whole = (!self.has_part()).then(|| self.offer.clone());
        Some((part, whole))
    }
}

/// Waits for newer lists and begins with them anew, whatever was sent of the ones before.
pub(super) async fn renewed(lists: &mut Option<ListsSender>) {
    let Some(lists) = lists else { return std::future::pending().await };
    if lists.offers.changed().await.is_err() {
        return std::future::pending().await;
    }
    (lists.offer, lists.offset) = (lists.offers.borrow_and_update().clone(), 0);
}

/// What a stream knows of the lists at its gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct GatewayLists {
    /// Number of the lists that were sent last, as a whole.
    pub(super) sent: Option<u64>,
    /// What the gateway holds, as it said last: the number, and the transfer.
    pub(super) held: Option<(u64, u64)>,
}

/// Which revocation list a connected gateway has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListsState {
    /// Number of the list that it was sent last.
    pub(crate) sent: Option<u64>,
    /// Number of the list that it holds.
    pub(crate) held: Option<u64>,
    /// It does not hold the newest lists.
    pub(crate) behind: bool,
}

impl GatewayLists {
    /// Compares with the newest lists. `None`: the gateway does not take lists.
    pub(super) fn state(lists: Option<&Self>, newest: &Offer) -> ListsState {
        let transfer = lists.and_then(|lists| lists.held).map_or(0, |(_, transfer)| transfer);
        ListsState {
            sent: lists.and_then(|lists| lists.sent),
            held: lists.and_then(|lists| lists.held).map(|(number, _)| number),
            behind: transfer < newest.transfer,
        }
    }
}

#[cfg(test)]
pub(crate) fn offer(transfer: u64, number: u64, bytes: &'static [u8]) -> Offer {
    Offer { transfer, number, bytes: encode_lists([(bytes, None)]).bytes }
}

#[cfg(test)]
mod tests {
    use catchment_proto::revocations::{ListsAssembler, PART_BYTES};

    use super::*;

    #[tokio::test]
    async fn a_slow_stream_sends_the_newest_lists_alone() {
        let (offers, _) = watch::channel(offer(1, 7, &[1; 5 * PART_BYTES]));
        let mut lists = Some(ListsSender::new(&offers));
        let next = |lists: &mut Option<ListsSender>| lists.as_mut().unwrap().next_part();
        let mut assembler = ListsAssembler::default();
        for _ in 0..2 {
            let (part, whole) = next(&mut lists).unwrap();
            assert!(whole.is_none() && assembler.take(part).unwrap().is_none());
        }
        offers.send_replace(offer(2, 8, &[2; 3 * PART_BYTES]));
        offers.send_replace(offer(3, 9, &[3; 2 * PART_BYTES]));
        renewed(&mut lists).await;
        let mut taken = None;
        while let Some((part, whole)) = next(&mut lists) {
            assert_eq!(part.transfer, 3);
            taken = assembler.take(part).unwrap();
            assert_eq!(whole.map(|offer| offer.number), taken.as_ref().map(|_| 9));
        }
        assert_eq!(taken.unwrap().1.lists, [Bytes::from_static(&[3; 2 * PART_BYTES])]);
        assert!(!lists.unwrap().has_part());
    }

    #[test]
    fn a_gateway_is_behind_until_it_holds_the_newest_lists() {
        let newest = offer(4, 9, b"x");
        let state = |lists: Option<GatewayLists>| GatewayLists::state(lists.as_ref(), &newest);
        assert_eq!(state(None), ListsState { behind: true, ..ListsState::default() });
        let lists = GatewayLists { sent: Some(9), held: Some((8, 3)) };
        assert_eq!(state(Some(lists.clone())), ListsState { sent: Some(9), held: Some(8), behind: true });
        let lists = GatewayLists { held: Some((9, 4)), ..lists };
        assert_eq!(state(Some(lists)), ListsState { sent: Some(9), held: Some(9), behind: false });
        assert!(!GatewayLists::state(None, &Offer::default()).behind, "there are no lists");
    }
}
