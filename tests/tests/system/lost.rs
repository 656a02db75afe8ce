//! What an aggregator has lost, or was told of times that have not come: answers say no more than what is so.

use std::{fs, path::Path};

use catchment_certs::Role;
use catchment_tests::{
    ask,
    connection::Protocol,
    delivery::Delivery,
    device::Sample,
    eventually::eventually,
    model::Question,
    now_ms,
    process::run,
    this_second,
    world::{WIDTH_MS, World},
};
use serde_json::Value;

fn copy(from: &Path, to: &Path) {
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

/// Sends a reading of the present, and waits until its window is answered as complete; its time.
async fn deliver(world: &World) -> i64 {
    let time = this_second();
    let mut device = world.device(0, "press-1", Protocol::Json);
    device.send(&Sample::one(time, "temperature", 1.0)).await;
    device.settle().await;
    let window = Question::new("temperature", time - time.rem_euclid(WIDTH_MS), time + 1);
    world.complete(&window, time + WIDTH_MS).await;
    time
}

/// The answer of `catchment query` as JSON.
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
async fn an_older_copy_of_the_aggregators_folder_does_not_claim_what_it_lacks() {
    let mut world = World::small().await;
    let first = deliver(&world).await;
    world.aggregator.stop().await;
    let (data, older) = (world.aggregator.data(), world.dir().join("older"));
    copy(&data, &older);
    world.aggregator.start().await;
    let lost = deliver(&world).await;
    deliver(&world).await;
    world.aggregator.stop().await;
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&older, &data).unwrap();
    world.aggregator.start().await;

    // Nothing is delivered any more, and the gateway's report shows what is missing.
    let gap = eventually("the gap is known", async || {
        let answer = queried(&world, first - 1000, now_ms()).await;
        match answer["gaps"].get(0) {
            Some(gap) => Ok((answer.clone(), gap.clone())),
            None => Err(answer.to_string()),
        }
    });
    let (answer, gap) = gap.await;
    assert_eq!((gap["site"].as_str(), gap["gateway"].as_str()), (Some("berlin"), Some("gw")));
    assert!(gap["batches"].as_u64() > Some(0), "{gap}");
    let from = gap["from"].as_str().unwrap();
    assert!(answer["complete_until"].as_str().unwrap() <= from, "{answer}");

    // What comes is complete again; what was before the loss is as it was.
    let later = deliver(&world).await;
    let window = |time: i64| (time - time.rem_euclid(WIDTH_MS), time - time.rem_euclid(WIDTH_MS) + WIDTH_MS);
    let complete = eventually("a later range is complete", async || {
        let answer = queried(&world, window(later).0, window(later).1).await;
        let whole = answer.get("gaps").is_none() && answer["complete_until"].as_str() > Some(from);
        if whole { Ok(()) } else { Err(answer.to_string()) }
    });
    complete.await;
    let touched = queried(&world, window(lost).0, window(lost).1).await;
    assert!(touched["complete_until"].as_str().unwrap() <= from, "{touched}");
    let before = queried(&world, window(first).0, window(first).1).await;
    assert!(before.get("gaps").is_none() && before["complete_until"].as_str() > Some(from), "{before}");
    let list = ask::gateways(world.operator(), "").await.unwrap();
    assert_eq!(list[0].lost_batches, gap["batches"].as_u64().unwrap());
}

#[tokio::test]
async fn a_gateway_from_2223_claims_nothing_beside_an_honest_one() {
    let world = World::small().await;
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let channel = ask::channel(world.aggregator.addr(), &identity);
    let (watermark_ms, created_ms) = (7_984_137_600_000, 7_258_118_400_000);
    let time = deliver(&world).await;
    let mut rogue = Delivery::start(channel, 9, created_ms).await;
    rogue.deliver(time, 3.0, time + WIDTH_MS).await;
    rogue.deliver(time, 4.0, watermark_ms).await;

    let honest = Question::new("temperature", time - 5000, time + 1000).matching(&[("site", "berlin")]);
    world.complete(&honest, time + WIDTH_MS).await;
    let answer = world.ask(&Question::new("temperature", time - 5000, time + 1000)).await.unwrap();
    assert_eq!(answer.complete_until_ms, Some(time + WIDTH_MS), "as far as the rogue was believed");
    let list = ask::gateways(world.operator(), r#"{site="rome"}"#).await.unwrap();
    assert!(list[0].clock_ahead_ms.unwrap() > watermark_ms - now_ms() - 60_000, "{list:?}");
    assert!(list[0].lag_ms.unwrap() >= 0 && list[0].watermark_ms == Some(time + WIDTH_MS), "{list:?}");
}
