//! Losses of an aggregator, and watermarks from the future: results claim no more completeness than there is.

use std::{fs, path::Path};

use catchment_certs::Role;
use catchment_tests::{
    connection::Protocol,
    delivery::Delivery,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    now_ms,
    process::run,
    query, this_second,
    world::{WIDTH_MS, World},
};
use serde_json::{Value, json};

/// 2023-11-14T22:13:20Z.
const TS: i64 = 1_700_000_000_000;

/// Copies a folder that nobody uses.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Sends a current reading, waits until its window is complete in a result, and returns its time.
async fn deliver(world: &World, device: &mut Device) -> i64 {
    let time = this_second();
    device.send(&Sample::one(time, "temperature", 1.0)).await;
    device.settle().await;
    let window = QueryRequest::new("temperature", time - time.rem_euclid(WIDTH_MS), time + 1);
    world.complete(&window, time + WIDTH_MS).await;
    time
}

/// The JSON result of `catchment query`.
async fn queried(world: &World, from_ms: i64, to_ms: i64) -> Value {
    let address = format!("https://{}", world.aggregator.addr());
    let identity = world.pki.operator().display().to_string();
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (from, to) = (seconds(from_ms), seconds(to_ms));
    let asking = move || {
        let flags = [
            "--aggregator",
            &address,
            "--identity",
            &identity,
            "--from",
            &from,
            "--to",
            &to,
            "--format",
            "json",
        ];
        run("catchment", &[&["query", "temperature"], flags.as_slice()].concat(), "")
    };
    let output = tokio::task::spawn_blocking(asking).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn an_older_copy_of_the_aggregators_folder_does_not_claim_missing_readings() {
    let mut world = World::builder().start().await;
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let open = async |world: &World| {
        Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, now_ms()).await
    };
    let time = |number: i64| TS + number * WIDTH_MS;
    let shown = |number: i64| Value::from(format!("2023-11-14T22:13:{}Z", 20 + number));
    let one = async |delivery: &mut Delivery, number: i64| {
        delivery.deliver(time(number), 1.0, time(number + 1)).await;
    };
    one(&mut open(&world).await, 1).await;
    world.aggregator.stop().await;
    let (data, older) = (world.aggregator.data(), world.dir().join("older"));
    copy(&data, &older);
    world.aggregator.start().await;
    let mut delivery = open(&world).await;
    for number in 2..=4 {
        one(&mut delivery, number).await;
    }
    drop(delivery);
    let whole = queried(&world, time(0), time(9)).await;
    assert!(whole.get("gaps").is_none(), "{whole}");
    assert_eq!(whole["series"][0]["points"][0]["count"], 4);
    world.aggregator.stop().await;

    fs::remove_dir_all(&data).unwrap();
    fs::rename(&older, &data).unwrap();
    world.aggregator.start().await;
    let mut delivery = open(&world).await;
    delivery.skip(3, time(2), time(5));
    for number in 5..=7 {
        one(&mut delivery, number).await;
    }
    let answer = queried(&world, time(0), time(9)).await;
    assert_eq!(answer["complete_until"], shown(2), "{answer}");
    let gap = json!({"site": "rome", "gateway": "gw", "from": shown(2), "to": shown(5), "batches": 3});
    assert_eq!(answer["gaps"], json!([gap]));
    assert_eq!(answer["series"][0]["points"][0]["count"], 4, "1, and 5 to 7");
    for (from, to) in [(0, 2), (5, 9)] {
        let answer = queried(&world, time(from), time(to)).await;
        assert_eq!(answer["complete_until"], shown(8), "{answer}");
        assert!(answer.get("gaps").is_none(), "{answer}");
    }
    let list = query::gateways(world.operator(), "").await.unwrap();
    assert_eq!(list[0].lost_batches, 3);
}

/// A device sends readings from an hour ago, then the aggregator is rolled back to before that: no query over that hour
/// is complete. The gateway's outbox has already released a part of these readings, which nobody can deliver again.
#[tokio::test]
async fn late_readings_that_an_older_copy_lacks_are_not_claimed() {
    const WINDOWS: i64 = 600;
    let mut world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.device_open_windows_max = Some(200_000);
            settings.outbox_keep = Some("0s".parse().unwrap());
        })
        .start()
        .await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let first = deliver(&world, &mut device).await;
    world.aggregator.stop().await;
    let (data, older) = (world.aggregator.data(), world.dir().join("older"));
    copy(&data, &older);
    world.aggregator.start().await;
    let hour = first - first.rem_euclid(WIDTH_MS) - 3_600_000;
    // Two readings in each window of each series, so that the readings exceed one batch.
    for half in 0..2 * WINDOWS {
        let mut sample = Sample::one(hour + half * WIDTH_MS / 2, "temperature", 5.0);
        sample
            .values
            .extend((0..500).map(|number| (format!("voltage_{number}"), (half * 7 + number) as f64)));
        device.send(&sample).await;
    }
    device.settle().await;
    let late = QueryRequest::new("temperature", hour, hour + WINDOWS * WIDTH_MS);
    eventually("late readings are delivered", async || {
        let shown = queried(&world, late.from_ms, late.to_ms).await;
        let whole = shown["series"][0]["points"][0]["count"] == 2 * WINDOWS;
        if whole { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    deliver(&world, &mut device).await;
    world.aggregator.stop().await;

    fs::remove_dir_all(&data).unwrap();
    fs::rename(&older, &data).unwrap();
    world.aggregator.start().await;
    let list = eventually("the gap is noticed", async || {
        let list = query::gateways(world.operator(), "").await.unwrap();
        if list[0].lost_batches > 0 { Ok(list) } else { Err(format!("{list:?}")) }
    })
    .await;
    let shown = queried(&world, late.from_ms, late.to_ms).await;
    assert_eq!(shown["gaps"][0]["batches"], list[0].lost_batches, "{shown}");
    let answer = query::aggregate(world.operator(), &late).await.unwrap();
    assert_eq!(answer.complete_until_ms, Some(hour), "{answer:?}");
    // The gateway has always stated what its batches hold, so the time before is known to be complete.
    let before = queried(&world, hour - 3_600_000, hour).await;
    assert!(before.get("gaps").is_none(), "{before}");
}

#[tokio::test]
async fn a_gateway_from_2223_claims_nothing_beside_an_honest_one() {
    let world = World::small().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let channel = query::channel(world.aggregator.addr(), &identity);
    let (watermark_ms, created_ms) = (7_984_137_600_000, 7_258_118_400_000);
    let time = deliver(&world, &mut device).await;
    let mut rogue = Delivery::start(channel, 9, created_ms).await;
    rogue.deliver(time, 3.0, time + WIDTH_MS).await;
    rogue.deliver(time, 4.0, watermark_ms).await;

    let honest = QueryRequest::new("temperature", time - 5000, time + 1000).matching(&[("site", "berlin")]);
    world.complete(&honest, time + WIDTH_MS).await;
    let answer = world.query(&QueryRequest::new("temperature", time - 5000, time + 1000)).await.unwrap();
    assert_eq!(answer.complete_until_ms, Some(time + WIDTH_MS), "as far as the rogue gateway was trusted");
    let list = query::gateways(world.operator(), r#"{site="rome"}"#).await.unwrap();
    assert!(list[0].clock_ahead_ms.unwrap() > watermark_ms - now_ms() - 60_000, "{list:?}");
    assert!(list[0].lag_ms.unwrap() >= 0 && list[0].watermark_ms == Some(time + WIDTH_MS), "{list:?}");
}

/// Runs `catchment-aggregator store` on a stopped aggregator's folder; returns status and output.
async fn store_command(world: &World, command: &'static str) -> (Option<i32>, String) {
    let data = world.aggregator.data().display().to_string();
    let run = move || run("catchment-aggregator", &["store", command, "--data", &data], "");
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn lost_windows_make_a_gap_of_their_time_alone() {
    let mut world = World::builder().start().await;
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let time = |number: i64| TS + number * WIDTH_MS;
    // Twelve days later, in a table of its own.
    let later = 1_036_800_000 / WIDTH_MS;
    {
        let channel = query::channel(world.aggregator.addr(), &identity);
        let mut delivery = Delivery::start(channel, 9, now_ms()).await;
        for number in [1, 2, 3, later, later + 1] {
            delivery.deliver(time(number), 1.0, time(number + 1)).await;
        }
    }
    world.aggregator.stop().await;
    let tables = fs::read_dir(world.aggregator.data().join("tables")).unwrap();
    let mut windows: Vec<_> = tables
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("windows+"))
        .collect();
    windows.sort();
    assert!(windows.len() >= 2, "{windows:?}");
    fs::remove_file(&windows[0]).unwrap();
    let name = windows[0].file_name().unwrap().to_str().unwrap();
    let (status, found) = store_command(&world, "verify").await;
    assert!(status == Some(1) && found.contains(name) && found.contains("is missing"), "{found}");
    for repaired in [false, true] {
        if repaired {
            let (status, done) = store_command(&world, "repair").await;
            assert!(status == Some(0) && done.contains("lost: "), "{done}");
        }
        world.aggregator.start().await;
        let answer = queried(&world, time(0), time(9)).await;
        assert_eq!(answer["complete_until"], "2023-11-14T22:13:21Z", "repaired: {repaired}: {answer}");
        assert_eq!(answer["gaps"][0]["from"], "2023-11-14T22:13:21Z", "{answer}");
        let answer = queried(&world, time(later), time(later + 9)).await;
        assert!(answer.get("gaps").is_none() && !answer["complete_until"].is_null(), "{answer}");
        assert_eq!(answer["series"][0]["points"][0]["count"], 2);
        world.aggregator.stop().await;
    }
    let (status, found) = store_command(&world, "verify").await;
    assert_eq!(status, Some(0), "{found}");
}
