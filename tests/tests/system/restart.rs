//! Restarts and kills of each server while sequenced devices keep sending: every window equals the model's.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    this_second,
    world::{Builder, World},
};
use tokio::task::JoinHandle;

/// Messages per device.
const MESSAGES: i64 = 300;
/// Milliseconds between the times of two messages: all together span the current time, so that closed, open and future
/// windows occur.
const SPREAD_MS: i64 = 20;

/// Sending devices, and counts of their acknowledged messages.
struct Work {
    devices: Vec<JoinHandle<Device>>,
    acknowledged: Vec<Arc<AtomicU64>>,
    from: i64,
}

impl Work {
    /// Starts two devices at each gateway; each waits for its acknowledgements from time to time, so that the servers'
    /// faults happen in the middle.
    fn start(world: &World) -> Self {
        let from = this_second() - 2000;
        let (mut devices, mut acknowledged) = (Vec::new(), Vec::new());
        for gateway in 0..world.gateways.len() {
            for (number, protocol) in [Protocol::Json, Protocol::Frames].into_iter().enumerate() {
                let mut device = world.device(gateway, &format!("press-{number}"), protocol);
                acknowledged.push(device.acknowledged());
                devices.push(tokio::spawn(async move {
                    for message in 0..MESSAGES {
                        let time_ms = from + message * SPREAD_MS;
                        let value = (message * 31 % 57) as f64 / 8.0;
                        device.send(&Sample::one(time_ms, "temperature", value)).await;
                        if message % 8 == 0 {
                            device.settle().await;
                        }
                    }
                    device.settle().await;
                    device
                }));
            }
        }
        Self { devices, acknowledged, from }
    }

    /// Waits until some device has this many acknowledgements.
    async fn reaches(&self, count: i64) {
        eventually("devices make progress", async || {
            let most = self.acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).max().unwrap();
            if most >= count as u64 { Ok(()) } else { Err(format!("{most} of {count} are acknowledged")) }
        })
        .await;
    }

    /// Waits for the devices' end and compares the results with the model's.
    async fn ends_well(self, world: &World) {
        for device in self.devices {
            let device = device.await.unwrap();
            assert!(device.refused().is_empty(), "{:?}", device.refused());
        }
        assert_eq!(world.model.len(), world.gateways.len() * 2 * MESSAGES as usize);
        let all = QueryRequest::new("temperature", self.from, self.from + MESSAGES * SPREAD_MS + 1000);
        world.agrees(&[all.clone().step(1000).by(&["site", "device"]), all]).await;
    }
}

/// Gateways that also send the state of open windows, which later states and the closed windows must replace.
fn two_sites() -> Builder {
    let live = "100ms".parse().unwrap();
    World::builder()
        .gateway("berlin", "gw")
        .gateway("lyon", "gw")
        .settings(move |settings| settings.live = Some(live))
}

#[tokio::test]
async fn a_gateway_restarts_in_between() {
    let mut world = two_sites().start().await;
    let work = Work::start(&world);
    for third in [MESSAGES / 3, MESSAGES * 2 / 3] {
        work.reaches(third).await;
        world.gateways[0].server.stop().await;
        world.gateways[0].server.start().await;
    }
    work.ends_well(&world).await;
}

#[tokio::test]
async fn the_aggregator_restarts_in_between() {
    let mut world = two_sites().start().await;
    let work = Work::start(&world);
    for third in [MESSAGES / 3, MESSAGES * 2 / 3] {
        work.reaches(third).await;
        world.aggregator.stop().await;
        world.aggregator.start().await;
    }
    work.ends_well(&world).await;
}

#[tokio::test]
async fn everything_restarts_after_everything_was_sent() {
    let mut world = two_sites().start().await;
    let work = Work::start(&world);
    work.reaches(MESSAGES).await;
    world.aggregator.stop().await;
    for gateway in &mut world.gateways {
        // Without an aggregator: undelivered partials stay in the outbox.
        gateway.server.stop().await;
    }
    for gateway in &mut world.gateways {
        gateway.server.start().await;
    }
    world.aggregator.start().await;
    work.ends_well(&world).await;
}

#[tokio::test]
async fn a_lost_gateway_folder_starts_a_new_epoch_and_delivered_partials_stay() {
    let mut world = World::small().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let from = this_second() - 5000;
    let query = QueryRequest::new("temperature", from, from + 2000).step(1000);
    device.send(&Sample::one(from, "temperature", 1.0)).await;
    device.settle().await;
    world.agrees(std::slice::from_ref(&query)).await;
    let server = &mut world.gateways[0].server;
    server.stop().await;
    std::fs::remove_dir_all(server.data()).unwrap();
    server.start().await;
    // The new folder does not know the device's numbers, so the device starts a new epoch.
    device.reboot("boot-2");
    device.send(&Sample::one(from + 10, "temperature", 2.0)).await;
    device.send(&Sample::one(from + 1010, "temperature", 3.0)).await;
    device.settle().await;
    world.agrees(&[query]).await;
}

#[tokio::test]
async fn programs_stop_in_order_at_sigterm_and_resume() {
    let mut world = two_sites().processes().start().await;
    let work = Work::start(&world);
    work.reaches(MESSAGES / 4).await;
    world.gateways[0].server.stop().await;
    world.gateways[0].server.start().await;
    work.reaches(MESSAGES / 2).await;
    world.aggregator.stop().await;
    world.gateways[1].server.stop().await;
    world.aggregator.start().await;
    world.gateways[1].server.start().await;
    work.ends_well(&world).await;
}

#[tokio::test]
async fn killed_programs_lose_nothing_and_count_nothing_twice() {
    let mut world = two_sites().processes().start().await;
    let work = Work::start(&world);
    for round in 1..=5 {
        work.reaches(MESSAGES * round / 6).await;
        if round != 2 {
            world.gateways[(round % 2) as usize].server.kill();
        }
        if round % 2 == 0 {
            world.aggregator.kill();
            world.aggregator.start().await;
        }
        if round != 2 {
            world.gateways[(round % 2) as usize].server.start().await;
        }
    }
    work.ends_well(&world).await;
}

#[tokio::test]
async fn cut_and_frozen_links_only_delay() {
    let world = two_sites().start().await;
    let work = Work::start(&world);
    work.reaches(MESSAGES / 4).await;
    // Between gateways and aggregator.
    world.aggregator.link.cut();
    work.reaches(MESSAGES / 3).await;
    world.aggregator.link.resume();
    work.reaches(MESSAGES / 2).await;
    // Between devices and a gateway: they resend on new connections.
    world.gateways[0].server.link.cut();
    work.reaches(MESSAGES * 2 / 3).await;
    world.gateways[0].server.link.resume();
    world.gateways[1].server.link.freeze();
    work.reaches(MESSAGES * 3 / 4).await;
    world.gateways[1].server.link.resume();
    world.aggregator.link.freeze();
    work.reaches(MESSAGES).await;
    world.aggregator.link.resume();
    work.ends_well(&world).await;
}

#[tokio::test]
async fn repeated_messages_count_once_even_across_a_restart() {
    let mut world = World::small().await;
    let from = this_second() - 3000;
    let query = QueryRequest::new("temperature", from, from + 4000).step(1000);
    for protocol in [Protocol::Json, Protocol::Frames] {
        let mut device = world.device(0, &format!("{protocol:?}"), protocol);
        let samples: Vec<Sample> =
            (0..20).map(|n| Sample::one(from + n * 97, "temperature", n as f64)).collect();
        for sample in &samples {
            device.send(sample).await;
        }
        device.settle().await;
        device.repeat(&samples).await;
        world.gateways[0].server.stop().await;
        world.gateways[0].server.start().await;
        // On a new connection: the gateway remembers the epoch's numbers.
        device.disconnect();
        let more = Sample::one(from + 2500, "temperature", -1.0);
        device.send(&more).await;
        device.settle().await;
        device.repeat(&samples[5..].iter().cloned().chain([more]).collect::<Vec<_>>()).await;
        // Another epoch starts at 1 again.
        device.reboot("boot-2");
        device.send(&samples[3]).await;
        device.settle().await;
    }
    world.agrees(&[query.clone().by(&["device"]), query]).await;
}
