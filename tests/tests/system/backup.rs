//! Backups of a running aggregator, and what becomes of a store that is restored from one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use catchment_certs::Role;
use catchment_proto::wire::{
    BackupRequest, BackupResponse, backup_response::Kind, maintenance_client::MaintenanceClient,
};
use catchment_tests::{
    connection::Protocol,
    delivery::Delivery,
    device::{Device, Sample},
    eventually::{eventually, within},
    model::QueryRequest,
    now_ms,
    process::{command, run},
    query, this_second,
    world::{WIDTH_MS, World},
};
use tonic::{Code, Status, Streaming};

/// 2023-11-14T22:13:20Z.
const TS: i64 = 1_700_000_000_000;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Flags of a backup of the running aggregator into a folder.
fn backup_flags(world: &World, to: &Path) -> Vec<String> {
    let url = format!("https://{}", world.aggregator.direct_addr());
    let identity = world.pki.operator();
    ["store", "backup", "--to", text(to), "--aggregator", &url, "--identity", text(&identity)]
        .map(str::to_owned)
        .into()
}

async fn aggregator(flags: Vec<String>) -> Output {
    let running = move || {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        run("catchment-aggregator", &flags, "")
    };
    tokio::task::spawn_blocking(running).await.unwrap()
}

/// Standard output of a command that must succeed.
async fn done(flags: Vec<String>) -> String {
    let mut output = aggregator(flags.clone()).await;
    // The server notices late that a command was killed.
    for _ in 0..50 {
        if !String::from_utf8_lossy(&output.stderr).contains("another backup is running") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        output = aggregator(flags.clone()).await;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The error of a command that must fail.
async fn refused(flags: Vec<String>) -> String {
    let output = aggregator(flags).await;
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// Sends readings of some seconds, and returns the time of the first.
async fn send(device: &mut Device, seconds: i64) -> i64 {
    let from = this_second() - seconds * 1000;
    for n in 0..seconds {
        device.send(&Sample::one(from + n * 1000, "temperature", n as f64 / 4.0)).await;
    }
    device.settle().await;
    from
}

fn restore_flags(from: &Path, data: &Path) -> Vec<String> {
    ["store", "restore", "--from", text(from), "--data", text(data)].map(str::to_owned).into()
}

/// Puts the store's folder aside and restores the backup in its place.
async fn restore(world: &World, from: &Path) -> PathBuf {
    let data = world.aggregator.data();
    let aside = data.with_extension("aside");
    fs::rename(&data, &aside).unwrap();
    let output = done(restore_flags(from, &data)).await;
    assert!(output.contains("restored"), "{output}");
    let verified = done(["store", "verify", "--data", text(&data)].map(str::to_owned).into()).await;
    assert!(verified.ends_with("nothing is damaged\n"), "{verified}");
    aside
}

#[tokio::test]
async fn a_store_restored_from_a_backup_is_refilled_from_the_outbox() {
    let mut world = World::builder().gateway("berlin", "gw").processes().start().await;
    let backup = world.dir().join("backup");
    let mut device = world.device(0, "press-1", Protocol::Json);
    let first = send(&mut device, 60).await;
    let all =
        QueryRequest::new("temperature", first, first + 3_600_000).aggregates(&["count", "sum", "last"]);
    let queries = [all.clone(), all.step(WIDTH_MS)];
    world.agrees(&queries).await;
    let output = done(backup_flags(&world, &backup)).await;
    assert!(output.starts_with("backup of store "), "{output}");
    // A second one copies the catalog alone: nothing came since.
    let output = done(backup_flags(&world, &backup)).await;
    assert!(output.contains("copied 1 files"), "{output}");

    // From now on nothing reaches the aggregator, which is then killed: the gateway acknowledges alone.
    world.aggregator.link.cut();
    world.aggregator.kill();
    send(&mut device, 5).await;
    let aside = restore(&world, &backup).await;
    world.aggregator.start().await;
    world.aggregator.link.resume();
    send(&mut device, 3).await;
    world.agrees(&queries).await;
    assert_eq!(query::gateways(world.operator(), "").await.unwrap()[0].lost_batches, 0);

    // The restored store is backed up into the same folder: it is the same store.
    done(backup_flags(&world, &backup)).await;
    let check = ["store", "restore", "--from", text(&backup), "--check"].map(str::to_owned);
    assert!(done(check.into()).await.ends_with("nothing is damaged\n"));
    // So is the one that was put aside, without a server.
    let offline = ["store", "backup", "--to", text(&backup), "--data", text(&aside)].map(str::to_owned);
    done(offline.into()).await;
}

#[tokio::test]
async fn what_a_restored_store_lacks_for_good_is_a_gap() {
    let mut world = World::builder().processes().start().await;
    let backup = world.dir().join("backup");
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let open = async |world: &World| {
        Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, now_ms()).await
    };
    let time = |number: i64| TS + number * WIDTH_MS;
    let mut delivery = open(&world).await;
    for number in 1..=3 {
        delivery.deliver(time(number), 1.0, time(number + 1)).await;
    }
    done(backup_flags(&world, &backup)).await;
    for number in 4..=6 {
        delivery.deliver(time(number), 1.0, time(number + 1)).await;
    }
    drop(delivery);
    world.aggregator.kill();
    restore(&world, &backup).await;
    world.aggregator.start().await;

    // It says what it has, so a gateway that holds number 5 and 6 yet sends these.
    let mut delivery = open(&world).await;
    delivery.skip(1, time(4), time(5));
    for number in 5..=6 {
        delivery.deliver(time(number), 1.0, time(number + 1)).await;
    }
    let whole = QueryRequest::new("temperature", time(0), time(9)).aggregates(&["count"]);
    let answer = world.query(&whole).await.unwrap();
    assert_eq!(answer.gaps, 1);
    assert_eq!(answer.complete_until_ms, Some(time(4)));
    assert_eq!(answer.table.values().next().unwrap().values().next().unwrap()["count"], 5.0);
    let list = query::gateways(world.operator(), "").await.unwrap();
    assert_eq!(list[0].lost_batches, 1);
}

#[tokio::test]
async fn a_killed_backup_or_restore_is_repeated() {
    let mut world = World::builder().gateway("berlin", "gw").processes().start().await;
    let backup = world.dir().join("backup");
    let mut device = world.device(0, "press-1", Protocol::Json);
    let first = send(&mut device, 120).await;
    let all = QueryRequest::new("temperature", first, first + 3_600_000).aggregates(&["count", "sum"]);
    world.agrees(std::slice::from_ref(&all)).await;
    for ms in [5, 15, 25, 35, 50, 80] {
        kill_after(backup_flags(&world, &backup), ms).await;
    }
    done(backup_flags(&world, &backup)).await;
    world.aggregator.stop().await;
    let data = world.aggregator.data();
    fs::rename(&data, data.with_extension("aside")).unwrap();
    for ms in [5, 10, 20, 30, 40] {
        if !data.join("identity").exists() {
            kill_after(restore_flags(&backup, &data), ms).await;
        }
    }
    if !data.join("identity").exists() {
        done(restore_flags(&backup, &data)).await;
    }
    world.aggregator.start().await;
    world.agrees(&[all]).await;
}

async fn kill_after(flags: Vec<String>, ms: u64) {
    let killing = move || {
        let mut child = command("catchment-aggregator")
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(ms));
        // Fails if it has ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
    };
    tokio::task::spawn_blocking(killing).await.unwrap();
}

#[tokio::test]
async fn commands_say_what_to_do_instead() {
    let mut world = World::builder().processes().start().await;
    let backup = world.dir().join("backup");
    let data = world.aggregator.data();
    let offline = ["store", "backup", "--to", text(&backup), "--data", text(&data)].map(str::to_owned);
    let error = refused(offline.clone().into()).await;
    assert!(error.contains("with --aggregator URL --identity DIR"), "{error}");
    let error =
        refused(vec!["store".to_owned(), "backup".to_owned(), "--to".to_owned(), "x".to_owned()]).await;
    assert!(error.contains("give --aggregator URL"), "{error}");
    let gateway = world.pki.identity(Role::Gateway, "rome", "gw");
    let mut flags = backup_flags(&world, &backup);
    *flags.last_mut().unwrap() = text(&gateway).to_owned();
    let error = refused(flags).await;
    assert!(error.contains("catchment-certs issue operator"), "{error}");
    let error = refused(backup_flags(&world, &data)).await;
    assert!(error.contains("use an empty or new folder"), "{error}");
    let error = refused(restore_flags(&backup, &data)).await;
    assert!(error.contains("holds no backup"), "{error}");
    world.aggregator.stop().await;
    done(offline.into()).await;
    let error = refused(restore_flags(&backup, &data)).await;
    assert!(error.contains("restore into an empty or new folder"), "{error}");
}

/// Starts a backup over the API.
async fn begin(world: &World, bytes_per_second_max: u64) -> Result<Streaming<BackupResponse>, Status> {
    let channel = query::channel(world.aggregator.addr(), &world.pki.operator());
    let request = BackupRequest { bytes_per_second_max, ..BackupRequest::default() };
    Ok(MaintenanceClient::new(channel).backup(request).await?.into_inner())
}

#[tokio::test]
async fn one_backup_at_a_time_and_one_that_hangs_up_makes_room() {
    let world = World::builder().start().await;
    // A byte a second: it ends in hours.
    let mut slow = begin(&world, 1).await.unwrap();
    let start = within("the list", slow.message()).await.unwrap().and_then(|response| response.kind);
    let Some(Kind::Start(start)) = start else { panic!("{start:?}") };
    assert!(start.store != 0 && start.files.len() == 1 && start.files[0].name.starts_with("catalog-"));
    assert!((now_ms() - start.taken_ms).abs() < 600_000);
    let busy = begin(&world, 0).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted);
    drop(slow);
    let mut whole =
        eventually("the next backup", async || begin(&world, 0).await.map_err(|status| status.to_string()))
            .await;
    let mut bytes = 0;
    while let Some(response) = within("the backup", whole.message()).await.unwrap() {
        match response.kind.unwrap() {
            Kind::Chunk(chunk) => bytes += chunk.content.len() as u64,
            Kind::End(end) => assert_eq!((end.files, end.bytes), (1, bytes)),
            Kind::Start(_) => {}
        }
    }
    assert!(bytes > 0);
}
