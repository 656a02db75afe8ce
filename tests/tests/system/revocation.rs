//! One `revoke` at the centre: the list reaches every gateway over the uplink, and stays there.

use std::{fs, path::PathBuf, time::Instant};

use catchment_certs::Role;
use catchment_tests::{
    connection::{Credentials, Protocol},
    eventually::{eventually, within},
    query, rogue,
    world::World,
};
use serde_json::json;

/// The file of the identity folder, which the gateways of these tests do not have.
const LIST: &str = "crl.pem";

/// A world as programs, with gateways whose identity folders hold no list: only the uplink brings one.
async fn world(sites: &[&str]) -> World {
    let mut world = World::builder().processes().start().await;
    world.pki.refresh_list();
    for site in sites {
        let identity = identity(&world, site);
        let issued = world.pki.identity(Role::Gateway, site, "gw");
        world.pki.copy_without_list(&issued, &identity);
        world.add_gateway(site, "gw", |settings| settings.identity = Some(identity)).await;
    }
    world
}

/// The identity folder of a site's gateway.
fn identity(world: &World, site: &str) -> PathBuf {
    world.dir().join(format!("identity-{site}"))
}

/// Waits until every gateway has reported that it holds the aggregator's newest list, and that its number is this.
async fn until_held(world: &World, number: u64) {
    eventually("the list at every gateway", async || {
        let list = query::gateways(world.operator(), "").await.map_err(|status| status.to_string())?;
        let hold = |one: &&catchment_proto::wire::Gateway| {
            one.revocation_list == Some(number) && !one.revocations_behind
        };
        let count = list.iter().filter(hold).count();
        if count == world.gateways.len() { Ok(()) } else { Err(format!("wanted {number}: {list:?}")) }
    })
    .await;
}

async fn is_served(world: &World, gateway: usize, device: &str) -> Result<(), String> {
    let site = &world.gateways[gateway].site;
    let identity = world.pki.device(site, device);
    let answer = rogue::knock(world.gateways[gateway].server.addr(), Credentials::of(&identity)).await?;
    if answer == json!({"ack": 1}) { Ok(()) } else { Err(answer.to_string()) }
}

/// Waits until a device is served; a gateway without a list refuses everybody.
async fn until_served(world: &World, gateway: usize, device: &str) {
    eventually("a served device", async || is_served(world, gateway, device).await).await;
}

#[tokio::test]
async fn one_revoke_reaches_every_gateway_and_holds_without_the_aggregator() {
    let mut world = world(&["berlin", "lyon"]).await;
    until_served(&world, 0, "press-1").await;
    until_served(&world, 1, "press-1").await;
    let number = world.pki.revoke(Role::Device, "berlin", "press-1");
    until_held(&world, number).await;
    is_served(&world, 0, "press-1").await.expect_err("it is revoked");
    is_served(&world, 0, "press-2").await.unwrap();
    is_served(&world, 1, "press-1").await.expect("a device of the same name is another one");

    // The uplink is cut, and the gateway is killed and starts again.
    world.aggregator.kill();
    is_served(&world, 0, "press-1").await.expect_err("it is revoked");
    world.gateways[0].server.kill();
    world.gateways[0].server.start().await;
    is_served(&world, 0, "press-1").await.expect_err("the gateway keeps the list");
    is_served(&world, 0, "press-2").await.unwrap();
}

#[tokio::test]
async fn a_live_session_of_the_revoked_ends() {
    let world = world(&["berlin"]).await;
    until_served(&world, 0, "press-1").await;
    let mut sessions = Vec::new();
    for device in ["press-1", "press-2"] {
        let mut session = world.connect(device, Protocol::Json).await;
        session.line(r#"{"temperature":21.5}"#).await.unwrap();
        assert_eq!(session.answer().await.unwrap(), Some(json!({"ack": 1})));
        sessions.push(session);
    }
    let started = Instant::now();
    world.pki.revoke(Role::Device, "berlin", "press-1");
    let ended = async {
        // An error that says why may come first.
        while let Ok(Some(answer)) = sessions[0].answer().await {
            assert_eq!(answer.get("ack"), None, "{answer}");
        }
    };
    within("the end of the session", ended).await;
    eprintln!("the session ended {:?} after the revocation", started.elapsed());
    sessions[1].line(r#"{"temperature":22.5}"#).await.unwrap();
    assert_eq!(sessions[1].answer().await.unwrap(), Some(json!({"ack": 2})), "nobody else is sent away");
}

#[tokio::test]
async fn a_list_that_was_rolled_back_changes_nothing() {
    let mut world = world(&["berlin"]).await;
    until_served(&world, 0, "press-1").await;
    let centre = world.pki.identity(Role::Aggregator, "", "centre").join(LIST);
    let old = fs::read(&centre).unwrap();
    let eve = world.pki.identity(Role::Operator, "", "eve");
    world.pki.revoke(Role::Operator, "", "eve");
    let number = world.pki.revoke(Role::Device, "berlin", "press-1");
    until_held(&world, number).await;

    // By wire: the aggregator forgets, and sends the old list.
    world.aggregator.stop().await;
    fs::write(&centre, &old).unwrap();
    world.aggregator.start().await;
    until_held(&world, number).await;
    let refused = query::gateways(query::channel(world.aggregator.addr(), &eve), "").await;
    refused.expect_err("the aggregator keeps the newest list too");
    is_served(&world, 0, "press-1").await.expect_err("it is revoked");
    is_served(&world, 0, "press-2").await.unwrap();

    // By file: beside the running gateway, and at a start.
    fs::write(identity(&world, "berlin").join(LIST), &old).unwrap();
    is_served(&world, 0, "press-1").await.expect_err("it is revoked");
    world.aggregator.kill();
    world.gateways[0].server.kill();
    world.gateways[0].server.start().await;
    is_served(&world, 0, "press-1").await.expect_err("the kept list is newer than the file");
    is_served(&world, 0, "press-2").await.unwrap();
}

#[tokio::test]
async fn a_damaged_kept_list_is_set_aside_and_sent_again() {
    let mut world = world(&["berlin"]).await;
    until_served(&world, 0, "press-1").await;
    let number = world.pki.revoke(Role::Device, "berlin", "press-1");
    until_held(&world, number).await;
    let kept = world.gateways[0].server.data().join("revocations");
    world.gateways[0].server.kill();
    let mut bytes = fs::read(&kept).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&kept, bytes).unwrap();
    world.gateways[0].server.start().await;
    until_held(&world, number).await;
    assert!(kept.with_extension("bad").exists() && kept.exists());
    is_served(&world, 0, "press-1").await.expect_err("it is revoked");
    until_served(&world, 0, "press-2").await;
}
