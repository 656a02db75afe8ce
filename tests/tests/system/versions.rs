//! A gateway and an aggregator of neighbouring versions, upgraded in either order and killed meanwhile: every window
//! equals the model's.

use catchment_certs::Role;
use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::{eventually, within},
    model::QueryRequest,
    query, this_second,
    versions::{Between, Old},
    world::World,
};
use serde_json::json;

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
        Self::of(World::builder().processes().start().await, old).await
    }

    async fn of(mut world: World, old: Old) -> Self {
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
                settings.http = Some(([127, 0, 0, 1], 0).into());
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

/// Revocation lists pass between peers that know them, and nobody else is sent any of it.
#[tokio::test]
async fn revocation_lists_pass_once_both_are_upgraded() {
    let world = World::builder().start().await;
    let number = world.pki.refresh_list();
    let mut fleet = Fleet::of(world, BOTH_OLD).await;
    let held = async |fleet: &Fleet, expected: (Option<u64>, bool)| {
        eventually("the list that the gateway holds", async || {
            let list = query::gateways(fleet.world.operator(), "").await.map_err(|e| e.to_string())?;
            let held: Vec<_> = list.iter().map(|one| (one.revocation_list, one.revocations_behind)).collect();
            if held == [expected] { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
    };
    for old in [BOTH_OLD, OLD_AGGREGATOR, OLD_GATEWAY] {
        fleet.between.set(old);
        fleet.send().await;
        fleet.agrees().await;
        held(&fleet, (None, true)).await;
    }
    fleet.between.set(BOTH_NEW);
    held(&fleet, (Some(number), false)).await;
    fleet.send().await;
    fleet.agrees().await;
    assert_eq!(fleet.between.passed().refused(), [""; 0]);
}

/// Sends one JSON line on a connection of its own; returns the code of its refusal, or none.
async fn line(fleet: &Fleet, values: serde_json::Value) -> Option<String> {
    let mut connection = fleet.world.connect("switch", Protocol::Json).await;
    connection.line(&json!({"ts": fleet.from, "values": values}).to_string()).await.unwrap();
    let answer = within("an answer", connection.answer()).await.unwrap().unwrap();
    answer["error"]["code"].as_str().map(str::to_owned)
}

async fn until_outdated(fleet: &Fleet, outdated: bool) {
    let right =
        format!("catchment_gateway_condition{{name=\"aggregator_outdated\"}} {}\n", u8::from(outdated));
    eventually("the condition", async || {
        let page = fleet.world.gateways[0].server.metrics().await;
        if page.contains(&right) { Ok(()) } else { Err(page) }
    })
    .await;
}

/// States are readings: an aggregator that cannot read them is not sent a batch without them.
#[tokio::test]
async fn states_wait_for_an_aggregator_that_reads_them() {
    let mut fleet = Fleet::of(World::builder().start().await, BOTH_NEW).await;
    fleet.send().await;
    fleet.agrees().await;
    fleet.world.aggregator.stop().await;
    assert_eq!(line(&fleet, json!({"mode": "auto", "on": true})).await, None);
    // The aggregator goes back.
    fleet.between.set(OLD_AGGREGATOR);
    fleet.world.aggregator.start().await;
    until_outdated(&fleet, true).await;
    assert_eq!(line(&fleet, json!({"mode": "manual"})).await.as_deref(), Some("states_unsupported"));
    assert_eq!(line(&fleet, json!({"on": true})).await, None, "a boolean is still a number");
    fleet.send().await;
    let listed = query::series(fleet.world.operator(), "mode").await.unwrap();
    assert!(listed.is_empty(), "{listed:?}");
    // After a restart too.
    fleet.world.gateways[0].server.stop().await;
    fleet.world.gateways[0].server.start().await;
    until_outdated(&fleet, true).await;
    assert_eq!(line(&fleet, json!({"mode": "manual"})).await.as_deref(), Some("states_unsupported"));
    fleet.between.set(BOTH_NEW);
    until_outdated(&fleet, false).await;
    fleet.agrees().await;
    eventually("the series of states", async || {
        let listed =
            query::series(fleet.world.operator(), "mode").await.map_err(|status| status.to_string())?;
        if listed.len() == 1 { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await;
    assert_eq!(line(&fleet, json!({"mode": "off"})).await, None);
    assert_eq!(fleet.between.passed().refused(), [""; 0]);
}
