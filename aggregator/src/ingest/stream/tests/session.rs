//! Streams whose connection's session ends from outside.

use std::net::{Ipv4Addr, SocketAddr};

use catchment_certs::{EndReason, Identity, Peer, Serial, SessionGuard, SessionRegistry, TrustDomain};

use super::*;
use crate::clock;

fn session() -> SessionGuard {
    let peer = Peer {
        identity: Identity::Gateway(gateway("berlin", "g1")),
        trust_domain: TrustDomain::new("catchment.local").unwrap(),
        serial: Serial::random(),
        issuer: None,
        root: None,
        not_after: std::time::SystemTime::now(),
    };
    SessionRegistry::default().register(&peer, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
}

#[tokio::test]
async fn the_next_batch_of_a_revoked_gateway_is_neither_taken_nor_acknowledged() {
    let rig = rig(8);
    let session = session();
    let (mut stream, _) = rig.start_in(SessionEnd::of(&session), 0).await;
    stream.send(numbered(1)).await;
    assert_eq!(stream.ack().await, Some(1));
    // One is at the store, and two have not been read.
    let disk = rig.store.gate.write().await;
    stream.send(numbered(2)).await;
    stream.run_pending().await;
    session.end(EndReason::Revoked);
    stream.send(numbered(3)).await;
    stream.send(numbered(4)).await;
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (None, "revoked", Code::Unauthenticated));
    drop(disk);
    assert!(rig.store.rows() <= 2, "{}", rig.store.rows());
}

#[tokio::test]
async fn a_stream_that_is_only_too_old_ends_after_its_acknowledgements() {
    let rig = rig(8);
    let session = session();
    let (stream, _) = rig.start_in(SessionEnd::of(&session), 0).await;
    let disk = rig.store.gate.write().await;
    for number in 1..=3 {
        stream.send(numbered(number)).await;
    }
    stream.run_pending().await;
    session.end(EndReason::MaxAge);
    stream.run_pending().await;
    stream.send(numbered(4)).await;
    drop(disk);
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (Some(3), "connection_age", Code::Unavailable));
}

#[tokio::test]
async fn what_a_gateway_tells_of_certificates_is_taken_beside_its_batches() {
    let rig = rig(8);
    let (mut stream, _) = rig.start_in(SessionEnd::never(), 0).await;
    let device = |device: &str| wire::DeviceCertificate {
        device: device.to_owned(),
        expires_s: 2_000_000_000,
        session_began_s: clock::now_ms() / 1_000,
    };
    let devices = vec![device("press"), device("no name"), device("oven")];
    let told = wire::deliver_request::Kind::Certificates(wire::DeviceCertificates { devices });
    stream.send(message(told)).await;
    stream.send(numbered(1)).await;
    assert_eq!(stream.ack().await, Some(1), "the stream stays");
    let known = &rig.shared.streams.certificates;
    let of =
        |device| known.of_device(&gateway("berlin", "g1").site, &catchment_proto::Name::new(device).unwrap());
    assert_eq!(["press", "oven", "other"].map(of), [2_000_000_000, 2_000_000_000, 0]);
    let refused = "device_certificates_refused_total{reason=\"malformed\"} 1";
    assert!(rig.shared.metrics.encode().contains(refused), "{}", rig.shared.metrics.encode());
}
