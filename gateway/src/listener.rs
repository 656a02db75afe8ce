//! From an accepted connection to the worker of its device.
//!
//! The handshake is complete and the peer is known; this file decides whether it may be a device of this gateway.

use std::time::SystemTime;

use catchment_certs::{Accepted, Identity};
use catchment_proto::GatewayId;
use tokio::sync::mpsc;

use crate::{device_certificates::DeviceCertificates, metrics::Metrics, worker::shard_of};

/// Why peers are refused after their handshake: all labels for metrics.
pub(crate) const REFUSED_REASONS: [&str; 2] = ["wrong_role", "wrong_site"];

/// Why a peer may not connect; `None` if it may.
fn refuse(gateway: &GatewayId, peer: &Identity) -> Option<&'static str> {
    match peer {
        Identity::Device(device) if device.site == gateway.site => None,
        Identity::Device(_) => Some("wrong_site"),
        _ => Some("wrong_role"),
    }
}

/// Hands a connection to the worker of its device, or closes it.
pub async fn route(
    accepted: Accepted,
    gateway: &GatewayId,
    workers: &[mpsc::Sender<Accepted>],
    (certificates, metrics): (&DeviceCertificates, &Metrics),
) {
    if let Some(reason) = refuse(gateway, &accepted.peer.identity) {
        tracing::info!(peer = %accepted.peer.identity, addr = %accepted.addr, reason, "connection refused");
        metrics.refuse_connection(reason);
        return;
    }
    certificates.note(accepted.peer.identity.name(), accepted.peer.not_after, SystemTime::now());
    let shards = u32::try_from(workers.len()).unwrap_or(u32::MAX);
    let shard = shard_of(accepted.peer.identity.name(), shards);
    if let Some(worker) = workers.get(shard as usize) {
        // Fails only when the worker was stopped: the connection closes.
        let _ = worker.send(accepted).await;
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::{DeviceId, Name, OperatorId};

    use super::*;

    #[test]
    fn only_devices_of_the_site_may_connect() {
        let name = |text| Name::new(text).unwrap();
        let gateway = GatewayId { site: name("berlin"), name: name("g") };
        let device = |site| Identity::Device(DeviceId { site: name(site), name: name("d") });
        assert_eq!(refuse(&gateway, &device("berlin")), None);
        assert_eq!(refuse(&gateway, &device("lyon")), Some("wrong_site"));
        assert_eq!(refuse(&gateway, &Identity::Gateway(gateway.clone())), Some("wrong_role"));
        let refused =
            [Identity::Gateway(gateway.clone()), device("lyon")].map(|peer| refuse(&gateway, &peer));
        assert_eq!(refused, REFUSED_REASONS.map(Some));
        let operator = Identity::Operator(OperatorId { name: name("o") });
        assert_eq!(refuse(&gateway, &operator), Some("wrong_role"));
    }
}
