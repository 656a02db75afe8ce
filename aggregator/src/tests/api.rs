//! Prometheus' API: over HTTP/1.1 and HTTP/2, with bounds and roles.

use std::time::Duration;

use catchment_certs::{
    ClientTls, Identity, IdentityFolder, Role,
    channel::{ALPN_GRPC, ALPN_HTTP1},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tower::ServiceExt as _;

use super::rig::{Running, TIMEOUT, World, device, operator, query_request, run_query, site_gateway};

async fn connect(
    world: &World,
    running: &Running,
    identity: &Identity,
    alpn: &[&[u8]],
) -> TlsStream<TcpStream> {
    let folder = IdentityFolder::load(&world.identity(identity)).unwrap();
    let tls = ClientTls::new(&folder, alpn).unwrap();
    tls.connect("127.0.0.1", running.addr.port(), Role::Aggregator, TIMEOUT).await.unwrap().0
}

/// Sends a request over HTTP/1.1 and returns the answer to the end of the connection.
async fn exchange(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    let exchange = async {
        // Fails if the aggregator answers before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    tokio::time::timeout(TIMEOUT, exchange).await.expect("an answer")
}

/// Status and JSON of an answer.
async fn ask(world: &World, running: &Running, identity: &Identity, head: &str, body: &str) -> (u16, Value) {
    let mut stream = connect(world, running, identity, &[ALPN_HTTP1]).await;
    let length = body.len();
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = exchange(&mut stream, &request).await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains("content-type: application/json"), "{head}");
    (status.unwrap(), serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
}

async fn get(world: &World, running: &Running, path: &str) -> (u16, Value) {
    ask(world, running, &operator(), &format!("GET {path} HTTP/1.1"), "").await
}

#[tokio::test]
async fn fixed_answers_over_http1() {
    let world = World::new();
    let running = world.start().await;
    let (status, info) = get(&world, &running, "/api/v1/status/buildinfo").await;
    assert_eq!(
        (status, &info["status"], &info["data"]["application"]),
        (200, &json!("success"), &json!("Catchment"))
    );
    for (path, data) in [
        ("rules", json!({"groups": []})),
        ("alerts", json!({"alerts": []})),
        ("query_exemplars?query=m&start=0&end=1", json!([])),
    ] {
        let answer = get(&world, &running, &format!("/api/v1/{path}")).await;
        assert_eq!(answer, (200, json!({"status": "success", "data": data})), "{path}");
    }
    running.until_metric(r#"api_requests_total{endpoint="buildinfo",status="200"} 1"#).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn wrong_requests_are_refused_in_json() {
    let world = World::new();
    let running = world.start().await;
    for (path, status, kind, word) in [
        ("query", 400, "bad_data", "query"),
        ("query?query=(", 400, "bad_data", "query"),
        ("query?query=1&time=x", 400, "bad_data", "timestamp"),
        ("query_range?query=1&start=0&end=1", 400, "bad_data", "step"),
        ("query_range?query=1&start=0&end=1&step=0", 400, "bad_data", "1ms"),
        ("series", 400, "bad_data", "no match[] parameter"),
        ("label/a-b/values", 400, "bad_data", "invalid label name"),
        ("status/config", 404, "not_found", "status/config"),
        ("write", 404, "not_found", "write"),
        ("../../metrics", 404, "not_found", "metrics"),
        ("", 404, "not_found", "/api/v1/"),
    ] {
        let (found, answer) = get(&world, &running, &format!("/api/v1/{path}")).await;
        assert_eq!((found, &answer["status"], &answer["errorType"]), (status, &json!("error"), &json!(kind)));
        assert!(answer["error"].as_str().unwrap().contains(word), "{path}: {answer}");
    }
    for head in
        ["DELETE /api/v1/series HTTP/1.1", "POST /api/v1/rules HTTP/1.1", "PUT /api/v1/query HTTP/1.1"]
    {
        assert_eq!(ask(&world, &running, &operator(), head, "").await.0, 405, "{head}");
    }
    let form = "POST /api/v1/query HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    let (status, answer) = ask(&world, &running, &operator(), form, "query=1&time=never").await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("never"), "{answer}");
    let (status, answer) = ask(&world, &running, &operator(), form, &"x".repeat(65 << 10)).await;
    assert_eq!(status, 413, "{answer}");
    let text = "POST /api/v1/query HTTP/1.1\r\nContent-Type: text/plain";
    assert_eq!(ask(&world, &running, &operator(), text, "query=1").await.0, 400);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn only_operators_may_ask() {
    let world = World::new();
    let running = world.start().await;
    for identity in [device(), site_gateway("berlin")] {
        let answer = ask(&world, &running, &identity, "GET /api/v1/rules HTTP/1.1", "").await;
        assert_eq!((answer.0, &answer.1["errorType"]), (403, &json!("forbidden")));
        assert!(answer.1["error"].as_str().unwrap().contains(&identity.to_string()), "{}", answer.1);
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn both_protocols_share_the_port() {
    let world = World::new();
    let running = world.start().await;
    let channel = world.channel(running.addr, &operator());
    let request = http::Request::get("/api/v1/rules").body(tonic::body::Body::empty()).unwrap();
    let answer = channel.oneshot(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"status":"success","data":{"groups":[]}}"#);
    // HTTP/2 is preferred.
    let both = connect(&world, &running, &operator(), &[ALPN_HTTP1, ALPN_GRPC]).await;
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(ALPN_GRPC));
    // A client that does not say which protocol it speaks.
    let mut neither = connect(&world, &running, &operator(), &[]).await;
    let request = "GET /api/v1/rules HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(&mut neither, request).await.starts_with("HTTP/1.1 200"));
    run_query(&mut world.query(running.addr), query_request("m")).await.unwrap();
    // Other paths are refused in the terms of their protocol.
    let channel = world.channel(running.addr, &operator());
    let other = || http::Request::post("/catchment.v1.Unknown/Method");
    let grpc = other().header("content-type", "application/grpc").body(tonic::body::Body::empty());
    let answer = channel.clone().oneshot(grpc.unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["grpc-status"].as_bytes()), (200, &b"12"[..]));
    let plain = channel.oneshot(other().body(tonic::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(plain.status(), http::StatusCode::NOT_FOUND);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn slow_and_endless_requests_end() {
    let world = World::new();
    let mut config = world.config();
    config.first_request_timeout = Duration::from_millis(300);
    let running = Running::new(crate::bind(config).await.unwrap());
    // The body never comes.
    let mut slow = connect(&world, &running, &operator(), &[ALPN_HTTP1]).await;
    let head = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nq";
    let answer = exchange(&mut slow, head).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("did not come in time"), "{answer}");
    // Nor does the head end.
    let mut endless = connect(&world, &running, &operator(), &[ALPN_HTTP1]).await;
    exchange(&mut endless, "GET /api/v1/rules HTTP/1.1\r\nHost: x\r\n").await;
    running.until_counted(r#"connections_ended_total{reason="first_request_timeout"}"#).await;
    let mut long = connect(&world, &running, &operator(), &[ALPN_HTTP1]).await;
    let head = format!("GET /api/v1/query?query={} HTTP/1.1\r\n", "x".repeat(1 << 20));
    let answer = exchange(&mut long, &head).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    running.stop().await.unwrap();
}
