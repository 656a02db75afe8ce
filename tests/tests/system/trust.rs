//! Trust is live: every file of an identity folder is replaced under running servers.

use std::{fs, path::Path, time::Duration};

use catchment_certs::{ClientTls, IdentityFolder, Role};
use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    eventually::eventually,
    model::QueryRequest,
    pki::Pki,
    query,
    server::Server,
    world::World,
};

async fn world() -> World {
    let http = Some(([127, 0, 0, 1], 0).into());
    World::builder()
        .gateway("berlin", "gw")
        .settings(move |settings| settings.http = http)
        .options(move |options| options.http = http)
        .start()
        .await
}

/// Whether the gateway welcomes the device of this identity folder.
async fn takes(world: &World, identity: &Path) -> Result<(), String> {
    let opening = Connection::open(world.gateway_addr(), Credentials::of(identity), Protocol::Json);
    let mut connection = opening.await.map_err(|error| error.to_string())?;
    connection.line(r#"{"hello":{"epoch":"e"}}"#).await.map_err(|error| error.to_string())?;
    match connection.answer().await {
        Ok(Some(answer)) if answer["welcome"].is_object() => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Waits until a metric of a server has a value.
async fn shows(server: &Server, line: &str) {
    eventually(line, async || {
        let metrics = server.metrics().await;
        if metrics.lines().any(|found| found == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

/// Serial number of the certificate that the gateway presents.
async fn presented(world: &World, identity: &Path) -> String {
    let tls = ClientTls::new(&IdentityFolder::load(identity).unwrap(), &[]).unwrap();
    let (host, port) = ("127.0.0.1", world.gateway_addr().port());
    let (_, peer) = tls.connect(host, port, Role::Gateway, Duration::from_secs(20)).await.unwrap();
    peer.serial.to_string()
}

fn append(to: &Path, from: &Path) {
    let both = [fs::read(to).unwrap(), fs::read(from).unwrap()].concat();
    fs::write(to.with_extension("new"), both).unwrap();
    fs::rename(to.with_extension("new"), to).unwrap();
}

#[tokio::test]
async fn a_new_list_counts_at_both_servers_without_a_restart() {
    let world = world().await;
    let (gone, stays) = (world.pki.device("berlin", "press-1"), world.pki.device("berlin", "press-2"));
    for device in [&gone, &stays] {
        takes(&world, device).await.unwrap();
    }
    let request = QueryRequest::new("temperature", 0, 1000);
    let operator = world.pki.operator();
    let ask = async || query::aggregate(query::channel(world.aggregator.addr(), &operator), &request).await;
    ask().await.unwrap();
    // The authority copies the list into the servers' folders.
    world.pki.revoke(Role::Device, "berlin", "press-1");
    world.pki.revoke(Role::Operator, "", "ada");
    let gateway = &world.gateways[0].server;
    shows(gateway, "catchment_gateway_revocation_list_number 3").await;
    shows(&world.aggregator, "catchment_aggregator_revocation_list_number 3").await;
    takes(&world, &gone).await.unwrap_err();
    takes(&world, &stays).await.unwrap();
    shows(gateway, "catchment_gateway_handshakes_failed_total{reason=\"revoked\"} 1").await;
    ask().await.unwrap_err();
}

#[tokio::test]
async fn a_certificate_and_a_second_root_are_taken_and_a_bad_file_is_reported() {
    let world = world().await;
    let gateway = &world.gateways[0].server;
    let folder = world.pki.identity(Role::Gateway, "berlin", "gw");
    let device = world.pki.device("berlin", "press-1");
    let first = presented(&world, &device).await;
    // A file that is no certificate: the old one counts, and everybody can see why.
    let good = fs::read(folder.join("cert.pem")).unwrap();
    fs::write(folder.join("cert.pem"), "nonsense").unwrap();
    shows(gateway, "catchment_gateway_condition{name=\"trust_not_loaded\"} 1").await;
    shows(gateway, "catchment_gateway_trust_reloads_total{result=\"refused\"} 1").await;
    let (status, page) = gateway.http("/readyz").await;
    assert!(status == 200 && page.contains("trust_not_loaded: ") && page.contains("cert.pem"), "{page}");
    assert_eq!(presented(&world, &device).await, first);
    takes(&world, &device).await.unwrap();
    fs::write(folder.join("cert.pem"), good).unwrap();
    shows(gateway, "catchment_gateway_condition{name=\"trust_not_loaded\"} 0").await;
    let (status, page) = gateway.http("/readyz").await;
    assert!(status == 200 && !page.contains("trust_not_loaded"), "{page}");
    // A renewed certificate is presented from the next handshake on.
    world.pki.renew(Role::Gateway, "berlin", "gw");
    eventually("the new certificate is presented", async || {
        let now = presented(&world, &device).await;
        if now == first { Err(now) } else { Ok(()) }
    })
    .await;
    // A second root beside the first: devices of both are taken.
    let other = Pki::new(&world.dir().join("other"));
    let of_other = other.device("berlin", "press-9");
    append(&of_other.join("ca.pem"), &world.pki.dir().join("ca.pem"));
    takes(&world, &of_other).await.unwrap_err();
    append(&folder.join("ca.pem"), &other.dir().join("ca.pem"));
    eventually("a device of the second root is taken", async || takes(&world, &of_other).await).await;
    takes(&world, &device).await.unwrap();
    // A list that goes away still counts.
    fs::remove_file(folder.join("crl.pem")).unwrap();
    shows(gateway, "catchment_gateway_condition{name=\"trust_not_loaded\"} 1").await;
    takes(&world, &device).await.unwrap();
}

#[tokio::test]
async fn without_a_list_nobody_is_taken_until_one_is_there() {
    let mut world = world().await;
    let device = world.pki.device("berlin", "press-1");
    let folder = world.pki.identity(Role::Gateway, "berlin", "gw");
    // Neither the aggregator nor the data folder has a list for it.
    world.aggregator.stop().await;
    world.gateways[0].server.stop().await;
    fs::remove_file(folder.join("crl.pem")).unwrap();
    fs::remove_file(world.gateways[0].server.data().join("revocations")).unwrap();
    world.gateways[0].server.start().await;
    let gateway = &world.gateways[0].server;
    shows(gateway, "catchment_gateway_condition{name=\"revocation_list_missing\"} 1").await;
    let (status, page) = gateway.http("/readyz").await;
    assert!(status == 503 && page.contains("revocation_list_missing: "), "{page}");
    takes(&world, &device).await.unwrap_err();
    shows(gateway, "catchment_gateway_handshakes_failed_total{reason=\"no_revocation_list\"} 1").await;
    fs::copy(world.pki.dir().join("crl.pem"), folder.join("crl.pem")).unwrap();
    shows(gateway, "catchment_gateway_condition{name=\"revocation_list_missing\"} 0").await;
    takes(&world, &device).await.unwrap();
}

#[tokio::test]
async fn an_uplink_ends_whose_aggregator_is_revoked() {
    let world = world().await;
    let gateway = &world.gateways[0].server;
    shows(gateway, "catchment_gateway_uplink_connected 1").await;
    world.pki.revoke(Role::Aggregator, "", "centre");
    shows(gateway, "catchment_gateway_uplink_connected 0").await;
}

#[tokio::test]
async fn a_named_pipe_in_the_place_of_a_file_holds_up_nothing() {
    let world = world().await;
    let list = world.pki.identity(Role::Gateway, "berlin", "gw").join("crl.pem");
    let gateway = &world.gateways[0].server;
    let bytes = fs::read(&list).unwrap();
    fs::remove_file(&list).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&list).status().unwrap().success());
    shows(gateway, "catchment_gateway_condition{name=\"trust_not_loaded\"} 1").await;
    fs::remove_file(&list).unwrap();
    fs::write(&list, bytes).unwrap();
    shows(gateway, "catchment_gateway_condition{name=\"trust_not_loaded\"} 0").await;
}
