//! Data folders restored from a copy, truncated, or used twice. Acknowledged readings that still exist or were
//! delivered count once.

use std::{fs, path::Path};

use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    query,
    server::{Mode, Server},
    this_second,
    world::{Gateway, World},
};

/// Milliseconds between two readings: the first are in closed windows, the last in windows not yet open.
const SPREAD_MS: i64 = 120;
const MESSAGES: i64 = 50;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            // The folder is in use: files renamed or removed in the meantime are not in the copy.
            let _ = fs::copy(entry.path(), target);
        }
    }
}

fn put_back(copied: &Path, data: &Path) {
    fs::remove_dir_all(data).unwrap();
    copy(copied, data);
}

/// A gateway that also sends the state of open windows, with its metrics page.
async fn world() -> World {
    let live = "100ms".parse().unwrap();
    let change = move |settings: &mut catchment_gateway::Settings| {
        settings.live = Some(live);
        settings.http = Some(([127, 0, 0, 1], 0).into());
    };
    World::builder().gateway("berlin", "gw").settings(change).start().await
}

/// Sends readings of one series from some seconds ago to some seconds ahead; each phase has its own values.
async fn send(device: &mut Device, epoch: &str, from: i64, phase: i64) {
    device.reboot(epoch);
    for n in 0..MESSAGES {
        let value = (phase * MESSAGES + n) as f64 / 4.0;
        device.send(&Sample::one(from + n * SPREAD_MS + phase, "temperature", value)).await;
    }
    device.settle().await;
}

fn query(from: i64) -> Vec<QueryRequest> {
    let all = QueryRequest::new("temperature", from, from + 60_000);
    vec![all.clone().step(1000).by(&["device"]), all]
}

async fn epochs_begun(server: &Server, reasons: &[&str]) -> u64 {
    let page = server.metrics().await;
    let count = |reason: &&str| {
        let name = format!("catchment_gateway_epochs_begun_total{{reason=\"{reason}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
        line.parse::<u64>().unwrap()
    };
    reasons.iter().map(count).sum()
}

const REASONS: [&str; 2] = ["folder_went_back", "folder_is_doubled"];

#[tokio::test]
async fn a_folder_restored_from_a_copy_taken_while_stopped() {
    let mut world = world().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press", Protocol::Json);
    let (data, copied) = (world.gateways[0].server.data(), world.dir().join("copied"));
    send(&mut device, "before", from, 0).await;
    world.gateways[0].server.stop().await;
    copy(&data, &copied);
    world.gateways[0].server.start().await;
    send(&mut device, "between", from, 1).await;
    world.agrees(&query(from)).await;
    for (round, phase) in [("after", 2), ("after again", 3)] {
        world.gateways[0].server.stop().await;
        put_back(&copied, &data);
        world.gateways[0].server.start().await;
        send(&mut device, round, from, phase).await;
        world.agrees_without_claim(&query(from)).await;
        assert_eq!(epochs_begun(&world.gateways[0].server, &REASONS).await, 1);
    }
    world.gateways[0].server.stop().await;
    world.gateways[0].server.start().await;
    send(&mut device, "at the end", from, 4).await;
    world.agrees_without_claim(&query(from)).await;
    assert_eq!(epochs_begun(&world.gateways[0].server, &REASONS).await, 0, "the new epoch is kept");
}

#[tokio::test]
async fn a_folder_restored_from_a_copy_taken_while_in_use() {
    let mut world = world().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press", Protocol::Frames);
    let (data, copied) = (world.gateways[0].server.data(), world.dir().join("copied"));
    send(&mut device, "before", from, 0).await;
    let mut busy = world.device(0, "lathe", Protocol::Json);
    let (source, target) = (data.clone(), copied.clone());
    let sending = tokio::spawn(async move { send(&mut busy, "meanwhile", from, 1).await });
    tokio::task::spawn_blocking(move || copy(&source, &target)).await.unwrap();
    sending.await.unwrap();
    send(&mut device, "between", from, 2).await;
    world.agrees(&query(from)).await;

    world.gateways[0].server.stop().await;
    put_back(&copied, &data);
    world.aggregator.stop().await;
    // Two runs of the older folder before anything can detect that it is older.
    for (round, phase) in [("after", 3), ("later", 4)] {
        world.gateways[0].server.start().await;
        send(&mut device, round, from, phase).await;
        world.gateways[0].server.stop().await;
    }
    world.aggregator.start().await;
    world.gateways[0].server.start().await;
    send(&mut device, "at the end", from, 5).await;
    world.agrees_without_claim(&query(from)).await;
    assert_eq!(epochs_begun(&world.gateways[0].server, &REASONS).await, 1);
}

/// The loss is reported before the first batch, which has to wait: there is no room for another epoch.
#[tokio::test]
async fn a_new_epoch_without_room_reports_its_loss_before_it_waits() {
    let bound = |options: &mut catchment_aggregator::Options| options.epochs_per_gateway_max = Some(1);
    let mut world = World::builder().options(bound).gateway("berlin", "gw").start().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press", Protocol::Json);
    let (data, copied) = (world.gateways[0].server.data(), world.dir().join("copied"));
    send(&mut device, "before", from, 0).await;
    world.agrees(&query(from)).await;
    world.aggregator.stop().await;
    send(&mut device, "waiting", from, 1).await;
    world.gateways[0].server.stop().await;
    copy(&data, &copied);
    world.aggregator.start().await;
    world.gateways[0].server.start().await;
    send(&mut device, "between", from, 2).await;
    world.agrees(&query(from)).await;
    world.gateways[0].server.stop().await;
    put_back(&copied, &data);
    world.gateways[0].server.start().await;
    eventually("a result that does not claim to be complete", async || {
        let answer = world.query(&query(from)[1]).await.map_err(|status| status.to_string())?;
        let claims = answer.complete_until_ms.is_some() || answer.gaps == 0;
        if claims { Err(format!("{answer:?}")) } else { Ok(()) }
    })
    .await;
    let list = query::gateways(world.operator(), "").await.unwrap();
    assert!(list[0].lost_batches > 0, "{list:?}");
}

/// The original folder returns without a rollback, but the folder used in its place may hold readings that nobody
/// delivers.
#[tokio::test]
async fn a_folder_that_returns_after_another_was_used_in_its_place() {
    let mut world = world().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press", Protocol::Json);
    let (data, older, original) =
        (world.gateways[0].server.data(), world.dir().join("older"), world.dir().join("original"));
    send(&mut device, "before", from, 0).await;
    world.gateways[0].server.stop().await;
    copy(&data, &older);
    world.gateways[0].server.start().await;
    send(&mut device, "between", from, 1).await;
    world.agrees(&query(from)).await;
    world.gateways[0].server.stop().await;
    fs::rename(&data, &original).unwrap();
    for (round, phase, folder) in [("in its place", 2, older), ("back", 3, original)] {
        let _ = fs::remove_dir_all(&data);
        copy(&folder, &data);
        world.gateways[0].server.start().await;
        send(&mut device, round, from, phase).await;
        world.agrees_without_claim(&query(from)).await;
        assert_eq!(epochs_begun(&world.gateways[0].server, &REASONS).await, 1, "{round}");
        world.gateways[0].server.stop().await;
    }
}

/// Cuts bytes off the written end of each log in a folder.
fn cut_tails(data: &Path, bytes: usize) -> usize {
    let mut cut = 0;
    for shard in 0..2 {
        for log in ["journal", "outbox"] {
            let folder = data.join(format!("shard-{shard}")).join(log);
            let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let Some(last) = files.filter(|path| path.is_file()).max() else { continue };
            let mut content = fs::read(&last).unwrap();
            let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            let kept = end.saturating_sub(bytes).max(64);
            if kept < end {
                content[kept..].fill(0);
                fs::write(&last, content).unwrap();
                cut += 1;
            }
        }
    }
    cut
}

#[tokio::test]
async fn journal_and_outbox_that_both_lost_their_ends() {
    let mut world = world().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press", Protocol::Json);
    let (data, copied) = (world.gateways[0].server.data(), world.dir().join("copied"));
    send(&mut device, "before", from, 0).await;
    world.agrees(&query(from)).await;
    send(&mut device, "between", from, 1).await;
    world.agrees(&query(from)).await;
    // As after a kill: no checkpoint at the end.
    copy(&data, &copied);
    world.gateways[0].server.stop().await;
    put_back(&copied, &data);
    assert!(cut_tails(&data, 700) > 0);
    world.gateways[0].server.start().await;
    send(&mut device, "after", from, 2).await;
    world.agrees_without_claim(&query(from)).await;
}

#[tokio::test]
async fn a_folder_in_use_twice() {
    let mut world = world().await;
    let from = this_second() - 3000;
    let mut device = world.device(0, "press", Protocol::Json);
    send(&mut device, "before", from, 0).await;
    // Windows open at the time of the copy may count twice where the first one notices: see docs/delivery.md.
    world.agrees(&query(from)).await;
    let twin = world.dir().join("twin");
    copy(&world.gateways[0].server.data(), &twin.join("data"));
    let mut server = Server::new(world.gateways[0].server.program.clone(), Mode::Threads, &twin);
    server.start().await;
    world.gateways.push(Gateway { site: "berlin".to_owned(), name: "gw".to_owned(), server });
    let mut others = world.device(1, "press", Protocol::Json);
    for phase in 1..4 {
        send(&mut device, &format!("here {phase}"), from, phase).await;
        send(&mut others, &format!("there {phase}"), from, phase + 10).await;
    }
    world.agrees_without_claim(&query(from)).await;
    let begun = async |world: &World| {
        let mut begun = 0;
        for gateway in &world.gateways {
            begun += epochs_begun(&gateway.server, &REASONS).await;
        }
        begun
    };
    eventually("a copy notices that it is one of two", async || {
        if begun(&world).await > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    let before = begun(&world).await;
    for phase in 4..6 {
        world.aggregator.stop().await;
        world.aggregator.start().await;
        send(&mut device, &format!("here {phase}"), from, phase).await;
        send(&mut others, &format!("there {phase}"), from, phase + 10).await;
        world.agrees_without_claim(&query(from)).await;
    }
    assert_eq!(begun(&world).await, before, "both continue, whichever connects first");
}
