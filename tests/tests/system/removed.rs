//! A data folder that is removed, renamed or replaced under its running server: nothing more is acknowledged into it,
//! the server ends with status 1 and claims nothing, and remaining readings count exactly once.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    device::{Device, Sample},
    eventually::within,
    model::QueryRequest,
    process::Process,
    server::Server,
    this_second,
    world::World,
};
use serde_json::json;
use tokio::task::JoinHandle;

async fn world() -> World {
    World::builder().gateway("berlin", "gw").processes().start().await
}

/// Waits for the end of a server's process; returns its exit status and its log.
async fn ends(process: Process, log: &Path) -> (Option<i32>, String) {
    let status = tokio::task::spawn_blocking(|| process.wait()).await.unwrap();
    (status.code(), fs::read_to_string(log).unwrap())
}

fn log_of(server: &mut Server) -> std::path::PathBuf {
    server.config_file().with_extension("log")
}

/// Devices that send until they are stopped, each message with its own time.
struct Load {
    stop: Arc<AtomicBool>,
    devices: Vec<JoinHandle<Device>>,
    acknowledged: Vec<Arc<std::sync::atomic::AtomicU64>>,
    from: i64,
}

impl Load {
    fn start(world: &World) -> Self {
        let (stop, from) = (Arc::new(AtomicBool::new(false)), this_second() - 5000);
        let (mut devices, mut acknowledged) = (Vec::new(), Vec::new());
        for (number, protocol) in [Protocol::Json, Protocol::Frames].into_iter().enumerate() {
            let mut device = world.device(0, &format!("press-{number}"), protocol);
            acknowledged.push(device.acknowledged());
            let stop = Arc::clone(&stop);
            devices.push(tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::SeqCst) {
                    device.send(&Sample::one(from + sent % 4000, "temperature", (sent % 64) as f64)).await;
                    sent += 1;
                }
                device.settle().await;
                device
            }));
        }
        Self { stop, devices, acknowledged, from }
    }

    async fn gets_on(&self, more: u64) {
        let count = || self.acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let before = count();
        catchment_tests::eventually::eventually("devices make progress", async || {
            let least = count().iter().zip(&before).map(|(now, before)| now - before).min().unwrap();
            if least >= more { Ok(()) } else { Err(format!("{least} of {more} are acknowledged")) }
        })
        .await;
    }

    async fn ends_well(self, world: &World) {
        self.stop.store(true, Ordering::SeqCst);
        for device in self.devices {
            let device = device.await.unwrap();
            assert!(device.refused().is_empty(), "{:?}", device.refused());
        }
        let all = QueryRequest::new("temperature", self.from, self.from + 6000);
        world.agrees(&[all.clone().step(1000).by(&["device"]), all]).await;
    }
}

#[tokio::test]
async fn a_gateway_whose_folder_is_removed_acknowledges_nothing_more() {
    let mut world = world().await;
    let identity = world.pki.device("berlin", "press-1");
    let mut line =
        Connection::open(world.gateway_addr(), Credentials::of(&identity), Protocol::Json).await.unwrap();
    line.line(r#"{"ts":1700000000000,"values":{"m":1}}"#).await.unwrap();
    assert_eq!(within("the first ack", line.answer()).await.unwrap(), Some(json!({"ack": 1})));
    let server = &mut world.gateways[0].server;
    let (log, data) = (log_of(server), server.data());
    let process = server.take_process();
    fs::remove_dir_all(&data).unwrap();
    // Sent after the removal: no acknowledgement may arrive, only the end.
    let _ = line.line(r#"{"ts":1700000000001,"values":{"m":2}}"#).await;
    let answer = within("the end of the connection", line.answer()).await;
    assert!(!matches!(&answer, Ok(Some(answer)) if answer.get("ack").is_some()), "{answer:?}");
    let (status, log) = ends(process, &log).await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("removed") && log.contains("nothing more is acknowledged"), "{log}");
    assert!(!log.contains("stay durable") && !data.exists(), "{log}");
}

/// Nothing arrives, and it is stopped before it could notice: it still claims nothing.
#[tokio::test]
async fn a_gateway_stopped_without_its_folder_claims_nothing() {
    let mut world = world().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    world.aggregator.stop().await;
    device.send(&Sample::one(this_second() - 3000, "temperature", 1.0)).await;
    device.settle().await;
    drop(device);
    let server = &mut world.gateways[0].server;
    let (log, data) = (log_of(server), server.data());
    let process = server.take_process();
    fs::remove_dir_all(&data).unwrap();
    process.signal();
    let (status, log) = ends(process, &log).await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("removed") && !log.contains("stay durable"), "{log}");
}

#[tokio::test]
async fn idle_servers_notice_that_their_folders_are_removed() {
    let mut world = world().await;
    for gateway in [true, false] {
        let server = if gateway { &mut world.gateways[0].server } else { &mut world.aggregator };
        let (log, data) = (log_of(server), server.data());
        let process = server.take_process();
        fs::remove_dir_all(&data).unwrap();
        let (status, log) = ends(process, &log).await;
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains("removed or moved while in use"), "{log}");
    }
}

/// Readings acknowledged before the server notices are durable in the moved folder.
#[tokio::test]
async fn a_renamed_or_replaced_folder_ends_its_server() {
    let mut world = world().await;
    let load = Load::start(&world);
    for gateway in [true, false, true, false] {
        load.gets_on(100).await;
        let server = if gateway { &mut world.gateways[0].server } else { &mut world.aggregator };
        let (log, data) = (log_of(server), server.data());
        let process = server.take_process();
        let moved = data.with_extension("moved");
        fs::rename(&data, &moved).unwrap();
        let (status, log) = ends(process, &log).await;
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains("while in use"), "{log}");
        assert!(!log.contains("stay durable"), "{log}");
        let _ = fs::remove_dir_all(&data);
        fs::rename(&moved, &data).unwrap();
        server.start().await;
    }
    load.gets_on(100).await;
    load.ends_well(&world).await;
}

/// The gateway keeps partials that the aggregator did not acknowledge.
#[tokio::test]
async fn an_aggregator_whose_folder_is_removed_acknowledges_nothing_more() {
    let mut world = world().await;
    let from = this_second() - 5000;
    let mut device = world.device(0, "press-1", Protocol::Json);
    // Frozen, so that nothing is delivered before the folder is removed.
    world.aggregator.link.freeze();
    device.send(&Sample::one(from, "temperature", 1.0)).await;
    device.send(&Sample::one(from + 2000, "temperature", 2.0)).await;
    device.settle().await;
    let (log, data) = (log_of(&mut world.aggregator), world.aggregator.data());
    let process = world.aggregator.take_process();
    fs::remove_dir_all(&data).unwrap();
    world.aggregator.link.resume();
    let (status, log) = ends(process, &log).await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("while in use") || log.contains("No such file"), "{log}");
    world.aggregator.start().await;
    world.agrees(&[QueryRequest::new("temperature", from, from + 4000).step(1000)]).await;
}
