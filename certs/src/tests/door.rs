//! Before the handshake: one address waits for its rate, and another one is served meanwhile.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::support::{Echo, Pki, TIMEOUT, ping, until};
use crate::{AcceptConfig, ClientTls, HandshakeFailure, Role};

const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Connects from an address of this machine.
async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn secure(tls: &ClientTls, from: IpAddr, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let (name, connector) = (ServerName::from(to.ip()), TlsConnector::from(tls.config()));
    connector.connect(name, connect(from, to).await).await
}

async fn is_served(tls: &ClientTls, from: IpAddr, server: &Echo) {
    let served = async { ping(&mut secure(tls, from, server.addr).await.unwrap()).await.unwrap() };
    tokio::time::timeout(TIMEOUT, served).await.expect("it is served");
}

/// A server that makes `rate` handshakes a second with an address.
async fn server(pki: &Pki, rate: u32, handshakes_max: usize, handshake_timeout: Duration) -> Echo {
    let config = AcceptConfig {
        handshakes_max,
        handshake_timeout,
        handshake_rate_per_address: NonZeroU32::new(rate).unwrap(),
        ..AcceptConfig::default()
    };
    Echo::start(&pki.folder(Role::Gateway, "gw"), config).await
}

#[tokio::test]
async fn failed_handshakes_cost_more_and_only_their_address_waits() {
    let pki = Pki::new();
    // Four at once, of which a failed one takes more than all.
    let server = server(&pki, 1, 16, 30 * TIMEOUT).await;
    let mut junk = connect(CROWD, server.addr).await;
    junk.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(server.seen.failure().await.reason(), "tls");
    let tls = pki.client(Role::Device, "a");
    let delayed = is_served(&tls, CROWD, &server);
    let others = async {
        until("a connection waits", || server.seen.waiting_most.load(SeqCst) > 0).await;
        for _ in 0..3 {
            is_served(&tls, HONEST, &server).await;
        }
    };
    tokio::join!(delayed, others);
    assert!(server.seen.failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_connection_that_waits_in_vain_is_closed_and_counted() {
    let pki = Pki::new();
    let server = server(&pki, 1, 16, Duration::from_secs(3)).await;
    let mut crowd = Vec::new();
    for _ in 0..16 {
        crowd.push(connect(CROWD, server.addr).await);
    }
    is_served(&pki.client(Role::Device, "a"), HONEST, &server).await;
    let throttled = || server.seen.failures.lock().unwrap().contains(&HandshakeFailure::Throttled);
    until("one is refused", throttled).await;
}

#[tokio::test]
async fn one_address_leaves_handshake_slots_to_others() {
    let pki = Pki::new();
    let server = server(&pki, 1_000, 8, 30 * TIMEOUT).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(connect(CROWD, server.addr).await);
    }
    until("a handshake is evicted", || server.seen.failures.lock().unwrap().len() >= 30).await;
    assert_eq!(server.seen.handshakes_most.load(SeqCst), 6);
    is_served(&pki.client(Role::Device, "a"), HONEST, &server).await;
}

#[tokio::test]
async fn a_reconnect_storm_is_smoothed_and_served() {
    let pki = Pki::new();
    // 64 at once, then 16 a second.
    let server = Arc::new(server(&pki, 16, 64, TIMEOUT).await);
    let tls = pki.client(Role::Device, "a");
    let storm: Vec<_> = (0..120)
        .map(|_| {
            let (tls, server) = (tls.clone(), Arc::clone(&server));
            tokio::spawn(async move { is_served(&tls, CROWD, &server).await })
        })
        .collect();
    until("connections wait", || server.seen.waiting_most.load(SeqCst) > 0).await;
    is_served(&tls, HONEST, &server).await;
    for device in storm {
        device.await.unwrap();
    }
    assert!(server.seen.failures.lock().unwrap().is_empty());
}
