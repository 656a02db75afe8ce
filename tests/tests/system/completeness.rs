//! Completeness, as the real programs say it: who is behind, what was corrected late or refused, who is retired.

use catchment_tests::{
    connection::Protocol, device::Sample, eventually::eventually, now_ms, process::run, world::World,
};
use serde_json::Value;

/// Runs the operator's tool; returns its output, or what it says on standard error.
async fn tool(world: &World, arguments: &[&str]) -> Result<String, String> {
    let (url, identity) = (format!("https://{}", world.aggregator.addr()), world.pki.operator());
    let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    all.extend(["--aggregator".to_owned(), url, "--identity".to_owned(), identity.display().to_string()]);
    let run = move || run("catchment", &all.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

async fn json(world: &World, arguments: &[&str]) -> Value {
    let output = tool(world, &[arguments, &["--format", "json"]].concat()).await.unwrap();
    serde_json::from_str(&output).unwrap()
}

/// Waits until an answer over the last hour satisfies a condition.
async fn answer(world: &World, what: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let answer = json(world, &["query", "temperature", "--last", "1h"]).await;
        if is_right(&answer) { Ok(answer) } else { Err(answer.to_string()) }
    })
    .await
}

#[tokio::test]
async fn answers_name_late_corrections_and_refused_readings() {
    let world = World::builder().gateway("berlin", "gw").processes().start().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let time_ms = now_ms() / 1000 * 1000;
    device.send(&Sample::one(time_ms + 100, "temperature", 20.0)).await;
    device.settle().await;
    answer(&world, "a complete window", |answer| {
        let until = answer["completeness"]["gateways"][0]["complete_until"].as_str();
        until.is_some_and(|until| until > "2020") && answer["series"][0]["points"][0]["count"] == 1
    })
    .await;
    // Late for the window once that is delivered, and three readings of a time that is not taken.
    tokio::time::sleep(std::time::Duration::from_millis(2_000)).await;
    device.send(&Sample::one(time_ms + 200, "temperature", 40.0)).await;
    device.settle().await;
    let mut plain = world.connect("press-2", Protocol::Json).await;
    plain.line(r#"{"ts":1000,"values":{"a":1,"b":2,"c":3}}"#).await.unwrap();
    plain.line(r#"{"temperature":7}"#).await.unwrap();
    let told = answer(&world, "what was corrected and refused", |answer| {
        let completeness = &answer["completeness"];
        completeness["late_corrections"] == 1 && completeness["refused_readings"] == 3
    })
    .await;
    assert_eq!(told["completeness"]["expected"], 1, "{told}");
    assert_eq!(told["completeness"]["gateways"][0]["connected"], true, "{told}");
    let table = tool(&world, &["query", "temperature", "--last", "1h"]).await.unwrap();
    assert!(table.contains("late corrections: 1; refused readings: at least 3\n"), "{table}");
}

#[tokio::test]
async fn a_gateway_that_is_killed_is_behind_until_it_is_retired() {
    let mut world = World::builder().gateway("berlin", "gw").gateway("lyon", "gw").processes().start().await;
    for gateway in 0..2 {
        let mut device = world.device(gateway, "press-1", Protocol::Json);
        device.send(&Sample::one(now_ms(), "temperature", 20.0)).await;
        device.settle().await;
    }
    let both =
        |answer: &Value| answer["completeness"]["expected"] == 2 && answer["complete_until"].is_string();
    answer(&world, "both gateways", both).await;
    let connected = tool(&world, &["gateways", "retire", "lyon/gw"]).await.unwrap_err();
    assert!(connected.contains("connected"), "{connected}");
    let unknown = tool(&world, &["gateways", "retire", "lyon/other"]).await.unwrap_err();
    assert!(unknown.contains("catchment gateways"), "{unknown}");

    world.gateways[1].server.kill();
    let retired = eventually("the gateway is not connected", async || {
        tool(&world, &["gateways", "retire", "lyon/gw"]).await
    })
    .await;
    assert_eq!(retired, "lyon/gw is retired: it does not count in completeness\n");
    // Also after the aggregator was killed; and the other gateway moves the time on.
    world.aggregator.kill();
    world.aggregator.start().await;
    let alone = |answer: &Value| {
        let until = answer["complete_until"].as_str().filter(|_| answer["completeness"]["expected"] == 1);
        until.map(str::to_owned)
    };
    let first = alone(&answer(&world, "the other gateway alone", |answer| alone(answer).is_some()).await);
    // Whole seconds, so their order is that of the texts.
    answer(&world, "a later time", |answer| alone(answer) > first).await;
    let list = json(&world, &["gateways"]).await;
    assert_eq!((&list[0]["retired"], &list[1]["retired"]), (&Value::Null, &Value::Bool(true)), "{list}");

    world.gateways[1].server.start().await;
    answer(&world, "it has come back", both).await;
    let list = json(&world, &["gateways"]).await;
    assert_eq!(list[1]["retired"], Value::Null, "{list}");
}
