//! `vmalert` of Debian's victoria-metrics evaluates rules over mutual TLS, and sends what fires to an Alertmanager, which
//! is here a socket that keeps what arrives.

use std::{fs, process::Command, time::Duration};

use catchment_tests::{
    connection::Protocol, debian::Background, device::Sample, eventually::eventually, now_ms, world::World,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// Of the three rules one fires, one does not, and one is about windows.
const RULES: &str = r#"
groups:
  - name: presses
    interval: 1s
    rules:
      - alert: Hot
        expr: max by (site, device) (max_over_time(temperature[5m])) > 80
        labels:
          severity: page
        annotations:
          summary: "{{ $labels.device }} at {{ $labels.site }} has {{ $value }}"
      - alert: HotFleet
        expr: histogram_quantile(0.5, sum by (site) (sum_over_time(temperature:window[5m]))) > 50
      - alert: Cold
        expr: min_over_time(temperature[5m]) < 0
"#;

/// Answers requests with 200, and passes their bodies on.
async fn receive(mut stream: TcpStream, bodies: mpsc::Sender<String>) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            })?;
            (body.len() >= length).then(|| body[..length].to_owned())
        });
        if let Some(body) = whole {
            bytes.clear();
            let _ = bodies.send(body).await;
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                return;
            }
        } else if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

/// A socket for alerts.
async fn alertmanager() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (bodies, received) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(receive(stream, bodies.clone()));
        }
    });
    (url, received)
}

fn vmalert(world: &World, alertmanager: &str) -> Background {
    let (rules, identity) = (world.dir().join("rules.yml"), world.pki.operator());
    fs::write(&rules, RULES).unwrap();
    let mut command = Command::new("vmalert");
    command.arg(format!("-rule={}", rules.display()));
    command.arg(format!("-datasource.url=https://{}", world.aggregator.addr()));
    for (flag, file) in [("CA", "ca.pem"), ("Cert", "cert.pem"), ("Key", "key.pem")] {
        command.arg(format!("-datasource.tls{flag}File={}", identity.join(file).display()));
    }
    command.arg(format!("-notifier.url={alertmanager}")).arg("-httpListenAddr=127.0.0.1:0");
    Background::start(command, "victoria-metrics", &world.dir().join("vmalert.log"))
}

#[tokio::test]
async fn rules_of_vmalert_fire_over_mutual_tls() {
    let world = World::builder().gateway("berlin", "gw").processes().start().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let now = now_ms();
    for (after, value) in [(0, 20.0), (1_000, 91.5), (2_000, 85.0), (3_000, 86.0)] {
        device.send(&Sample::one(now - 20_000 + after, "temperature", value)).await;
    }
    device.settle().await;
    let (url, mut received) = alertmanager().await;
    let mut program = Some(vmalert(&world, &url));
    let mut fired: Vec<Value> = Vec::new();
    eventually("the alerts", async || {
        while let Ok(Some(body)) = timeout(Duration::from_millis(100), received.recv()).await {
            fired.extend(serde_json::from_str::<Vec<Value>>(&body).unwrap());
        }
        let has = |name| fired.iter().any(|alert| alert["labels"]["alertname"] == name);
        if has("Hot") && has("HotFleet") { Ok(()) } else { Err(program.as_ref().unwrap().log()) }
    })
    .await;
    let log = program.take().unwrap().log();
    assert!(!log.contains("failed to execute"), "{log}");
    let alert = |name| fired.iter().find(|alert| alert["labels"]["alertname"] == name);
    assert!(alert("Cold").is_none(), "{fired:?}");
    let hot = alert("Hot").unwrap();
    let labels = [("site", "berlin"), ("device", "press-1"), ("severity", "page")];
    assert!(labels.iter().all(|(name, value)| hot["labels"][name] == *value), "{hot}");
    assert_eq!(hot["annotations"]["summary"], "press-1 at berlin has 91.5", "{hot}");
}
