//! Ordered stops under load, whatever the aggregator does: exit status 0 within the deadline, and acknowledged readings
//! are there after the next start. A second signal ends at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use catchment_settings::HumanDuration;
use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    now_ms, this_second,
    world::{WIDTH_MS, World},
};
use tokio::task::JoinHandle;

/// Devices that send without pause until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    devices: Vec<JoinHandle<Device>>,
    acknowledged: Vec<Arc<std::sync::atomic::AtomicU64>>,
    from: i64,
}

impl Load {
    fn start(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut devices, mut acknowledged) = (Vec::new(), Vec::new());
        for (number, protocol) in [Protocol::Json, Protocol::Frames, Protocol::Json].into_iter().enumerate() {
            let mut device = world.device(0, &format!("press-{number}"), protocol);
            acknowledged.push(device.acknowledged());
            let stop = Arc::clone(&stop);
            devices.push(tokio::spawn(async move {
                let mut value = 0.0;
                while !stop.load(Ordering::SeqCst) {
                    value += 0.5;
                    device.send(&Sample::one(now_ms(), "temperature", value)).await;
                }
                device.settle().await;
                device
            }));
        }
        Self { stop, devices, acknowledged, from: this_second() }
    }

    /// Waits until each device has this many more acknowledgements.
    async fn gets_on(&self, more: u64) {
        let count = || self.acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let before = count();
        eventually("devices make progress", async || {
            let now = count();
            let slowest = now.iter().zip(&before).map(|(now, before)| now - before).min().unwrap();
            if slowest >= more { Ok(()) } else { Err(format!("{slowest} of {more} are acknowledged")) }
        })
        .await;
    }

    /// Waits until open windows have closed; without an uplink their partials wait.
    async fn windows_close(&self) {
        let until = this_second() + 2 * WIDTH_MS + 500;
        eventually("windows close", async || {
            let now = now_ms();
            if now > until { Ok(()) } else { Err(format!("{now} of {until}")) }
        })
        .await;
        self.gets_on(20).await;
    }

    async fn ends_well(self, world: &World) {
        self.stop.store(true, Ordering::SeqCst);
        for device in self.devices {
            let device = device.await.unwrap();
            assert!(device.refused().is_empty(), "{:?}", device.refused());
        }
        let all = QueryRequest::new("temperature", self.from, now_ms() + 1000);
        world.agrees(&[all.clone().step(1000).by(&["device"]), all]).await;
    }
}

/// A gateway and an aggregator as processes, with this deadline for a stop.
async fn world(stop_timeout: HumanDuration) -> World {
    World::builder()
        .gateway("berlin", "gw")
        .settings(move |settings| settings.stop_timeout = Some(stop_timeout))
        .processes()
        .start()
        .await
}

#[tokio::test]
async fn a_gateway_stops_in_order_while_the_aggregator_is_down() {
    let mut world = world(HumanDuration::secs(1)).await;
    let load = Load::start(&world);
    load.gets_on(50).await;
    world.aggregator.kill();
    load.windows_close().await;
    // `stop` checks its exit status.
    world.gateways[0].server.stop().await;
    world.gateways[0].server.start().await;
    load.gets_on(50).await;
    world.aggregator.start().await;
    load.ends_well(&world).await;
}

#[tokio::test]
async fn both_servers_stop_in_order_while_the_link_between_them_is_frozen() {
    let mut world = world(HumanDuration::secs(1)).await;
    let load = Load::start(&world);
    load.gets_on(50).await;
    world.aggregator.link.freeze();
    load.windows_close().await;
    world.gateways[0].server.stop().await;
    world.gateways[0].server.start().await;
    load.gets_on(50).await;
    world.aggregator.stop().await;
    world.aggregator.start().await;
    load.gets_on(50).await;
    world.aggregator.link.resume();
    load.ends_well(&world).await;
}

#[tokio::test]
async fn servers_stop_in_order_repeatedly_under_load() {
    let mut world = world(HumanDuration::secs(5)).await;
    let load = Load::start(&world);
    for _ in 0..3 {
        load.gets_on(100).await;
        world.gateways[0].server.stop().await;
        world.gateways[0].server.start().await;
        load.gets_on(20).await;
        world.aggregator.stop().await;
        world.aggregator.start().await;
    }
    load.ends_well(&world).await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    // Long enough that only the second signal can end it.
    let mut world = world("1h".parse().unwrap()).await;
    let load = Load::start(&world);
    load.gets_on(50).await;
    world.aggregator.link.freeze();
    load.windows_close().await;
    let log = world.gateways[0].server.config_file().with_extension("log");
    let process = world.gateways[0].server.take_process();
    process.signal();
    eventually("the gateway waits for the aggregator", async || {
        let log = std::fs::read_to_string(&log).unwrap();
        if log.contains("checkpoints written") { Ok(()) } else { Err(log) }
    })
    .await;
    process.signal();
    let status = tokio::task::spawn_blocking(|| process.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1), "neither killed nor stopped in order");
    world.gateways[0].server.start().await;
    world.aggregator.link.resume();
    load.ends_well(&world).await;
}
