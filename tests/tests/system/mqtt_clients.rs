//! Third-party clients on the one port: `mosquitto_pub`, paho-mqtt, `openssl s_client`, Python's `ssl`, and output of
//! Telegraf.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Output, Stdio},
};

use catchment_tests::{
    connection::Protocol,
    eventually::eventually,
    model::{QueryRequest, labels},
    process::run_to_end,
    world::World,
};

const TS: i64 = 1_700_000_000_000;

/// A file in the tests' own folder.
fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a client to its end without blocking the test's own tasks.
async fn run(command: Command, input: &str) -> Output {
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || run_to_end(command, &input)).await.unwrap()
}

fn good(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn mosquitto(world: &World, device: &str, arguments: &[&str]) -> Command {
    let identity = world.pki.device("berlin", device);
    let file = |name| identity.join(name);
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &world.gateway_addr().port().to_string()]);
    command.arg("--cafile").arg(file("ca.pem")).arg("--cert").arg(file("cert.pem"));
    command.arg("--key").arg(file("key.pem")).args(arguments);
    command
}

fn lines(values: impl Iterator<Item = i32>) -> String {
    values
        .map(|value| format!("{{\"ts\":{},\"values\":{{\"m\":{value}}}}}\n", TS + i64::from(value)))
        .collect()
}

#[tokio::test]
async fn mosquitto_pub_in_both_versions_and_all_qualities() {
    let world = World::small().await;
    let mut value = 0;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            for rest in
                [&[][..], &["-c", "-i", "keeper"], &["--tls-alpn", "mqtt", "-u", "user", "-P", "secret"]]
            {
                // One message, then lines from standard input on one connection.
                let base = ["-V", version, "-q", qos, "-t", "v1/devices/me/telemetry"];
                let one = lines(std::iter::once(value));
                let arguments = [&base[..], rest, &["-m", one.trim()]].concat();
                good(&run(mosquitto(&world, "press-1", &arguments), "").await);
                let arguments = [&base[..], rest, &["-l"]].concat();
                good(&run(mosquitto(&world, "press-1", &arguments), &lines(value + 1..value + 8)).await);
                for value in value..value + 8 {
                    world.note("press-1", &[], "m", TS + i64::from(value), value.into());
                }
                value += 8;
            }
        }
    }
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
}

#[tokio::test]
async fn mosquitto_pub_with_features_that_a_gateway_ignores() {
    let world = World::small().await;
    let long = "x".repeat(128);
    for arguments in [
        &["-V", "mqttv5", "-r", "--will-topic", "status", "--will-payload", "gone", "--will-retain"][..],
        &["-V", "mqttv5", "-D", "connect", "session-expiry-interval", "60", "-i", "x"],
        &["-V", "mqttv5", "-D", "publish", "content-type", "text/plain", "-D", "publish", "topic-alias", "3"],
        &["-V", "mqttv5", "-D", "connect", "request-response-information", "1", "-k", "5"],
        &[
            "-V",
            "mqttv5",
            "-D",
            "connect",
            "receive-maximum",
            "1",
            "-D",
            "connect",
            "user-property",
            "a",
            "b",
        ],
        &["-V", "mqttv311", "--repeat", "3", "--repeat-delay", "0", "-i", &long],
    ] {
        let arguments = [&["-q", "1", "-t", "telemetry/used", "-m", "1"], arguments].concat();
        good(&run(mosquitto(&world, "press-1", &arguments), "").await);
    }
    let refused =
        run(mosquitto(&world, "press-1", &["-V", "mqttv31", "-t", "telemetry/m", "-m", "1"]), "").await;
    assert!(!refused.status.success(), "version 3.1 is refused with a reason");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("protocol version"), "{refused:?}");
    let now = catchment_tests::now_ms();
    for _ in 0..8 {
        world.note("press-1", &[], "used", now, 1.0);
    }
    let query = QueryRequest::new("used", now - 60_000, now + 600_000);
    world.agrees(&[query.aggregates(&["count", "sum"])]).await;
}

/// A Python with paho-mqtt: Debian's, or the one in the search path.
async fn python_with_paho() -> &'static str {
    for python in ["python3", "/usr/bin/python3"] {
        let mut command = Command::new(python);
        command.args(["-c", "import paho.mqtt.client"]);
        if run(command, "").await.status.success() {
            return python;
        }
    }
    panic!(
        "paho-mqtt is missing: `cargo xtask test` installs it, as does `apt-get install python3-paho-mqtt`"
    )
}

/// The next line that a client prints. The client ends by itself, so this does too.
async fn line(mut output: BufReader<ChildStdout>) -> (String, BufReader<ChildStdout>) {
    let read = move || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        (line, output)
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

async fn paho(world: &World, version: &str, qos: u8) {
    const COUNT: i32 = 400;
    let device = format!("press-{version}-{qos}");
    let mut command = Command::new(python_with_paho().await);
    let identity = world.pki.device("berlin", &device);
    command.arg(own("clients/publish.py")).args(["127.0.0.1", &world.gateway_addr().port().to_string()]);
    command.arg(identity).args([version, &qos.to_string(), &COUNT.to_string(), "keeper"]);
    if version == "5" {
        command.arg("mqtt");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (line, output) = line(output).await;
    assert_eq!(line, "connected\n");
    assert_eq!(self::line(output).await.0, "acknowledged\n");
    assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
    for number in 0..COUNT {
        world.note(&device, &[], "m", TS + i64::from(number), number.into());
    }
}

#[tokio::test]
async fn paho_in_both_versions() {
    let world = World::small().await;
    for version in ["3", "5"] {
        for qos in [1, 2] {
            paho(&world, version, qos).await;
        }
    }
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000).by(&["device"])]).await;
}

#[tokio::test]
async fn openssl_and_pythons_ssl_send_json_lines() {
    let world = World::small().await;
    let identity = world.pki.device("berlin", "press-1");
    let port = world.gateway_addr().port().to_string();
    let line = format!(r#"{{"ts":{TS},"values":{{"m":1}}}}"#);
    let mut python = Command::new("python3");
    python.arg(own("clients/json_lines.py")).args(["127.0.0.1", &port]).arg(&identity).arg(&line);
    assert_eq!(good(&run(python, "").await), "{\"ack\":1}\n");
    for tls in ["-tls1_2", "-tls1_3"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", tls]);
        openssl.args(["-connect", &format!("127.0.0.1:{port}")]).arg("-CAfile").arg(identity.join("ca.pem"));
        openssl.arg("-cert").arg(identity.join("cert.pem")).arg("-key").arg(identity.join("key.pem"));
        // It ends with its input, perhaps before the reply; only the readings matter.
        run(openssl, &format!("{line}\n")).await;
    }
    for _ in 0..3 {
        world.note("press-1", &[], "m", TS, 1.0);
    }
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
}

#[tokio::test]
async fn telegrafs_output_is_accepted_except_a_reserved_tag() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.http = Some("127.0.0.1:0".parse().unwrap()))
        .start()
        .await;
    let sample = std::fs::read_to_string(own("samples/telegraf.lp")).unwrap();
    let mut connection = world.connect("press-1", Protocol::Json).await;
    connection.send(sample.as_bytes()).await.unwrap();
    connection.finish().await.unwrap();
    // An independent parse of the sample: it has no blank, comma or equals sign in a value outside a string.
    let (mut queries, mut strings) = (Vec::new(), 0);
    for line in sample.lines().filter(|line| !line.starts_with("disk,")) {
        let line = line.replace("\\ ", "\u{1}").replace("\\,", "\u{2}").replace("1 day, ", "");
        let [head, fields, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let plain = |text: &str| text.replace('\u{1}', " ").replace('\u{2}', ",");
        let (measurement, tags) = head.split_once(',').unwrap();
        let tags: Vec<(String, String)> = tags
            .split(',')
            .map(|tag| tag.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), plain(v)))
            .collect();
        let tags: Vec<(&str, &str)> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        for (field, text) in fields.split(',').map(|field| field.split_once('=').unwrap()) {
            let value = match text {
                "true" => 1.0,
                "false" => 0.0,
                text if text.starts_with('"') => {
                    strings += 1;
                    continue;
                }
                text => text.trim_end_matches(['i', 'u']).parse().unwrap(),
            };
            let metric = format!("{measurement}_{field}");
            world.note("press-1", &tags, &metric, TS, value);
            let mut query = QueryRequest::new(&metric, TS, TS + 1000);
            query.matching = labels(&tags);
            queries.push(query.aggregates(&["count", "min", "max"]));
        }
    }
    assert_eq!((strings, queries.len()), (2, 93));
    for query in &queries {
        // Not `agrees` for each query: it waits for the clock.
        eventually("the readings of Telegraf", async || {
            let answer = world.query(query).await.map_err(|status| status.to_string())?;
            if answer.table.len() == 1 { Ok(()) } else { Err(format!("{query:?}")) }
        })
        .await;
    }
    world.agrees(&queries[..5]).await;
    let page = world.gateways[0].server.metrics().await;
    // Its strings are states.
    for (reason, count) in [("not_a_number", 0), ("bad_state", 0), ("bad_label", 8)] {
        let line = page.lines().find(|line| line.contains(&format!("\"{reason}\""))).unwrap_or_default();
        assert!(line.ends_with(&format!(" {count}")), "{reason}: {line}");
    }
}
