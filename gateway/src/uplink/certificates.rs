//! Tells an aggregator when the certificates of devices end: those that are known when a stream begins, then changes.

use std::{convert::Infallible, future::pending, time::Duration};

use catchment_proto::{
    Capabilities,
    wire::{self, deliver_request},
};
use tokio::{sync::mpsc, time::sleep};

use crate::device_certificates::DeviceCertificates;

/// Most devices of a message, some 20 KiB, so that batches do not wait for it.
const PART: usize = 500;
/// Sessions that begin within this time share a message.
const GATHER: Duration = Duration::from_secs(1);

/// Tells all that there is, and what changes, while the stream lives. May be dropped at any await.
pub(super) async fn report(
    certificates: &DeviceCertificates,
    capabilities: Capabilities,
    sending: mpsc::Sender<wire::DeliverRequest>,
) -> Infallible {
    // An aggregator of an earlier version would end the stream for it.
    if !capabilities.contains(Capabilities::CERTIFICATES_1) {
        return pending().await;
    }
    let mut changed = certificates.subscribe();
    let mut told = 0;
    loop {
        changed.mark_unchanged();
        while let Some((devices, last)) = certificates.after(told, PART) {
            let kind = Some(deliver_request::Kind::Certificates(wire::DeviceCertificates { devices }));
            if sending.send(wire::DeliverRequest { kind }).await.is_err() {
                // The stream has ended, which ends this too.
                return pending().await;
            }
            told = last;
        }
        if changed.changed().await.is_err() {
            return pending().await;
        }
        sleep(GATHER).await;
    }
}
