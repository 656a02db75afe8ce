//! `catchment watch` continues across a restart of the aggregator, and ends at an invalid query.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use catchment_certs::Role;
use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::{eventually, wait_limit},
    process::command,
    this_second,
    world::World,
};

/// A program whose lines are collected while it runs; it ends with the test.
struct Running {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = command("catchment");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    fn lines(from: &Mutex<Vec<String>>) -> Vec<String> {
        from.lock().unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    lines
}

#[tokio::test]
async fn a_watch_continues_after_a_restart_of_the_aggregator() {
    let mut world = World::small().await;
    let from = this_second();
    let mut device = world.device(0, "press-1", Protocol::Json);
    device.send(&Sample::one(from, "temperature", 20.5)).await;
    device.settle().await;
    let (url, operator) = (format!("https://{}", world.aggregator.addr()), world.pki.operator());
    let query = [
        "watch",
        "temperature",
        "--from",
        "0",
        "--agg",
        "count",
        "--format",
        "csv",
        "--every",
        "50ms",
        "--aggregator",
        &url,
        "--identity",
        operator.to_str().unwrap(),
    ];
    let mut watch = Running::start(&query);
    let answered = |watch: &Running, count: usize| {
        let out = Arc::clone(&watch.out);
        async move {
            eventually("the watch answers", async || {
                let lines = Running::lines(&out);
                let good = lines.iter().filter(|line| line.ends_with(",1")).count();
                if good > count { Ok(good) } else { Err(format!("{lines:?}")) }
            })
            .await
        }
    };
    answered(&watch, 0).await;
    world.aggregator.stop().await;
    eventually("the watch reports the outage", async || {
        let said = Running::lines(&watch.err);
        if said.len() == 1 && said[0].contains("retrying") { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    assert!(watch.child.try_wait().unwrap().is_none(), "the watch has ended");
    let before = Running::lines(&watch.out).iter().filter(|line| line.ends_with(",1")).count();
    world.aggregator.start().await;
    answered(&watch, before).await;
    let said = Running::lines(&watch.err);
    assert!(said.len() == 2 && said[1].contains("answers again"), "{said:?}");
    drop(watch);

    // An invalid query ends it at once with status 2, a refused identity with its own status.
    let device = world.pki.device("berlin", "press-1");
    for (flag, value, status) in [("--agg", "average", 2), ("--identity", device.to_str().unwrap(), 1)] {
        let mut wrong = query;
        let at = wrong.iter().position(|word| *word == flag).unwrap();
        wrong[at + 1] = value;
        let mut wrong = Running::start(&wrong);
        let deadline = std::time::Instant::now() + wait_limit();
        let ended = loop {
            if let Some(ended) = wrong.child.try_wait().unwrap() {
                break ended;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the watch does not end: {:?}",
                Running::lines(&wrong.err)
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        assert_eq!(ended.code(), Some(status), "{:?}", Running::lines(&wrong.err));
    }
}

/// Counts of all points that lines of JSON told, the last one of each point.
fn counted(lines: &[String]) -> u64 {
    let mut points = std::collections::BTreeMap::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for series in line["series"].as_array().into_iter().flatten() {
            for point in series["points"].as_array().into_iter().flatten() {
                let name = (series["labels"].to_string(), point["t"].to_string());
                points.insert(name, point["count"].as_u64().unwrap());
            }
        }
    }
    points.values().sum()
}

#[tokio::test]
async fn a_watch_with_a_step_is_pushed_what_changes_also_after_a_restart() {
    let mut world = World::small().await;
    let from = this_second();
    let mut device = world.device(0, "press-1", Protocol::Json);
    let (url, operator) = (format!("https://{}", world.aggregator.addr()), world.pki.operator());
    let watch = Running::start(&[
        "watch",
        "temperature",
        "--last",
        "1h",
        "--step",
        "1s",
        "--by",
        "device",
        "--agg",
        "count",
        "--format",
        "json",
        // Far longer than the test: nothing here is polled.
        "--every",
        "1h",
        "--aggregator",
        &url,
        "--identity",
        operator.to_str().unwrap(),
    ]);
    let knows = |count: u64| {
        let out = Arc::clone(&watch.out);
        async move {
            eventually("the watch knows all readings", async || {
                let lines = Running::lines(&out);
                if counted(&lines) == count { Ok(()) } else { Err(format!("{lines:?}, wanted {count}")) }
            })
            .await;
        }
    };
    for number in 1..=3 {
        device.send(&Sample::one(from + number, "temperature", 20.5)).await;
        device.settle().await;
        knows(number as u64).await;
    }
    world.aggregator.stop().await;
    eventually("the watch reports the outage", async || {
        let said = Running::lines(&watch.err);
        if said.len() == 1 && said[0].contains("retrying") { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    device.send(&Sample::one(from + 4, "temperature", 20.5)).await;
    device.settle().await;
    world.aggregator.start().await;
    knows(4).await;
    let said = Running::lines(&watch.err);
    assert!(said.len() == 2 && said[1].contains("continues where it was"), "{said:?}");
    let lines = Running::lines(&watch.out);
    let resets = lines.iter().filter(|line| line.contains(r#""reset":"#)).count();
    assert_eq!(resets, 1, "{lines:?}");
}

/// A watch of a world's one series that has shown something.
async fn watching(world: &World) -> Running {
    let mut device = world.device(0, "press-1", Protocol::Json);
    device.send(&Sample::one(this_second(), "temperature", 20.5)).await;
    device.settle().await;
    let (url, operator) = (format!("https://{}", world.aggregator.addr()), world.pki.operator());
    let query = ["watch", "temperature", "--last", "1h", "--step", "1m", "--agg", "count", "--format", "csv"];
    let watch = Running::start(
        &[&query[..], &["--aggregator", &url, "--identity", operator.to_str().unwrap()]].concat(),
    );
    eventually("the watch answers", async || {
        let lines = Running::lines(&watch.out);
        if lines.iter().any(|line| line.ends_with(",1")) {
            Ok(())
        } else {
            Err(format!("{lines:?} {:?}", Running::lines(&watch.err)))
        }
    })
    .await;
    watch
}

#[tokio::test]
async fn a_watch_leaves_an_aggregator_that_is_revoked_and_says_why() {
    let world = World::small().await;
    let mut watch = watching(&world).await;
    world.pki.revoke(Role::Aggregator, "", "centre");
    assert!(watch.child.try_wait().unwrap().is_none(), "its own list does not name the aggregator");
    fs::copy(world.pki.dir().join("crl.pem"), world.pki.operator().join("crl.pem")).unwrap();
    let status = eventually("the watch ends", async || match watch.child.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err(format!("{:?}", Running::lines(&watch.err))),
    })
    .await;
    eventually("the reason", async || {
        let said = Running::lines(&watch.err);
        let is_said = said.iter().any(|line| line.contains("the peer's certificate is revoked"));
        if is_said { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_watch_of_an_aggregator_that_dies_says_so_in_plain_words() {
    let mut world = World::builder().processes().gateway("berlin", "gw").start().await;
    let watch = watching(&world).await;
    world.aggregator.kill();
    eventually("the watch reports the outage", async || {
        let said = Running::lines(&watch.err);
        if said.iter().any(|line| line.contains("retrying")) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    let said = Running::lines(&watch.err).concat();
    assert!(!said.contains("docs.rs") && !said.contains("close_notify"), "{said}");
}
