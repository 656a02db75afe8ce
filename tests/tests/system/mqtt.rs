//! MQTT according to the standards: acknowledgements across cuts and kills, sessions, refusals.

use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::{eventually, within},
    model::QueryRequest,
    mqtt::{Client, ConnectOptions, Packet, packet, publish, release, set_dup, text},
    world::World,
};

/// A second in the past: the time of all readings here.
const TS: i64 = 1_700_000_000_000;
const TOPIC: &str = "telemetry";
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBCOMP: u8 = 7;

/// One reading of `m`.
fn reading(value: f64) -> String {
    format!(r#"{{"ts":{TS},"values":{{"m":{value}}}}}"#)
}

fn all() -> [QueryRequest; 1] {
    [QueryRequest::new("m", TS, TS + 1000)]
}

/// A connection of a device to the first gateway, before CONNECT.
async fn dial(world: &World, device: &str) -> Client {
    let identity = world.pki.device("berlin", device);
    // The gateway may still be starting.
    eventually("a connection", async || {
        Client::open(world.gateway_addr(), &identity, None, None).await.map_err(|error| error.to_string())
    })
    .await
}

/// Connects a client of a device; also returns whether a session was present.
async fn client(world: &World, device: &str, options: ConnectOptions<'_>) -> (Client, bool) {
    let mut client = dial(world, device).await;
    let (present, code) = within("CONNACK", client.connect(options)).await.unwrap();
    assert_eq!(code, 0);
    (client, present)
}

async fn processes() -> World {
    World::builder().gateway("berlin", "gw").processes().start().await
}

#[tokio::test]
async fn an_acknowledged_message_survives_a_kill() {
    let mut world = processes().await;
    for version in [4, 5] {
        let (mut client, _) = client(&world, "press-1", ConnectOptions::clean(version, "c")).await;
        for id in 1..=20_u16 {
            client.publish(1, id, TOPIC, &reading(id.into())).await.unwrap();
            assert_eq!(client.acknowledgement().await, (PUBACK, id, 0));
            world.note("press-1", &[], "m", TS, id.into());
        }
        world.gateways[0].server.kill();
        world.gateways[0].server.start().await;
    }
    world.agrees(&all()).await;
}

#[tokio::test]
async fn qos_2_counts_once_across_cuts_and_kills() {
    let mut world = processes().await;
    for version in [4, 5] {
        let name = format!("press-{version}");
        let options = ConnectOptions::kept(version, "c");
        let (mut mqtt, present) = client(&world, &name, options).await;
        assert!(!present);
        for round in 0..6_u16 {
            // The identifier is reused once it was completed.
            let (id, value) = (1 + round % 2, f64::from(round));
            mqtt.publish(2, id, TOPIC, &reading(value)).await.unwrap();
            world.note(&name, &[], "m", TS, value);
            if round % 3 != 0 {
                assert_eq!(mqtt.acknowledgement().await, (PUBREC, id, 0));
            }
            if round % 2 == 0 {
                world.gateways[0].server.kill();
                world.gateways[0].server.start().await;
            }
            // Resent on a new connection, as by a client that has not seen PUBREC; then again on that one.
            let (mut next, present) = client(&world, &name, options).await;
            assert!(present, "round {round}");
            for _ in 0..2 {
                next.send(&set_dup(publish(version, 2, id, TOPIC, &reading(value)))).await.unwrap();
                assert_eq!(next.acknowledgement().await, (PUBREC, id, 0));
            }
            // PUBREL whose PUBCOMP is lost: resent on the next connection.
            next.send(&release(id)).await.unwrap();
            if round % 2 == 1 {
                drop(next);
                world.gateways[0].server.kill();
                world.gateways[0].server.start().await;
                next = client(&world, &name, options).await.0;
                next.send(&release(id)).await.unwrap();
            }
            assert_eq!(next.acknowledgement().await, (PUBCOMP, id, 0));
            mqtt = next;
        }
    }
    world.agrees(&[all()[0].clone().by(&["device"])]).await;
}

#[tokio::test]
async fn sessions_are_kept_and_forgotten_as_requested() {
    let world = World::small().await;
    for version in [4, 5] {
        let device = format!("press-{version}");
        let present = async |options| client(&world, &device, options).await.1;
        assert!(!present(ConnectOptions::kept(version, "a")).await);
        assert!(present(ConnectOptions::kept(version, "a")).await);
        assert!(!present(ConnectOptions::kept(version, "b")).await, "another client");
        assert!(!present(ConnectOptions::clean(version, "a")).await, "a clean start forgets");
        assert!(!present(ConnectOptions::kept(version, "a")).await);
    }
    // Version 5: resumes the session and ends it with the connection.
    let last = ConnectOptions { expiry: 0, ..ConnectOptions::kept(5, "a") };
    let (mut mqtt, _) = client(&world, "press-5", ConnectOptions::kept(5, "a")).await;
    mqtt.publish(2, 1, TOPIC, &reading(1.0)).await.unwrap();
    assert_eq!(mqtt.acknowledgement().await.0, PUBREC);
    world.note("press-5", &[], "m", TS, 1.0);
    let (mut mqtt, present) = client(&world, "press-5", last).await;
    assert!(present);
    mqtt.send(&set_dup(publish(5, 2, 1, TOPIC, &reading(1.0)))).await.unwrap();
    assert_eq!(mqtt.acknowledgement().await.0, PUBREC);
    assert!(!client(&world, "press-5", last).await.1);
    // Or ends it with DISCONNECT.
    let (mut mqtt, _) = client(&world, "press-5", ConnectOptions::kept(5, "a")).await;
    mqtt.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(mqtt.end().await, None);
    assert!(!client(&world, "press-5", last).await.1);
    // A client that has lost its state reuses its identifiers: those are new messages.
    let (mut mqtt, _) = client(&world, "press-4", ConnectOptions::kept(4, "a")).await;
    mqtt.publish(2, 1, TOPIC, &reading(2.0)).await.unwrap();
    assert_eq!(mqtt.acknowledgement().await.0, PUBREC);
    let (mut mqtt, present) = client(&world, "press-4", ConnectOptions::kept(4, "a")).await;
    assert!(present);
    mqtt.publish(2, 1, TOPIC, &reading(4.0)).await.unwrap();
    assert_eq!(mqtt.acknowledgement().await.0, PUBREC);
    world.note("press-4", &[], "m", TS, 2.0);
    world.note("press-4", &[], "m", TS, 4.0);
    world.agrees(&all()).await;
}

#[tokio::test]
async fn a_client_replaces_only_its_own_session() {
    let mut world = World::small().await;
    for version in [4, 5] {
        let options = ConnectOptions::clean(version, "c");
        let (mut first, _) = client(&world, "press-1", options).await;
        let (mut other_client, _) = client(&world, "press-1", ConnectOptions::clean(version, "d")).await;
        let (mut other_device, _) = client(&world, "press-2", options).await;
        let (mut second, _) = client(&world, "press-1", options).await;
        assert_eq!(first.end().await, (version == 5).then_some(0x8e));
        for client in [&mut other_client, &mut other_device, &mut second] {
            client.send(&[0xc0, 0]).await.unwrap();
            let pong = within("PINGRESP", client.packet()).await.unwrap();
            assert_eq!(pong, Some(Packet { first: 0xd0, body: vec![] }));
        }
    }
    let (mut stopped, _) = client(&world, "press-1", ConnectOptions::clean(5, "c")).await;
    world.gateways[0].server.stop().await;
    assert_eq!(stopped.end().await, Some(0x8b), "the gateway stops");
}

#[tokio::test]
async fn a_silent_client_is_disconnected() {
    let world = World::small().await;
    for version in [4, 5] {
        let (mut silent, _) = client(
            &world,
            "press-1",
            ConnectOptions { keep_alive: 1, ..ConnectOptions::clean(version, "c") },
        )
        .await;
        assert_eq!(silent.end().await, (version == 5).then_some(0x8d));
    }
}

#[tokio::test]
async fn many_messages_in_flight_are_acknowledged_in_order() {
    let world = World::small().await;
    for version in [4, 5] {
        let (mut client, _) = client(&world, "press-1", ConnectOptions::clean(version, "c")).await;
        let mut bytes = Vec::new();
        for id in 1..=100_u16 {
            bytes.extend(publish(version, 1 + (id % 2) as u8, id, TOPIC, &reading(id.into())));
            world.note("press-1", &[], "m", TS, id.into());
        }
        client.send(&bytes).await.unwrap();
        for id in 1..=100_u16 {
            assert_eq!(client.acknowledgement().await, (PUBACK + (id % 2) as u8, id, 0));
        }
    }
    world.agrees(&all()).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_no_longer_read_and_disturbs_nobody() {
    let world = World::small().await;
    let identity = world.pki.device("berlin", "deaf");
    let mut deaf = Client::open(world.gateway_addr(), &identity, None, Some(4096)).await.unwrap();
    within("CONNACK", deaf.connect(ConnectOptions::clean(4, "c"))).await.unwrap();
    let flood = publish(4, 1, 7, "telemetry/deaf", "1").repeat(1000);
    let flooding = tokio::spawn(async move {
        // Ends with the gateway, which eventually stops reading this client.
        while deaf.send(&flood).await.is_ok() {}
    });
    let mut device = world.device(0, "press-1", Protocol::Json);
    for n in 0..20 {
        device.send(&Sample::one(TS, "m", f64::from(n))).await;
    }
    device.settle().await;
    let (mut sibling, _) = client(&world, "deaf", ConnectOptions::clean(4, "d")).await;
    sibling.publish(1, 1, TOPIC, &reading(1.0)).await.unwrap();
    assert_eq!(sibling.acknowledgement().await, (PUBACK, 1, 0));
    world.note("deaf", &[], "m", TS, 1.0);
    world.agrees(&all()).await;
    flooding.abort();
}

#[tokio::test]
async fn topics_carry_json_values_and_line_protocol() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.mqtt = Some(catchment_gateway::config::MqttSettings {
                topics: Some(
                    toml::from_str(
                        "'factory/+/{line}/{metric}' = 'value'\n'sensors/#' = { payload = 'json', labels = { kind = 'x' } }",
                    )
                    .unwrap(),
                ),
                ..Default::default()
            });
        })
        .start()
        .await;
    let now = catchment_tests::now_ms();
    let (mut client, _) = client(&world, "press-1", ConnectOptions::clean(5, "c")).await;
    let line = format!("env,room=3 t=1,h=2i,on=t,name=\"x\" {TS}000000\nenv t=5 {TS}000000\n");
    let nested = format!(r#"[{{"ts":{TS},"values":{{"oil":{{"temp":2}}}}}}]"#);
    for (id, (topic, payload, code)) in (1..).zip([
        ("v1/devices/me/telemetry", reading(3.0).as_str(), 0),
        ("telemetry/direct", "21.5", 0),
        ("telemetry/open", "true", 0),
        ("influx", &line, 0),
        ("factory/hall/7/speed", " 40 ", 0),
        ("sensors/a/b/c", &nested, 0),
        ("factory/hall/speed", "40", 0x90),
        ("telemetry/direct", "23.4 C", 0x99),
        ("telemetry/a/b", "1", 0x90),
    ]) {
        client.publish(1, id, topic, payload).await.unwrap();
        assert_eq!(client.acknowledgement().await, (PUBACK, id, code), "{topic}");
    }
    let room = [("room", "3")];
    for (own, metric, value) in [
        (&[][..], "m", 3.0),
        (&room, "env_t", 1.0),
        (&room, "env_h", 2.0),
        (&room, "env_on", 1.0),
        (&[], "env_t", 5.0),
        (&[("kind", "x")], "oil_temp", 2.0),
    ] {
        world.note("press-1", own, metric, TS, value);
    }
    for (own, metric, value) in
        [(&[][..], "direct", 21.5), (&[], "open", 1.0), (&[("line", "7")], "speed", 40.0)]
    {
        world.note("press-1", own, metric, now, value);
    }
    let at = |metric| QueryRequest::new(metric, TS, TS + 1000).by(&["room", "kind"]);
    let present = |metric| {
        QueryRequest::new(metric, now - 60_000, now + 600_000).by(&["line"]).aggregates(&["count", "sum"])
    };
    world
        .agrees(&[
            at("m"),
            at("env_t"),
            at("env_h"),
            at("env_on"),
            at("oil_temp"),
            present("direct"),
            present("open"),
            present("speed"),
        ])
        .await;
}

#[tokio::test]
async fn a_protocol_violation_ends_only_that_connection() {
    let world = World::small().await;
    let identity = world.pki.device("berlin", "press-1");
    let open = async |alpn| Client::open(world.gateway_addr(), &identity, alpn, None).await.unwrap();
    let mut good = open(Some(&b"mqtt"[..])).await;
    assert_eq!(within("CONNACK", good.connect(ConnectOptions::clean(5, "good"))).await.unwrap(), (false, 0));
    // A SUBSCRIBE is answered.
    let filter = [vec![0, 1, 0], text("a/#"), vec![0]].concat();
    good.send(&packet(0x82, &filter)).await.unwrap();
    let suback = within("SUBACK", good.packet()).await.unwrap().unwrap();
    assert_eq!((suback.first, suback.body.last()), (0x90, Some(&0x83)));
    for (version, bytes, reason) in [
        (4, packet(0x40, &[0]), None),
        (5, packet(0x82, &[0, 1]), Some(0x81)),
        (5, packet(0xf0, &[]), None),
        (5, publish(5, 1, 1, "a/#", "1"), Some(0x90)),
        (5, packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01a"), Some(0x82)),
        (5, vec![0x30, 0xff, 0xff, 0xff, 0x7f], Some(0x95)),
    ] {
        let mut bad = open(None).await;
        within("CONNACK", bad.connect(ConnectOptions::clean(version, "bad"))).await.unwrap();
        bad.send(&bytes).await.unwrap();
        let refusal = bad.end().await;
        if reason.is_some() {
            assert_eq!(refusal, reason, "{bytes:?}");
        }
    }
    // Bytes that are not MQTT, although ALPN says so.
    let mut other = open(Some(b"mqtt")).await;
    other.send(b"{\"m\":1}\n").await.unwrap();
    let refusal = within("words", other.packet()).await.unwrap().unwrap();
    assert_eq!(refusal.first, b'{');
    good.publish(1, 1, TOPIC, &reading(1.0)).await.unwrap();
    assert_eq!(good.acknowledgement().await, (PUBACK, 1, 0));
    world.note("press-1", &[], "m", TS, 1.0);
    world.agrees(&all()).await;
}

#[tokio::test]
async fn a_series_beyond_the_limit_is_refused_in_the_acknowledgement() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.series_max = Some(2))
        .start()
        .await;
    let json = |metrics: &[&str]| {
        let values: Vec<_> = metrics.iter().map(|metric| format!(r#""{metric}":1"#)).collect();
        format!(r#"{{"ts":{TS},"values":{{{}}}}}"#, values.join(","))
    };
    let (mut client, _) = client(&world, "press-1", ConnectOptions::kept(5, "c")).await;
    for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
        for (id, metrics, code) in
            [(1, &["m"][..], 0), (2, &["m", "n"], 0), (3, &["more"], 0x99), (4, &["m", "more"], 0)]
        {
            client.publish(qos, id, TOPIC, &json(metrics)).await.unwrap();
            let answer = within("an acknowledgement", client.packet()).await.unwrap().unwrap();
            assert_eq!(answer.acknowledgement(), (kind, id, code), "{metrics:?}");
            let refusal = String::from_utf8_lossy(&answer.body).contains("new series");
            assert_eq!(refusal, metrics.contains(&"more"), "{answer:?}");
            for metric in metrics.iter().filter(|metric| **metric != "more") {
                world.note("press-1", &[], metric, TS, 1.0);
            }
            if qos == 2 && code == 0 {
                client.send(&release(id)).await.unwrap();
                assert_eq!(client.acknowledgement().await, (PUBCOMP, id, 0));
            }
        }
    }
    world.agrees(&[all()[0].clone(), QueryRequest::new("n", TS, TS + 1000)]).await;
}
