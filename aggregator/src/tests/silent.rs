//! Peers with valid certificates that send no request: they do not block operators, and their connections end.

use std::time::Duration;

use catchment_certs::{ClientTls, Identity, IdentityFolder, Role, channel::ALPN_GRPC};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::rig::{Delivery, Running, TIMEOUT, World, query_request, run_query, site_gateway};
use crate::testing::{batch, key};

/// Preface and settings of HTTP/2.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn connect(world: &World, running: &Running, identity: &Identity) -> TlsStream<TcpStream> {
    let folder = IdentityFolder::load(&world.identity(identity)).unwrap();
    let tls = ClientTls::new(&folder, &[ALPN_GRPC]).unwrap();
    tls.connect("127.0.0.1", running.addr.port(), Role::Aggregator, TIMEOUT).await.unwrap().0
}

async fn start(world: &World, change: impl FnOnce(&mut crate::Config)) -> Running {
    let mut config = world.config();
    change(&mut config);
    Running::new(crate::bind(config).await.unwrap())
}

/// Waits for the end of a connection, clean or not.
async fn ended(stream: &mut TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    let _ = tokio::time::timeout(TIMEOUT, end).await.expect("the connection ends");
}

#[tokio::test]
async fn silent_connections_keep_no_operator_out() {
    let world = World::new();
    let running = start(&world, |config| {
        config.accept.connections_max = 6;
        config.accept.handshakes_max = 4;
        config.accept.handshake_timeout = 100 * TIMEOUT;
        config.first_request_timeout = 100 * TIMEOUT;
    })
    .await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let mut held = Vec::new();
    let mut raw = Vec::new();
    for number in 0..8 {
        // Nothing, part of the preface, all of it: none of them sends a request.
        let mut stream = connect(&world, &running, &site_gateway("lyon")).await;
        stream.write_all(&OPENING[..[0, 5, OPENING.len()][number % 3]]).await.unwrap();
        stream.flush().await.unwrap();
        held.push(stream);
        raw.push(TcpStream::connect(running.addr).await.unwrap());
    }
    run_query(&mut world.query(running.addr), query_request("m")).await.unwrap();
    running.until_counted(r#"connections_ended_total{reason="gave_way"}"#).await;
    // A peer that has sent a request keeps its slot.
    delivery.send(&batch(1, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000)).await;
    delivery.until(1).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_without_requests_ends() {
    let world = World::new();
    let running = start(&world, |config| {
        config.first_request_timeout = Duration::from_millis(300);
        config.idle_timeout = Duration::from_millis(600);
    })
    .await;
    for opening in [&b""[..], b"PRI", OPENING] {
        let mut stream = connect(&world, &running, &site_gateway("lyon")).await;
        stream.write_all(opening).await.unwrap();
        stream.flush().await.unwrap();
        ended(&mut stream).await;
    }
    running.until_metric(r#"connections_ended_total{reason="first_request_timeout"} 3"#).await;
    // An open stream is not idle, however quiet.
    let mut quiet = Delivery::start(world.channel(running.addr, &site_gateway("berlin")), 1).await.unwrap();
    let mut operator = world.query(running.addr);
    run_query(&mut operator, query_request("m")).await.unwrap();
    running.until_metric(r#"connections_ended_total{reason="idle_timeout"} 1"#).await;
    quiet.send(&batch(1, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000)).await;
    quiet.until(1).await.unwrap();
    running.stop().await.unwrap();
}
