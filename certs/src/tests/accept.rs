//! The accept loop: no peer delays another, capacity is respected, connections move between runtimes.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use super::support::{Echo, Pki, Seen, TIMEOUT, echo, ping, until};
use crate::{AcceptConfig, Accepted, HandshakeFailure, Role, ServerTls, TlsFailure, accept_loop};

#[tokio::test]
async fn stalled_handshakes_delay_no_other_peer() {
    let pki = Pki::new();
    // Longer than the test: a peer that had to wait for a stalled handshake would make it fail.
    let config =
        AcceptConfig { connections_max: 16, handshake_timeout: 30 * TIMEOUT, ..AcceptConfig::default() };
    let server = Echo::start(&pki.folder(Role::Gateway, "gw"), config).await;
    let mut stalled = Vec::new();
    for _ in 0..5 {
        stalled.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let tls = pki.client(Role::Device, "a");
    let (mut stream, _) = tls.connect("127.0.0.1", server.addr.port(), Role::Gateway, TIMEOUT).await.unwrap();
    ping(&mut stream).await.unwrap();
    assert!(server.seen.failures.lock().unwrap().is_empty());
}

#[tokio::test]
async fn handshakes_have_separate_slots_and_stalled_ones_are_evicted() {
    use tokio::io::AsyncWriteExt as _;
    let pki = Pki::new();
    let config = AcceptConfig {
        connections_max: 1,
        handshakes_max: 4,
        handshake_timeout: 30 * TIMEOUT,
        ..AcceptConfig::default()
    };
    let server = Echo::start(&pki.folder(Role::Gateway, "gw"), config).await;
    let mut stalled = Vec::new();
    for number in 0..24 {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        if number % 2 == 0 {
            // The header of a handshake record, and its first bytes.
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        stalled.push(stream);
    }
    let tls = pki.client(Role::Device, "a");
    let port = server.addr.port();
    let (mut stream, _) = tls.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap();
    ping(&mut stream).await.unwrap();
    assert_eq!(server.seen.failure().await, HandshakeFailure::Evicted);
}

#[tokio::test]
async fn connections_that_sent_nothing_are_evicted() {
    let pki = Pki::new();
    let config = AcceptConfig { connections_max: 3, handshake_timeout: TIMEOUT, ..AcceptConfig::default() };
    let mut server = Echo::start(&pki.folder(Role::Gateway, "gw"), config).await;
    let (tls, port) = (pki.client(Role::Device, "a"), server.addr.port());
    let connect = async || tls.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap().0;
    let mut busy = connect().await;
    ping(&mut busy).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect().await);
        // It is served, so it has its slot.
        server.peers.recv().await.unwrap();
    }
    let mut last = connect().await;
    ping(&mut last).await.unwrap();
    ping(&mut busy).await.unwrap();
    let ended = ping(&mut silent[0]).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn connections_per_address_are_bounded() {
    let pki = Pki::new();
    let config = AcceptConfig {
        connections_per_address_max: 1,
        handshake_timeout: TIMEOUT,
        ..AcceptConfig::default()
    };
    let server = Echo::start(&pki.folder(Role::Gateway, "gw"), config).await;
    let (tls, port) = (pki.client(Role::Device, "a"), server.addr.port());
    let (mut first, _) = tls.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap();
    ping(&mut first).await.unwrap();
    let _second = tls.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await;
    assert_eq!(server.seen.failure().await, HandshakeFailure::Address);
    ping(&mut first).await.unwrap();
}

#[tokio::test]
async fn a_stalled_handshake_ends_by_its_deadline() {
    let pki = Pki::new();
    let config = AcceptConfig {
        connections_max: 16,
        handshake_timeout: Duration::from_millis(100),
        ..AcceptConfig::default()
    };
    let server = Echo::start(&pki.folder(Role::Gateway, "gw"), config).await;
    let _stalled = TcpStream::connect(server.addr).await.unwrap();
    assert_eq!(server.seen.failure().await, HandshakeFailure::Timeout);
}

#[tokio::test]
async fn protocols_other_than_tls_are_refused_and_counted() {
    use tokio::io::AsyncWriteExt as _;
    let pki = Pki::new();
    let server = Echo::of(&pki).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(server.seen.failure().await, HandshakeFailure::Tls(TlsFailure::Other(_))));
    drop(TcpStream::connect(server.addr).await.unwrap());
    assert_eq!(server.seen.failure().await.reason(), "closed");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_slot() {
    let pki = Pki::new();
    let config = AcceptConfig { connections_max: 1, handshake_timeout: TIMEOUT, ..AcceptConfig::default() };
    let mut server = Echo::start(&pki.folder(Role::Gateway, "gw"), config).await;
    let (first, second) = (pki.client(Role::Device, "first"), pki.client(Role::Device, "second"));
    let port = server.addr.port();
    let (mut stream, _) = first.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap();
    ping(&mut stream).await.unwrap();
    until("the bound is reached", || server.seen.at_capacity.load(Ordering::SeqCst) == 1).await;
    let waiting = tokio::spawn(async move {
        let (mut stream, _) = second.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap();
        ping(&mut stream).await.unwrap();
    });
    ping(&mut stream).await.unwrap();
    assert!(!waiting.is_finished());
    assert_eq!(server.seen.has_room.load(Ordering::SeqCst), 0);
    drop(stream);
    waiting.await.unwrap();
    assert!(server.seen.has_room.load(Ordering::SeqCst) >= 1);
    for name in ["first", "second"] {
        assert_eq!(server.peers.recv().await.unwrap().identity.name().as_str(), name);
    }
}

#[tokio::test]
async fn shutdown_aborts_handshakes_and_leaves_connections_alone() {
    let pki = Pki::new();
    let tls = ServerTls::new(&pki.folder(Role::Gateway, "gw"), &[]).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let config = AcceptConfig { connections_max: 16, handshake_timeout: TIMEOUT, ..AcceptConfig::default() };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let task = tokio::spawn(accept_loop(
        listener,
        tls,
        config,
        Default::default(),
        Arc::new(Seen::default()),
        shutdown,
        echo,
    ));
    let client = pki.client(Role::Device, "a");
    let (mut served, _) = client.connect("127.0.0.1", addr.port(), Role::Gateway, TIMEOUT).await.unwrap();
    ping(&mut served).await.unwrap();
    let mut stalled = TcpStream::connect(addr).await.unwrap();
    // The stalled connection may or may not have been accepted by now.
    stop.send(()).unwrap();
    tokio::time::timeout(TIMEOUT, task).await.unwrap().unwrap();
    ping(&mut served).await.unwrap();
    let read = tokio::time::timeout(TIMEOUT, tokio::io::AsyncReadExt::read(&mut stalled, &mut [0])).await;
    // Closed in order, or reset because it was never accepted.
    assert!(matches!(read.expect("the stalled handshake continues"), Ok(0) | Err(_)));
    assert!(TcpStream::connect(addr).await.is_err());
}

/// The accepting runtime is dropped before the connection is used: only a moved stream survives that.
#[test]
fn a_connection_moves_to_another_runtime() {
    for moved in [true, false] {
        let pki = Pki::new();
        let tls = ServerTls::new(&pki.folder(Role::Gateway, "gw"), &[]).unwrap();
        let client = pki.client(Role::Device, "a");
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (accepting, serving, calling) = (runtime(), runtime(), runtime());

        let listener = accepting.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, mut receiver) = mpsc::channel::<Accepted>(1);
        let config =
            AcceptConfig { connections_max: 16, handshake_timeout: TIMEOUT, ..AcceptConfig::default() };
        let serve = move |accepted| {
            let sender = sender.clone();
            async move { sender.send(accepted).await.unwrap() }
        };
        let caller = std::thread::spawn(move || {
            calling.block_on(async {
                let (mut stream, _) =
                    client.connect("127.0.0.1", port, Role::Gateway, TIMEOUT).await.unwrap();
                ping(&mut stream).await
            })
        });
        let mut accepted = accepting.block_on(async {
            let forever = std::future::pending();
            tokio::spawn(accept_loop(
                listener,
                tls,
                config,
                Default::default(),
                Arc::new(Seen::default()),
                forever,
                serve,
            ));
            tokio::time::timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap()
        });
        if moved {
            serving.block_on(async { accepted.rebind().unwrap() });
        }
        drop(accepting);
        serving.block_on(echo(accepted));
        let result: io::Result<()> = caller.join().unwrap();
        assert_eq!(result.is_ok(), moved, "{result:?}");
    }
}
