//! `catchment dashboard` over HTTP.

use catchment_certs::Role;
use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::eventually,
    model::{QueryRequest, labels},
    now_ms,
    process::Process,
    world::World,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Request, body::Bytes, client::conn::http1::handshake, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// The value of a label that would be code in a page that makes HTML of it.
pub(crate) const HOSTILE: &str = "<img src=x onerror=\"document.title='harmed'\">";

/// A gateway with a device that has sent a minute of readings, delivered; and a dashboard.
pub(crate) async fn started() -> (World, Process) {
    let world = World::builder().gateway("berlin", "gw").start().await;
    let mut device = world.device(0, "press-17", Protocol::Json);
    let start_ms = now_ms() - 120_000;
    for second in 0..60_u32 {
        let own = labels(&[("room", HOSTILE)]);
        let values = vec![("temperature".to_owned(), 20.0 + f64::from(second % 7))];
        device.send(&Sample { time_ms: start_ms + 1_000 * i64::from(second), labels: own, values }).await;
    }
    device.settle().await;
    let query = QueryRequest::new("temperature", start_ms, now_ms());
    world.complete(&query, start_ms + 60_000).await;
    let url = format!("https://{}", world.aggregator.addr());
    let operator = world.pki.operator();
    let arguments = ["dashboard", "--aggregator", &url, "--identity", operator.to_str().unwrap()];
    let dashboard = Process::start_with("catchment", &arguments, &world.dir().join("dashboard.log"));
    (world, dashboard)
}

/// The link that a dashboard printed.
pub(crate) fn link(dashboard: &Process) -> &str {
    dashboard.line.strip_prefix("dashboard ").unwrap()
}

async fn get(dashboard: &Process, target: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let stream = TcpStream::connect(dashboard.addr).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let running = tokio::spawn(connection);
    let start = Request::get(target).header(header::HOST, dashboard.addr.to_string());
    let request = headers.iter().fold(start, |request, (name, value)| request.header(*name, *value));
    let (head, body) =
        sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    let _ = running.await;
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_opens_the_page_its_lists_charts_and_the_api() {
    let (mut world, dashboard) = started().await;
    for path in ["/", "/app.js", "/data/fleet", "/api/v1/labels", "/?token=0"] {
        let (status, headers, body) = get(&dashboard, path, &[]).await;
        assert_eq!(status, 403, "{path}");
        assert!(body.contains("token"), "{body}");
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none';"));
    }
    let path = link(&dashboard).split_once(&dashboard.addr.to_string()).unwrap().1;
    let (status, headers, body) = get(&dashboard, path, &[]).await;
    assert_eq!((status, headers["location"].to_str().unwrap(), body.as_str()), (303, "/", ""));
    let set = headers["set-cookie"].to_str().unwrap();
    assert!(set.contains("HttpOnly; SameSite=Strict"), "{set}");
    let cookie = set.split(';').next().unwrap();

    let (status, headers, page) = get(&dashboard, "/", &[("Cookie", cookie)]).await;
    assert_eq!((status, headers["x-content-type-options"].to_str().unwrap()), (200, "nosniff"));
    assert!(page.contains("/app.js") && !page.contains(path.split('=').nth(1).unwrap()), "{page}");
    let ask = async |target: &str| -> (u16, Value) {
        let (status, _, body) = get(&dashboard, target, &[("Cookie", cookie)]).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    let (status, headers, packed) =
        get(&dashboard, "/app.js", &[("Cookie", cookie), ("Accept-Encoding", "gzip")]).await;
    assert_eq!((status, headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
    assert!(!packed.contains("import"), "{packed}");
    let (_, fleet) = ask("/data/fleet").await;
    assert_eq!((&fleet["total"]["gateways"], &fleet["total"]["devices"]), (&1.into(), &1.into()), "{fleet}");
    let (_, devices) = ask("/data/devices?search=PRESS&sort=last_seen").await;
    assert_eq!(devices["rows"][0]["device"], "press-17", "{devices}");
    assert_eq!(ask("/data/devices?search=other").await.1["found"], 0);
    assert_eq!(ask("/data/devices?silent_only=1").await.1["total"], 1);
    assert_eq!(ask("/data/devices?sort=colour").await.0, 400);
    assert_eq!(ask("/data/gateways").await.1["rows"][0]["connected"], true);
    let (_, chart) = ask("/data/explore?selector=temperature&by=room&agg=count,max&from=now-10m").await;
    assert_eq!((&chart["step"], &chart["series"][0]["labels"]["room"]), (&"1s".into(), &HOSTILE.into()));
    let values = chart["series"][0]["columns"][0].as_array().unwrap();
    assert_eq!(values.iter().filter_map(Value::as_f64).sum::<f64>(), 60.0);
    let (_, nothing) = ask("/data/explore?selector=temprature").await;
    assert!(nothing["nothing"].as_str().unwrap().contains("did you mean temperature?"), "{nothing}");
    for (query, word) in [("selector=%7B", ""), ("selector=x&from=now-1d&step=1s", "2,000")] {
        let (status, answer) = ask(&format!("/data/explore?{query}")).await;
        assert_eq!((status, &answer["kind"]), (400, &"refused".into()), "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "{answer}");
    }
    assert_eq!(ask("/api/v1/label/__name__/values").await.1["data"][0], "temperature");
    let token = format!("Bearer {}", path.split('=').nth(1).unwrap());
    assert_eq!(get(&dashboard, "/api/v1/labels", &[("Authorization", &token)]).await.0, 200);

    world.aggregator.stop().await;
    let (status, away) = ask("/data/explore?selector=temperature").await;
    assert_eq!((status, &away["kind"]), (502, &"disconnected".into()), "{away}");
    assert!(dashboard.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_revoked_reads_so() {
    let (world, dashboard) = started().await;
    let token = format!("Bearer {}", link(&dashboard).split('=').nth(1).unwrap());
    let ask = async |target: &str| get(&dashboard, target, &[("Authorization", &token)]).await;
    assert_eq!(ask("/data/fleet").await.0, 200);
    assert_eq!(ask("/api/v1/labels").await.0, 200);
    world.pki.revoke(Role::Operator, "", "ada");
    for (target, word) in [("/data/fleet", "\"kind\":\"refused\""), ("/api/v1/labels", "forbidden")] {
        eventually("the refusal", async || {
            let (status, _, body) = ask(target).await;
            let is_said = body.contains("revoked") && body.contains("have a new one issued");
            if (status, is_said, body.contains(word)) == (403, true, true) {
                Ok(())
            } else {
                Err(format!("{status} {body}"))
            }
        })
        .await;
    }
}
