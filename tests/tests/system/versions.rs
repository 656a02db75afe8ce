//! A gateway and an aggregator of neighbouring versions, upgraded in either order and killed meanwhile: every window
//! equals the model's.

use catchment_certs::Role;
use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    this_second,
    versions::{Between, Old},
    world::World,
};

const OLD_AGGREGATOR: Old = Old { gateway: false, aggregator: true };
const OLD_GATEWAY: Old = Old { gateway: true, aggregator: false };
const BOTH_OLD: Old = Old { gateway: true, aggregator: true };
const BOTH_NEW: Old = Old { gateway: false, aggregator: false };

/// Milliseconds of readings of one phase.
const PHASE_MS: i64 = 4_000;

/// Servers as programs, and one gateway that delivers to [`Between`].
struct Fleet {
    world: World,
    between: Between,
    device: Device,
    from: i64,
    phases: i64,
}

impl Fleet {
    async fn start(old: Old) -> Self {
        let mut world = World::builder().processes().start().await;
        let (identity, gateway) = (
            world.pki.identity(Role::Aggregator, "", "between"),
            world.pki.identity(Role::Gateway, "berlin", "gw"),
        );
        let between = Between::start(world.aggregator.addr(), &identity, &gateway, old).await;
        let url = format!("https://{}", between.addr);
        let live = "100ms".parse().unwrap();
        world
            .add_gateway("berlin", "gw", |settings| {
                (settings.aggregator, settings.live) = (Some(vec![url]), Some(live));
            })
            .await;
        let device = world.device(0, "press-1", Protocol::Json);
        Self { world, between, device, from: this_second() - 60_000, phases: 0 }
    }

    /// Sends readings: windows with few and with more than 32, in the past and thus soon closed.
    async fn send(&mut self) {
        let start = self.from + self.phases * PHASE_MS;
        self.phases += 1;
        for n in 0..PHASE_MS / 20 {
            let time_ms = start + n * 20;
            self.device.send(&Sample::one(time_ms, "vibration", (n * 31 % 57) as f64 / 8.0)).await;
            if n % 10 == 0 {
                self.device.send(&Sample::one(time_ms, "temperature", n as f64 / 4.0)).await;
            }
        }
        self.device.settle().await;
    }

    /// Sends readings while both servers are killed, one after the other.
    async fn send_through_kills(&mut self) {
        self.send().await;
        self.world.gateways[0].server.kill();
        self.world.gateways[0].server.start().await;
        self.send().await;
        self.world.aggregator.kill();
        self.send().await;
        self.world.aggregator.start().await;
    }

    async fn agrees(&self) {
        let to = self.from + self.phases * PHASE_MS;
        let all = |metric| QueryRequest::new(metric, self.from, to);
        self.world
            .agrees(&[all("temperature").step(1000), all("temperature"), all("vibration").step(1000)])
            .await;
    }

    /// Waits until partials leave in an encoding version again.
    async fn leaves_in(&mut self, version: usize) {
        let before = self.between.passed().bodies(version);
        self.send().await;
        eventually("partials of that version", async || {
            let passed = self.between.passed();
            let bodies = [1, 2].map(|version| passed.bodies(version));
            if passed.bodies(version) > before { Ok(()) } else { Err(format!("{bodies:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn gateways_may_be_upgraded_first() {
    let mut fleet = Fleet::start(BOTH_OLD).await;
    fleet.send().await;
    // The gateway is upgraded while something waits in its outbox.
    fleet.world.aggregator.kill();
    fleet.send().await;
    fleet.world.gateways[0].server.kill();
    fleet.between.set(OLD_AGGREGATOR);
    fleet.world.gateways[0].server.start().await;
    fleet.world.aggregator.start().await;
    fleet.send_through_kills().await;
    fleet.agrees().await;
    assert_eq!(fleet.between.passed().bodies(2), 0);
    // Then the aggregator.
    fleet.world.aggregator.kill();
    fleet.send().await;
    fleet.between.set(BOTH_NEW);
    fleet.world.aggregator.start().await;
    fleet.leaves_in(2).await;
    fleet.send_through_kills().await;
    fleet.agrees().await;
    assert_eq!(fleet.between.passed().refused(), [""; 0]);
}

#[tokio::test]
async fn the_aggregator_may_be_upgraded_first() {
    let mut fleet = Fleet::start(BOTH_OLD).await;
    fleet.send().await;
    fleet.world.aggregator.kill();
    fleet.send().await;
    fleet.between.set(OLD_GATEWAY);
    fleet.world.aggregator.start().await;
    fleet.send_through_kills().await;
    fleet.agrees().await;
    assert_eq!(fleet.between.passed().bodies(2), 0);
    // Then the gateway.
    fleet.world.gateways[0].server.kill();
    fleet.between.set(BOTH_NEW);
    fleet.world.gateways[0].server.start().await;
    fleet.leaves_in(2).await;
    fleet.send_through_kills().await;
    fleet.agrees().await;
    assert_eq!(fleet.between.passed().refused(), [""; 0]);
}

/// An upgrade may be taken back while nothing but numbers was sent.
#[tokio::test]
async fn an_aggregator_may_go_back() {
    let mut fleet = Fleet::start(BOTH_NEW).await;
    fleet.leaves_in(2).await;
    fleet.between.set(OLD_AGGREGATOR);
    fleet.leaves_in(1).await;
    fleet.between.set(BOTH_NEW);
    fleet.leaves_in(2).await;
    fleet.agrees().await;
    assert_eq!(fleet.between.passed().refused(), [""; 0]);
}
