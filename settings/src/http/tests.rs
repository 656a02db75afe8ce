use std::{collections::BTreeMap, sync::Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::Instant,
};

use super::*;

/// Maximum wait for an event that should happen at once.
const TIMEOUT: Duration = Duration::from_secs(30);

type Closed = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// A running endpoint, and its counts of closed connections.
async fn start(bounds: Bounds) -> (SocketAddr, Closed, tokio::task::JoinHandle<()>) {
    let server = HttpServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap().within(bounds);
    let address = server.local_addr().unwrap();
    let closed = Closed::default();
    let count = Arc::clone(&closed);
    let endpoints = Endpoints {
        metrics: Arc::new(|| format!("# {}\ncatchment_up 1\n# EOF\n", "x".repeat(64 << 10))),
        healthy: Arc::new(|| Ok(())),
        ready: Arc::new(|| Err("still reading the journal".to_owned())),
        closed: Arc::new(move |reason| *count.lock().unwrap().entry(reason).or_default() += 1),
    };
    (address, closed, tokio::spawn(server.run(endpoints, std::future::pending())))
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::time::timeout(TIMEOUT, exchange).await.expect("an answer")
}

/// Waits for the end of a connection, orderly or not.
async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    let _ = tokio::time::timeout(TIMEOUT, end).await.expect("the connection ends");
}

#[tokio::test]
async fn metrics_and_probes_answer() {
    let (address, closed, running) = start(Bounds::default()).await;
    let metrics = ask(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("catchment_up 1"), "{metrics}");
    assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let ready = ask(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("journal"), "{ready}");
    assert!(ask(address, "/else").await.starts_with("HTTP/1.1 404"));
    // Several requests over one connection.
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
    }
    assert!(closed.lock().unwrap().is_empty(), "{closed:?}");
    running.abort();
}

#[tokio::test]
async fn silent_and_slow_connections_keep_no_probe_out() {
    // Longer than the test: no connection ends by its deadline.
    let bounds = Bounds { timeout: 100 * TIMEOUT, ..Bounds::default() };
    let (address, closed, running) = start(bounds).await;
    let mut held = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HT").await.unwrap();
        }
        held.push(stream);
    }
    // Connections that request more than they read.
    for _ in 0..40 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    for path in ["/healthz", "/metrics", "/healthz"] {
        assert!(ask(address, path).await.starts_with("HTTP/1.1 200"));
    }
    assert!(closed.lock().unwrap()["gave_way"] >= 200);
    running.abort();
}

#[tokio::test]
async fn requests_and_responses_have_a_deadline() {
    let bounds = Bounds { timeout: Duration::from_millis(300), ..Bounds::default() };
    let (address, closed, running) = start(bounds).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    ended(&mut silent).await;
    // A byte now and then does not help.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let trickle = async {
        while slow.write_all(b"G").await.is_ok() {
            assert!(begun.elapsed() < TIMEOUT, "it is still open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    trickle.await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(300);
    deaf.write_all(request.as_bytes()).await.unwrap();
    let told = async {
        while closed.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, told).await.expect("both reasons are counted");
    assert_eq!(closed.lock().unwrap()["request_timeout"], 2);
    assert_eq!(closed.lock().unwrap()["answer_timeout"], 1);
    running.abort();
}

#[tokio::test]
async fn the_size_of_a_request_is_bounded() {
    let (address, closed, running) = start(Bounds::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let _ = stream.write_all(head.as_bytes()).await;
    ended(&mut stream).await;
    assert_eq!(closed.lock().unwrap()["request_too_long"], 1);
    running.abort();
}
