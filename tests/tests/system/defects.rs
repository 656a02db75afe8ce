//! Defects: a panicking task, an aggregator that does nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use catchment_certs::Role;
use catchment_gateway::{
    RunError,
    clock::{Clock, SystemClock},
    spawn::spawn_with,
};
use catchment_partial::Timestamp;
use catchment_tests::{
    connection::Protocol, device::Sample, eventually::eventually, model::QueryRequest, rogue,
    server::Program, this_second, world::World,
};

/// A clock that panics on worker threads once it is enabled.
#[derive(Debug, Default)]
struct Faulty {
    clock: SystemClock,
    fails: AtomicBool,
}

impl Clock for Faulty {
    fn wall(&self) -> Timestamp {
        let worker = thread::current().name().is_some_and(|name| name.contains("arbiter"));
        assert!(!(worker && self.fails.load(Ordering::SeqCst)), "a clock without hands");
        self.clock.wall()
    }

    fn mono(&self) -> Duration {
        self.clock.mono()
    }
}

#[tokio::test]
async fn a_worker_that_panics_ends_the_gateway_and_nothing_acknowledged_is_lost() {
    let mut world = World::builder().gateway("berlin", "gw").start().await;
    let from = this_second();
    let mut device = world.device(0, "press-1", Protocol::Json);
    let server = &mut world.gateways[0].server;
    server.stop().await;
    let Program::Gateway(settings) = &server.program else { panic!("a gateway") };
    let (config, clock) = (settings.clone().check().unwrap(), Arc::new(Faulty::default()));
    let faulty = Arc::clone(&clock) as Arc<dyn Clock>;
    let handle = tokio::task::spawn_blocking(|| spawn_with(config, faulty)).await.unwrap().unwrap();
    server.link.lead_to(Some(handle.addr));
    for n in 0..50 {
        device.send(&Sample::one(from + n, "temperature", n as f64)).await;
    }
    device.settle().await;
    clock.fails.store(true, Ordering::SeqCst);
    eventually("the gateway ends by itself", async || {
        if handle.is_finished() { Ok(()) } else { Err("it is still running".to_owned()) }
    })
    .await;
    let ended = tokio::task::spawn_blocking(|| handle.stop()).await.unwrap();
    let why = match ended {
        Err(RunError::Defect(why)) => why.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(why.contains("of shard") && why.contains("panicked: a clock without hands at "), "{why}");
    server.link.lead_to(None);
    server.start().await;
    for n in 50..60 {
        device.send(&Sample::one(from + n, "temperature", n as f64)).await;
    }
    device.settle().await;
    world.agrees(&[QueryRequest::new("temperature", from, from + 1000)]).await;
}

#[tokio::test]
async fn an_aggregator_that_acknowledges_nothing_is_left_for_the_next() {
    let mut world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.uplink_ack_timeout = Some("500ms".parse().unwrap());
            settings.http = Some(([127, 0, 0, 1], 0).into());
        })
        .start()
        .await;
    let mute = rogue::SilentAggregator::start(&world.pki.identity(Role::Aggregator, "", "mute")).await;
    let server = &mut world.gateways[0].server;
    server.stop().await;
    let Program::Gateway(settings) = &mut server.program else { panic!("a gateway") };
    settings.aggregator.as_mut().unwrap().insert(0, format!("https://{}", mute.addr));
    server.start().await;
    let from = this_second();
    let mut device = world.device(0, "press-1", Protocol::Json);
    for n in 0..50 {
        device.send(&Sample::one(from + n, "temperature", n as f64)).await;
    }
    device.settle().await;
    world.agrees(&[QueryRequest::new("temperature", from, from + 1000)]).await;
    assert!(mute.batches() > 0, "it received batches that it did not acknowledge");
    let page = world.gateways[0].server.metrics().await;
    let timeouts =
        page.lines().find_map(|line| line.strip_prefix("catchment_gateway_uplink_ack_timeouts_total "));
    assert!(timeouts.is_some_and(|count| count != "0"), "{page}");
}
