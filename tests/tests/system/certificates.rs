//! When certificates end: a gateway tells the aggregator, which shows it in lists, pages and counts.

use std::time::{Duration, SystemTime};

use catchment_certs::Role;
use catchment_proto::wire::{PageRequest, SummaryRequest, fleet_client::FleetClient};
use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::{eventually, within},
    mqtt::{Client, ConnectOptions},
    process::run,
    query, this_second,
    versions::{Between, Old},
    world::World,
};
use tokio::task::block_in_place;

const DAY: Duration = Duration::from_secs(86_400);
/// Each protocol on the one port has a device.
const DEVICES: [&str; 3] = ["by-frames", "by-json", "by-mqtt"];

/// Sends a reading of a device over a new connection.
async fn send(world: &World, name: &str) {
    let time_ms = this_second() - 60_000;
    if name == "by-mqtt" {
        let identity = world.pki.device("berlin", name);
        let opening = Client::open(world.gateway_addr(), &identity, None, None);
        let mut client = within("a connection", opening).await.unwrap();
        assert_eq!(client.connect(ConnectOptions::clean(5, "c")).await.unwrap().1, 0);
        let reading = format!(r#"{{"ts":{time_ms},"values":{{"temperature":20.5}}}}"#);
        client.publish(1, 1, "telemetry", &reading).await.unwrap();
        assert_eq!(within("an acknowledgement", client.acknowledgement()).await.2, 0);
        return;
    }
    let protocol = if name == "by-json" { Protocol::Json } else { Protocol::Frames };
    let mut device = world.device(0, name, protocol);
    device.send(&Sample::one(time_ms, "temperature", 20.5)).await;
    device.settle().await;
}

/// The devices of a page, and in how many days their certificates end; -1: not known.
async fn ends(world: &World, request: PageRequest) -> Vec<(String, i64)> {
    let mut fleet = FleetClient::new(world.operator());
    let Ok(page) = fleet.page_devices(request).await else { return Vec::new() };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    // They were issued some seconds ago.
    let days = |expires_s| if expires_s == 0 { -1 } else { (expires_s - now + 3_600) / 86_400 };
    let devices = page.into_inner().devices.into_iter();
    devices.map(|one| (one.device, days(one.certificate_expires_s))).collect()
}

async fn until(world: &World, request: PageRequest, expected: &[(&str, i64)]) {
    let expected: Vec<_> = expected.iter().map(|(name, days)| ((*name).to_owned(), *days)).collect();
    eventually("the ends of certificates", async || {
        let ends = ends(world, request.clone()).await;
        if ends == expected { Ok(()) } else { Err(format!("{ends:?}, not {expected:?}")) }
    })
    .await;
}

fn by_end() -> PageRequest {
    PageRequest { sort: "expires".to_owned(), ..PageRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_certificates_are_listed_counted_and_kept() {
    let mut world = World::builder().gateway("berlin", "gw").processes().start().await;
    for (name, days) in DEVICES.into_iter().zip([40, 20, 12]) {
        world.pki.device_for("berlin", name, days * DAY);
        send(&world, name).await;
    }
    until(&world, by_end(), &[("by-mqtt", 12), ("by-json", 20), ("by-frames", 40)]).await;
    let ending_within = |days: i64| PageRequest { expires_within_s: days * 86_400, ..by_end() };
    assert_eq!(ends(&world, ending_within(15)).await, [("by-mqtt".to_owned(), 12)]);
    let mut fleet = FleetClient::new(world.operator());
    let summary = fleet.summarize(SummaryRequest::default()).await.unwrap().into_inner();
    assert_eq!((summary.total.unwrap().expiring, summary.sites[0].expiring), (2, 2));
    let gateways = query::gateways(world.operator(), "").await.unwrap();
    let now = SystemTime::now();
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(gateways[0].certificate_expires_s as u64);
    assert!(expires > now + 300 * DAY && expires < now + 400 * DAY, "{gateways:?}");
    block_in_place(|| listed(&world));

    // A renewed certificate counts from its first session on.
    world.pki.renew(Role::Device, "berlin", "by-json");
    send(&world, "by-json").await;
    until(&world, by_end(), &[("by-mqtt", 12), ("by-frames", 40), ("by-json", 365)]).await;
    // Nobody is there to tell it again.
    world.gateways[0].server.kill();
    world.aggregator.stop().await;
    world.aggregator.start().await;
    until(&world, by_end(), &[("by-mqtt", 12), ("by-frames", 40), ("by-json", 365)]).await;
}

/// `catchment devices` and `catchment top` show it.
fn listed(world: &World) {
    let url = format!("https://{}", world.aggregator.addr());
    let operator = world.pki.operator();
    let connection = ["--aggregator", &url, "--identity", operator.to_str().unwrap()];
    let shown = |arguments: &[&str]| {
        let output = run("catchment", &[arguments, &connection].concat(), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = shown(&["devices", "--format", "json"]);
    let devices: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(devices[0]["certificate_expires"].as_str().is_some_and(|end| end.ends_with('Z')), "{text}");
    let text = shown(&["top", "--once", "--ascii", "--view", "devices"]);
    let mqtt = text.lines().find(|line| line.contains("by-mqtt")).unwrap();
    assert!(mqtt.contains(" 12d ") || mqtt.contains(" 11d "), "{text}");
}

/// An aggregator or a gateway of the version before: nothing is told that the other would not understand.
#[tokio::test]
async fn with_a_peer_of_the_version_before_ends_are_not_known() {
    let mut world = World::builder().start().await;
    let (identity, gateway) = (
        world.pki.identity(Role::Aggregator, "", "between"),
        world.pki.identity(Role::Gateway, "berlin", "gw"),
    );
    let old = Old { gateway: false, aggregator: true };
    let between = Between::start(world.aggregator.addr(), &identity, &gateway, old).await;
    let url = format!("https://{}", between.addr);
    world.add_gateway("berlin", "gw", |settings| settings.aggregator = Some(vec![url])).await;
    world.pki.device_for("berlin", "by-json", 20 * DAY);
    send(&world, "by-json").await;
    until(&world, by_end(), &[("by-json", -1)]).await;
    between.set(Old { gateway: true, aggregator: false });
    send(&world, "by-json").await;
    until(&world, by_end(), &[("by-json", -1)]).await;
    // Upgraded, without another session of the device.
    between.set(Old::default());
    until(&world, by_end(), &[("by-json", 20)]).await;
    assert_eq!(between.passed().refused(), [""; 0]);
}
