//! A data folder serves only its owner's identity: swapped folders, swapped certificates, folders from before owners
//! were recorded, and a deliberate change of owner.

use std::{fs, path::Path};

use catchment_certs::{Identity, Role, authority::Authority};
use catchment_journal::{RealDisk, read_atomic, write_atomic};
use catchment_proto::Name;
use catchment_tests::{
    connection::Protocol, device::Sample, model::QueryRequest, process::run, server::Server, this_second,
    world::World,
};

const GATEWAY: &str = "catchment-gateway";
const AGGREGATOR: &str = "catchment-aggregator";

/// Runs a program that must refuse; returns its one error line.
pub(super) async fn refused(name: &'static str, arguments: &[&Path]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let run = move || run(name, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)) && output.stdout.is_empty(), "{message}");
    let lines: Vec<&str> = message.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{message}");
    lines[0].to_owned()
}

/// Runs a program that must succeed; returns its output.
pub(super) async fn good(name: &'static str, arguments: &[&Path]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let run = move || run(name, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a stopped server as a program, with another identity if one is given; it must refuse its folder.
pub(super) async fn refuses_folder(
    name: &'static str,
    server: &mut Server,
    identity: Option<&Path>,
) -> String {
    let config = server.config_file().to_owned();
    let mut arguments = vec![Path::new("--config"), &config];
    if let Some(identity) = identity {
        arguments.extend([Path::new("--identity"), identity]);
    }
    refused(name, &arguments).await
}

/// Every file below a folder, with its content.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(content(&entry.path())),
            false => found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap())),
        }
    }
    found.sort();
    found
}

pub(super) fn exchange(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(aside, other).unwrap();
}

/// Readings waiting in a folder are delivered under the name of the gateway that acknowledged them, or not at all.
#[tokio::test]
async fn swapped_folders_and_certificates_are_refused() {
    let mut world = World::builder().gateway("berlin", "gw").gateway("lyon", "gw").start().await;
    world.aggregator.stop().await;
    let from = this_second() - 3000;
    for gateway in 0..2 {
        let mut device = world.device(gateway, "press-1", Protocol::Json);
        for n in 0..10 {
            device.send(&Sample::one(from + n * 100, "temperature", (n + 1) as f64)).await;
        }
        device.settle().await;
    }
    for gateway in &mut world.gateways {
        gateway.server.stop().await;
    }
    let identities = ["berlin", "lyon"].map(|site| world.pki.identity(Role::Gateway, site, "gw"));
    let (berlin, lyon) = (world.gateways[0].server.data(), world.gateways[1].server.data());
    let before = content(&berlin);
    let uris = ["berlin", "lyon"].map(|site| format!("spiffe://catchment.test/site/{site}/gateway/gw"));
    let says = |message: &str, owner: &str, found: &str| {
        assert!(message.contains(&format!("belongs to {owner}, but the identity is {found}")), "{message}");
        assert!(message.contains("folder adopt"), "{message}");
    };
    let message = refuses_folder(GATEWAY, &mut world.gateways[0].server, Some(&identities[1])).await;
    says(&message, &uris[0], &uris[1]);
    exchange(&berlin, &lyon);
    for gateway in 0..2 {
        let message = refuses_folder(GATEWAY, &mut world.gateways[gateway].server, None).await;
        says(&message, &uris[1 - gateway], &uris[gateway]);
    }
    exchange(&berlin, &lyon);
    assert_eq!(content(&berlin), before, "a refused start changes nothing");
    let printed =
        good(GATEWAY, &["journal", "verify", "--data", berlin.to_str().unwrap()].map(Path::new)).await;
    assert!(printed.contains(&format!("belongs to {}\n", uris[0])), "{printed}");
    // A folder that holds readings changes its owner only with --force.
    let adopt = [
        Path::new("folder"),
        Path::new("adopt"),
        Path::new("--data"),
        &berlin,
        Path::new("--identity"),
        &identities[1],
    ];
    let message = refused(GATEWAY, &adopt).await;
    assert!(message.contains("--force") && message.contains(&uris[0]), "{message}");
    world.aggregator.start().await;
    for gateway in &mut world.gateways {
        gateway.server.start().await;
    }
    world
        .agrees(&[QueryRequest::new("temperature", from, from + 2000).step(1000).by(&["site", "device"])])
        .await;
}

#[tokio::test]
async fn a_renewed_certificate_keeps_the_folder_and_an_older_folder_is_bound() {
    let mut world = World::small().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press-1", Protocol::Frames);
    device.send(&Sample::one(from, "temperature", 1.0)).await;
    device.settle().await;
    let server = &mut world.gateways[0].server;
    server.stop().await;
    let authority = Authority::open(world.pki.dir()).unwrap();
    let site = Some(Name::new("berlin").unwrap());
    let identity = Identity::from_parts(Role::Gateway, site, Name::new("gw").unwrap()).unwrap();
    authority.renew(&identity, None, &[], None, &mut |_| ()).unwrap();
    // As left by an older version: without an owner.
    let file = server.data().join("identity");
    let read = || String::from_utf8(read_atomic(&RealDisk, &file).unwrap().unwrap()).unwrap();
    let text = read();
    let old: String =
        text.lines().filter(|line| !line.starts_with("owner=")).map(|line| format!("{line}\n")).collect();
    assert_ne!(old, text);
    write_atomic(&RealDisk, &file, old.as_bytes()).unwrap();
    server.start().await;
    assert!(read().contains("owner=spiffe://catchment.test/site/berlin/gateway/gw\n"), "{}", read());
    device.send(&Sample::one(from + 10, "temperature", 2.0)).await;
    device.settle().await;
    world.gateways[0].server.stop().await;
    let other = world.pki.identity(Role::Gateway, "berlin", "gw-2");
    let message = refuses_folder(GATEWAY, &mut world.gateways[0].server, Some(&other)).await;
    assert!(message.contains("belongs to spiffe://catchment.test/site/berlin/gateway/gw,"), "{message}");
    world.gateways[0].server.start().await;
    world.agrees(&[QueryRequest::new("temperature", from, from + 2000)]).await;
}

#[tokio::test]
async fn an_aggregators_folder_keeps_its_owner_until_it_is_adopted() {
    let mut world = World::small().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press-1", Protocol::Json);
    device.send(&Sample::one(from, "temperature", 1.0)).await;
    device.settle().await;
    let query = QueryRequest::new("temperature", from, from + 2000);
    world.agrees(std::slice::from_ref(&query)).await;
    world.aggregator.stop().await;
    let other = world.pki.identity(Role::Aggregator, "", "centre-2");
    let message = refuses_folder(AGGREGATOR, &mut world.aggregator, Some(&other)).await;
    assert!(
        message.contains("belongs to spiffe://catchment.test/aggregator/centre, but the identity is"),
        "{message}"
    );
    let data = world.aggregator.data();
    let printed =
        good(AGGREGATOR, &["store", "verify", "--data", data.to_str().unwrap()].map(Path::new)).await;
    assert!(printed.contains("belongs to spiffe://catchment.test/aggregator/centre\n"), "{printed}");
    let adopt = [
        Path::new("folder"),
        Path::new("adopt"),
        Path::new("--data"),
        &data,
        Path::new("--identity"),
        &other,
    ];
    let printed = good(AGGREGATOR, &adopt).await;
    assert!(printed.contains("belongs to spiffe://catchment.test/aggregator/centre-2 now"), "{printed}");
    refuses_folder(AGGREGATOR, &mut world.aggregator, None).await;
    if let catchment_tests::server::Program::Aggregator(options) = &mut world.aggregator.program {
        options.identity = Some(other);
    }
    world.aggregator.start().await;
    world.agrees(&[query]).await;
}
