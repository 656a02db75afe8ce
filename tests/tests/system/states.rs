//! States: texts and booleans over each protocol, in the partials that the gateway delivers.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use catchment_gateway::batch_encoder;
use catchment_journal::{ReadEvent, ReadOnlyLog, RealDisk};
use catchment_partial::Partial;
use catchment_proto::{
    Batch,
    wire::{self, DeviceMessage, Readings, device_message::Kind},
};
use catchment_tests::{
    connection::{Connection, Protocol, frame},
    eventually::{eventually, within},
    model::QueryRequest,
    mqtt::{Client, ConnectOptions},
    world::World,
};
use prost::Message as _;
use serde_json::json;

const TS: i64 = 1_700_000_000_000;

/// The partials in a gateway's outboxes, merged by device and metric. The gateway does not run.
fn delivered(data: &Path) -> BTreeMap<(String, String), Partial> {
    let mut all: BTreeMap<_, Partial> = BTreeMap::new();
    for shard in std::fs::read_dir(data).unwrap().flatten() {
        let outbox = shard.path().join("outbox");
        let Some(log) = ReadOnlyLog::open(Arc::new(RealDisk), &outbox).ok().flatten() else { continue };
        let mut reader = log.read(log.start_position());
        let mut record = Vec::new();
        while let ReadEvent::Record(_) = reader.next(&mut record).unwrap() {
            let (_, bytes) = batch_encoder::split_record(&record).unwrap();
            let batch = Batch::try_from(wire::Batch::decode(bytes).unwrap()).unwrap();
            for entry in &batch.entries {
                let series = &batch.series[entry.series as usize];
                let name = (series.device.as_str().to_owned(), series.metric.as_str().to_owned());
                let partial = Partial::decode(&entry.body, entry.window.start()).unwrap();
                all.entry(name).or_default().merge(&partial);
            }
        }
    }
    all
}

async fn send_json(world: &World) {
    let mut connection = world.connect("json", Protocol::Json).await;
    let hello = r#"{"hello":{"epoch":"boot-1"}}"#;
    connection.line(hello).await.unwrap();
    assert_eq!(answer(&mut connection).await, json!({"welcome":{"epoch":"boot-1","ack":0}}));
    for (seq, mode) in (1..).zip(["auto", "manual", "auto", "auto"]) {
        let values = json!({"mode": mode, "speed": seq, "on": seq % 2 == 0, "oil": {"state": "ok"}});
        let line = json!({"seq": seq, "ts": TS + seq, "values": values}).to_string();
        // Sent again, it is the same message.
        for _ in 0..2 {
            connection.line(&line).await.unwrap();
        }
        // The repetition may have an answer of its own.
        while answer(&mut connection).await != json!({"ack": seq}) {}
    }
    connection.line(r#"{"seq":9,"values":{"mode":"two\nlines","speed":5}}"#).await.unwrap();
    let mut answers = Vec::new();
    while answers.last() != Some(&json!({"ack": 9})) {
        answers.push(answer(&mut connection).await);
    }
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer["error"]["code"].as_str()).collect();
    assert_eq!(refused, ["bad_state"]);
}

async fn answer(connection: &mut Connection) -> serde_json::Value {
    within("an answer", connection.answer()).await.unwrap().expect("the connection stays open")
}

async fn send_lines(world: &World) {
    let mut connection = world.connect("lines", Protocol::Json).await;
    let lines =
        format!("m,k=v mode=\"auto\",on=T,n=1i {0}\nm,k=v mode=\"it's \\\"off\\\"\" {0}\n", TS * 1_000_000);
    connection.send(lines.as_bytes()).await.unwrap();
    connection.finish().await.unwrap();
    assert_eq!(connection.rest().await.unwrap(), "", "nothing is answered");
}

async fn send_mqtt(world: &World) {
    let identity = world.pki.device("berlin", "mqtt");
    let mut client = Client::open(world.gateway_addr(), &identity, None, None).await.unwrap();
    client.connect(ConnectOptions::clean(5, "c")).await.unwrap();
    let published = [
        ("telemetry/mode", "auto", 0),
        ("telemetry/mode", " half open\n", 0),
        ("telemetry/on", "ON", 0),
        ("telemetry/on", "off", 0),
        ("telemetry", r#"{"mode":"auto","on":true}"#, 0),
        ("telemetry/mode", "a\u{7}", 0x99),
        ("telemetry/mode", "nan", 0x99),
        ("influx", "line mode=\"auto\"", 0),
    ];
    for (id, (topic, payload, reason)) in (1..).zip(published) {
        client.publish(1, id, topic, payload).await.unwrap();
        assert_eq!(within("PUBACK", client.acknowledgement()).await, (4, id, reason), "{topic} {payload}");
    }
}

async fn send_frames(world: &World) {
    let mut connection = world.connect("frames", Protocol::Frames).await;
    let state = |value, state: &str| wire::Reading {
        metric: "mode".to_owned(),
        time_ns: TS * 1_000_000,
        value,
        state: state.to_owned(),
        ..wire::Reading::default()
    };
    // The third would be the number 0 to a gateway that knows no states.
    let readings = vec![state(f64::NAN, "auto"), state(1.0, "true"), state(0.0, "auto")];
    let kind = Some(Kind::Readings(Readings { readings, ..Readings::default() }));
    connection.send(&frame(&DeviceMessage { kind })).await.unwrap();
    assert_eq!(answer(&mut connection).await["error"]["code"], "bad_state");
    assert_eq!(answer(&mut connection).await, json!({"ack": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_every_protocol_are_in_the_partials() {
    let mut world = World::small().await;
    world.aggregator.link.cut();
    tokio::join!(send_json(&world), send_lines(&world), send_mqtt(&world), send_frames(&world));
    // Windows of the gateway's clock may be open: a restart reads them from its checkpoint, and closes them.
    let expected = [
        ("frames", "mode", 1, 2),
        ("json", "mode", 0, 4),
        ("json", "oil_state", 0, 4),
        ("json", "on", 4, 4),
        ("json", "speed", 5, 0),
        ("lines", "m_mode", 0, 2),
        ("lines", "m_n", 1, 0),
        ("lines", "m_on", 1, 1),
        ("mqtt", "line_mode", 0, 1),
        ("mqtt", "mode", 0, 3),
        ("mqtt", "on", 3, 3),
    ];
    let gateway = &mut world.gateways[0].server;
    gateway.stop().await;
    gateway.start().await;
    let data = gateway.data();
    eventually("all windows are closed", async || {
        let found = delivered(&data);
        let readings: u64 = found.values().map(|partial| partial.count() + partial.state_count()).sum();
        let due = expected.iter().map(|(.., numbers, states)| numbers + states).sum::<u64>();
        if readings == due { Ok(()) } else { Err(format!("{readings} of {due}: {:?}", found.keys())) }
    })
    .await;
    world.gateways[0].server.stop().await;
    let found = delivered(&data);
    let counts: Vec<_> = found
        .iter()
        .map(|((device, metric), partial)| (&**device, &**metric, partial.count(), partial.state_count()))
        .collect();
    assert_eq!(counts, expected);
    world.gateways[0].server.start().await;
    world.aggregator.link.resume();
    // The aggregator takes them, and answers with the numbers beside the states.
    for seq in 1..5 {
        world.note("json", &[], "speed", TS + seq, seq as f64);
        world.note("json", &[], "on", TS + seq, if seq % 2 == 0 { 1.0 } else { 0.0 });
    }
    let query = |metric| QueryRequest::new(metric, TS, TS + 1000);
    let mut on = query("on");
    on.matching = catchment_tests::model::labels(&[("device", "json")]);
    world.agrees(&[query("speed"), on]).await;
}
