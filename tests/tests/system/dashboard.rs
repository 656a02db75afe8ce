//! `catchment dashboard` over HTTP, and its page in headless Chromium.

use std::{path::Path, process::Command};

use catchment_tests::{
    connection::Protocol,
    device::Sample,
    model::{QueryRequest, labels},
    now_ms,
    process::{Process, run_to_end},
    world::World,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{HeaderMap, Request, body::Bytes, client::conn::http1::handshake, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::spawn_blocking};

const BROWSER: &str = "chromium-headless-shell";
/// The value of a label that would be code in a page that makes HTML of it.
const HOSTILE: &str = "<img src=x onerror=\"document.title='harmed'\">";

/// A gateway with a device that has sent a minute of readings, delivered; and a dashboard.
async fn started() -> (World, Process) {
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
fn link(dashboard: &Process) -> &str {
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
    let (_, fleet) = ask("/data/fleet").await;
    assert_eq!((&fleet["total"]["gateways"], &fleet["total"]["devices"]), (&1.into(), &1.into()), "{fleet}");
    let (_, devices) = ask("/data/devices?search=PRESS&sort=last_seen").await;
    assert_eq!(devices["rows"][0]["device"], "press-17", "{devices}");
    assert_eq!(ask("/data/devices?search=other").await.1["found"], 0);
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

/// Steps of `browser.py`: fragments, keys, and words that the page must then hold.
fn steps(dashboard: &Process, wide: u32, dark: bool) -> Value {
    let url = |fragment: &str| format!("http://{}/#{fragment}", dashboard.addr);
    let step = |url: Option<String>, keys: &[&str], words: &[&str]| {
        let mut step = json!({"width": wide, "dark": dark, "keys": keys, "words": words});
        if let Some(url) = url {
            step["url"] = url.into();
        }
        step
    };
    let explore = "explore?selector=temperature&by=room&from=now-10m&live=0";
    let drawn = ["· UTC", "band s0", "room=&lt;img src=x", "Last values", "· Catchment</title>"];
    let mut crosshair = step(None, &["ArrowLeft"], &["<p>At ", "class=\"chosen\""]);
    crosshair["focus"] = ".chart".into();
    json!([
        step(Some(link(dashboard).to_owned()), &[], &["gateways", "silent for 5 min", "Sites"]),
        step(None, &["g", "g"], &["Complete until", "berlin", "1–1 of 1"]),
        step(None, &["g", "d"], &["press-17", "1–1 of 1"]),
        step(None, &["/", "z", "z"], &["No device is found."]),
        step(Some(url("explore")), &[], &["Write a selector"]),
        step(Some(url("explore?selector=temprature")), &[], &["did you mean temperature?"]),
        step(Some(url(explore)), &[], &drawn),
        crosshair,
        step(None, &["?"], &["aria-labelledby=\"help-title\" open"]),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_shown_in_a_browser_and_a_hostile_label_is_text() {
    if Command::new(BROWSER).arg("--version").output().is_err() {
        eprintln!("left out: install {BROWSER} to test the page in a browser");
        return;
    }
    let (_world, dashboard) = started().await;
    for (wide, dark) in [(360, false), (1440, true)] {
        let steps = steps(&dashboard, wide, dark);
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/browser.py")).arg(BROWSER);
        let input = steps.to_string();
        let output = spawn_blocking(move || run_to_end(command, &input)).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let results: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let own = format!("http://{}/", dashboard.addr);
        for (step, result) in steps.as_array().unwrap().iter().zip(&results) {
            assert_eq!((&result["missing"], &result["errors"]), (&json!([]), &json!([])), "{step}: {result}");
            let html = result["html"].as_str().unwrap();
            assert!(!html.contains("<img") && !html.contains("<title>harmed"), "{html}");
            assert!(
                result["wide"].as_u64().unwrap() <= u64::from(wide),
                "{step} needs {} px",
                result["wide"]
            );
            let requests = result["requests"].as_array().unwrap().iter().filter_map(Value::as_str);
            let elsewhere: Vec<&str> = requests.filter(|url| !url.starts_with(&own)).collect();
            assert!(elsewhere.is_empty(), "{step}: {elsewhere:?}");
        }
        assert_eq!(results.len(), steps.as_array().unwrap().len());
    }
}
