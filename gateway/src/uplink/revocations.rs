//! The aggregator's revocation lists on one stream: put together, given to the trust, kept, and answered.
//!
//! Nothing here holds up acknowledgements: lists are verified and written on threads that may block, and of several
//! that came meanwhile only the newest are.

use std::{convert::Infallible, future::Future, sync::Arc};

use catchment_certs::kept_revocations::{KeptRevocations, RETRY_EVERY, Verdict};
use catchment_proto::{
    Capabilities,
    revocations::ListsAssembler,
    wire::{self, deliver_request},
};
use catchment_settings::supervise::resume_panic;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::metrics::Metrics;

/// A transfer and its lists; `None`: none has come.
type Received = Option<(u64, Arc<wire::RevocationLists>)>;

/// Puts the parts of a stream together.
pub(super) struct ListsReceiver<'a> {
    assembler: ListsAssembler,
    metrics: &'a Metrics,
    received: watch::Sender<Received>,
}

impl ListsReceiver<'_> {
    /// Takes a part. Lists that cannot be read are counted and dropped: the known ones count.
    pub(super) fn take(&mut self, part: wire::RevocationPart) {
        match self.assembler.take(part) {
            Ok(None) => {}
            Ok(Some((transfer, lists))) => _ = self.received.send_replace(Some((transfer, Arc::new(lists)))),
            Err(error) => {
                self.metrics.revocations.refuse(error.reason());
                tracing::warn!(%error, "the aggregator's revocation lists are refused; the known ones count");
            }
        }
    }
}

/// What takes the lists of a stream, and the task that applies them.
pub(super) fn begin<'a>(
    kept: &'a Arc<KeptRevocations>,
    metrics: &'a Metrics,
    capabilities: Capabilities,
    sending: &mpsc::Sender<wire::DeliverRequest>,
) -> (ListsReceiver<'a>, impl Future<Output = Infallible>) {
    let (received, receiving) = watch::channel(None);
    // An aggregator of an earlier version would end the stream for the answer.
    let sending = capabilities.contains(Capabilities::REVOCATIONS_1).then(|| sending.clone());
    let receiver = ListsReceiver { assembler: ListsAssembler::default(), metrics, received };
    (receiver, apply(kept, receiving, sending))
}

/// Applies lists as they come, and says what is held, after each change of it.
async fn apply(
    kept: &Arc<KeptRevocations>,
    mut receiving: watch::Receiver<Received>,
    sending: Option<mpsc::Sender<wire::DeliverRequest>>,
) -> Infallible {
    let mut trust = kept.subscribe();
    let (mut held, mut reported) = (wire::RevocationsHeld::default(), None);
    // A list that was refused may count with other trust anchors.
    let mut again = false;
    loop {
        let received = if receiving.has_changed().unwrap_or(false) || again {
            receiving.borrow_and_update().clone()
        } else {
            None
        };
        again = false;
        if let Some((transfer, lists)) = received {
            let adding = Arc::clone(kept);
            let added = tokio::task::spawn_blocking(move || adding.add(&lists)).await;
            let Verdict { is_held, refused } = resume_panic(added).unwrap_or_default();
            held.refused = refused;
            if is_held {
                held.transfer = transfer;
            }
        }
        trust.mark_unchanged();
        let number = kept.keep().await;
        if let Ok(number) = number {
            held.number = number;
            if let Some(sending) = sending.as_ref().filter(|_| reported.as_ref() != Some(&held)) {
                let kind = Some(deliver_request::Kind::Revocations(held.clone()));
                // Fails when the stream has ended, which ends this too.
                let _ = sending.send(wire::DeliverRequest { kind }).await;
                reported = Some(held.clone());
            }
        }
        tokio::select! {
            Ok(()) = receiving.changed() => receiving.mark_changed(),
            Ok(()) = trust.changed() => again = !held.refused.is_empty(),
            () = sleep(RETRY_EVERY), if number.is_err() => {}
            else => return std::future::pending().await,
        }
    }
}
