//! The programs as people run them: flags, exit statuses, messages, and the steps from a new trust root to a result.

use std::{fs, path::Path, process::Output};

use catchment_aggregator::Options;
use catchment_gateway::Settings;
use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::eventually,
    model::QueryRequest,
    process::run,
    server::{Mode, Program, Server},
    world::World,
};
use serde_json::{Value, json};

const PROGRAMS: [&str; 4] = ["catchment", "catchment-certs", "catchment-gateway", "catchment-aggregator"];
/// 2023-11-14T22:13:20Z.
const TS: i64 = 1_700_000_000_000;

/// Runs a program without blocking the test's own tasks.
async fn program(name: &'static str, arguments: &[&str], input: &str) -> Output {
    let (arguments, input) = (arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>(), input.to_owned());
    let run = move || run(name, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &input);
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a program that must succeed; returns its output.
async fn good(name: &'static str, arguments: &[&str], input: &str) -> String {
    let output = program(name, arguments, input).await;
    assert_eq!(output.status.code(), Some(0), "{name} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a program that must end with this status; returns its one-line message.
async fn bad(status: i32, name: &'static str, arguments: &[&str]) -> String {
    let output = program(name, arguments, "").await;
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{name} {arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{name} {arguments:?}: {}", text(&output.stdout));
    message
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn help_and_version() {
    for name in PROGRAMS {
        let help = good(name, &["--help"], "").await;
        assert!(help.contains("Usage:") && help.contains("Example"), "{name}: {help}");
        let version = good(name, &["--version"], "").await;
        assert_eq!(version, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        let message = bad(2, name, &["--no-such-flag"]).await;
        assert!(message.contains("--no-such-flag"), "{message}");
    }
    for command in [
        "query",
        "watch",
        "devices",
        "gateways",
        "series",
        "top",
        "send",
        "load",
        "proxy",
        "dashboard",
        "demo",
    ] {
        let help = good("catchment", &[command, "--help"], "").await;
        assert!(help.contains("Example"), "{command}: {help}");
    }
}

/// Each program's completions are a script that its shell takes, and its man pages name its commands and flags.
#[tokio::test]
async fn completions_and_man_pages_are_generated() {
    let folder = tempfile::tempdir().unwrap();
    for name in PROGRAMS {
        for shell in ["bash", "zsh", "fish"] {
            let script = good(name, &["completions", shell], "").await;
            assert!(script.contains(name) && script.contains("completions"), "{name} {shell}: {script}");
            if shell == "bash" {
                let file = folder.path().join(name);
                fs::write(&file, script).unwrap();
                let bash = std::process::Command::new("bash").arg("-n").arg(&file).status();
                assert!(bash.unwrap().success(), "{name}");
            }
        }
        let message = bad(2, name, &["completions", "shell-of-nobody"]).await;
        assert!(message.contains("bash") && message.contains("fish"), "{message}");
        good(name, &["manuals", path(&folder.path().join("man1"))], "").await;
    }
    for (page, text) in [
        ("catchment", "catchment demo"),
        ("catchment-query", "\\-\\-step"),
        ("catchment-gateway", "\\-\\-listen"),
        ("catchment-aggregator-store-backup", "\\-\\-to"),
        ("catchment-certs-issue-device", "\\-\\-site"),
    ] {
        let file = folder.path().join("man1").join(format!("{page}.1"));
        let found = fs::read_to_string(&file).unwrap();
        assert!(found.contains(text), "{page}: {found}");
    }
}

#[tokio::test]
async fn settings_are_checked_before_anything_is_bound() {
    let mut world = World::small().await;
    let dir = world.dir().to_owned();
    for (name, server) in [
        ("catchment-gateway", &mut world.gateways[0].server),
        ("catchment-aggregator", &mut world.aggregator),
    ] {
        let config = server.config_file().to_owned();
        good(name, &["--config", path(&config), "--check-config"], "").await;
        let file = dir.join("wrong.toml");
        let right = fs::read_to_string(&config).unwrap();
        for (line, word) in [
            ("no_such_key = 1", "no_such_key"),
            ("connections_max = 0", "connections_max"),
            ("handshake_timeout = \"soon\"", "soon"),
        ] {
            fs::write(&file, format!("{line}\n{right}")).unwrap();
            let message = bad(2, name, &["--config", path(&file), "--check-config"]).await;
            assert!(message.contains(word) && message.trim_end().lines().count() == 1, "{message}");
        }
        // A flag wins over the file.
        let message =
            bad(2, name, &["--config", path(&config), "--check-config", "--connections-max", "0"]).await;
        assert!(message.contains("connections_max"), "{message}");
        let missing = bad(2, name, &["--listen", "127.0.0.1:0"]).await;
        assert!(missing.trim_end().lines().count() == 1 && missing.contains("--"), "{missing}");
        let message = bad(2, name, &["--config", "/no/such/file.toml"]).await;
        assert!(message.contains("/no/such/file.toml"), "{message}");
        // An identity of another role.
        let operator = world.pki.operator();
        let output = program(
            name,
            &[
                "--config",
                path(&config),
                "--identity",
                path(&operator),
                "--http",
                "127.0.0.1:0",
                "--data",
                path(&dir.join("new")),
            ],
            "",
        )
        .await;
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("operator"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_data_folder_serves_one_gateway() {
    let mut world = World::small().await;
    let server = &mut world.gateways[0].server;
    let (config, data) = (server.config_file().to_owned(), server.data());
    let message = bad(1, "catchment-gateway", &["--log", "off", "--config", path(&config)]).await;
    assert!(message.contains(path(&data)) && message.trim_end().lines().count() == 1, "{message}");
    let config = world.aggregator.config_file().to_owned();
    let message = bad(1, "catchment-aggregator", &["--log", "off", "--config", path(&config)]).await;
    assert!(message.contains(path(&world.aggregator.data())), "{message}");
    // The gateway that has it continues.
    let mut device = world.device(0, "press-1", Protocol::Json);
    device.send(&Sample::one(TS, "m", 1.0)).await;
    device.settle().await;
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
}

/// Makes a trust root and identities with the program, and inspects them with it.
async fn make_identities(pki: &str) {
    let device = ["issue", "device", "--dir", pki, "--site", "berlin", "--name", "press-17"];
    good("catchment-certs", &["init", "--dir", pki, "--trust-domain", "example.org"], "").await;
    let again = bad(1, "catchment-certs", &["init", "--dir", pki]).await;
    assert!(again.contains(pki), "{again}");
    good("catchment-certs", &device, "").await;
    bad(1, "catchment-certs", &device).await;
    let hosts = ["--host", "127.0.0.1", "localhost"];
    let gateway = ["issue", "gateway", "--dir", pki, "--site", "berlin", "--name", "gw"];
    good("catchment-certs", &[&gateway[..], &hosts].concat(), "").await;
    let aggregator = ["issue", "aggregator", "--dir", pki, "--name", "centre"];
    good("catchment-certs", &[&aggregator[..], &hosts].concat(), "").await;
    let operator = ["issue", "operator", "--dir", pki, "--name", "ada", "--days", "7"];
    good("catchment-certs", &operator, "").await;
    let wrong = ["issue", "operator", "--dir", pki, "--name", "-x"];
    bad(2, "catchment-certs", &wrong).await;

    let root = Path::new(pki);
    for identity in
        ["site/berlin/device/press-17", "site/berlin/gateway/gw", "aggregator/centre", "operator/ada"]
    {
        for file in ["cert.pem", "key.pem", "ca.pem"] {
            assert!(root.join(identity).join(file).is_file(), "{identity}/{file}");
        }
        let inspected =
            good("catchment-certs", &["inspect", path(&root.join(identity).join("cert.pem"))], "").await;
        assert!(inspected.contains(&format!("spiffe://example.org/{identity}")), "{inspected}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let key = fs::metadata(root.join("operator/ada/key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let list = good("catchment-certs", &["list", "--dir", pki, "--format", "json"], "").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 4, "{list}");
    let expiring = good("catchment-certs", &["list", "--dir", pki, "--expiring", "30d"], "").await;
    assert!(expiring.contains("ada") && !expiring.contains("press-17"), "{expiring}");
}

#[tokio::test]
async fn from_a_new_root_to_a_result_with_the_programs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pki");
    make_identities(path(&root)).await;
    let options = Options { identity: Some(root.join("aggregator/centre")), ..Options::default() };
    let program = Program::Aggregator(Box::new(options));
    let mut aggregator = Server::new(program, Mode::Processes, &dir.path().join("aggregator"));
    aggregator.start().await;
    let url = format!("https://{}", aggregator.addr());
    let settings = Settings {
        identity: Some(root.join("site/berlin/gateway/gw")),
        aggregator: Some(vec![url.clone()]),
        window: Some("1s".parse().unwrap()),
        grace: Some("200ms".parse().unwrap()),
        ..Settings::default()
    };
    let mut gateway =
        Server::new(Program::Gateway(Box::new(settings)), Mode::Processes, &dir.path().join("gateway"));
    gateway.start().await;

    let (device, operator) = (root.join("site/berlin/device/press-17"), root.join("operator/ada"));
    let lines = "{\"ts\":1700000000000,\"values\":{\"temperature\":20.5}}\n\
         [{\"ts\":1700000000100,\"temperature\":21.5},{\"ts\":1700000002000,\"temperature\":-4}]\n";
    let addr = gateway.addr().to_string();
    let send = ["send", "--gateway", &addr, "--identity", path(&device), "--epoch", "file-1"];
    for _ in 0..2 {
        // Sent again under the same epoch, it counts once.
        let said = good("catchment", &send, lines).await;
        assert_eq!(said, "2 lines acknowledged, 0 refused\n");
    }
    let file = dir.path().join("one.jsonl");
    fs::write(&file, "{\"ts\":1700000001000,\"values\":{\"load\":1}}\n").unwrap();
    let from_file = ["send", "--gateway", &addr, "--identity", path(&device), path(&file)];
    assert_eq!(good("catchment", &from_file, "").await, "1 line acknowledged, 0 refused\n");
    let refused = program_sends_refused_line(&addr, &device).await;
    assert!(refused.contains("line 2"), "{refused}");

    let connection = ["--aggregator", &url, "--identity", path(&operator)];
    let range = ["--from", "1700000000", "--to", "2023-11-14T22:13:23Z"];
    let selector = r#"temperature{site="berlin"}"#;
    let query = |more: &[&'static str]| {
        let mut all = vec!["query", selector];
        all.extend_from_slice(more);
        all.iter()
            .map(|&a| a.to_owned())
            .chain(connection.iter().chain(&range).map(|&a| a.to_owned()))
            .collect::<Vec<_>>()
    };
    let json_query =
        query(&["--step", "1s", "--agg", "count,mean,p99", "--by", "device", "--format", "json"]);
    let json_query: Vec<&str> = json_query.iter().map(String::as_str).collect();
    let expected = json!([{"labels": {"device": "press-17"}, "points": [
        {"t": "2023-11-14T22:13:20Z", "count": 2, "mean": 21.0, "p99": 20.5},
        {"t": "2023-11-14T22:13:22Z", "count": 1, "mean": -4.0, "p99": -4.0},
    ]}]);
    let answer = eventually("the answer of the program", async || {
        let answer = good("catchment", &json_query, "").await;
        let value: Value = serde_json::from_str(&answer).unwrap();
        let complete = value["complete_until"].as_str().is_some_and(|t| t.ends_with('Z'));
        if complete && value["series"] == expected { Ok(answer) } else { Err(answer) }
    })
    .await;
    // Members in the documented order, counts as whole numbers.
    assert!(answer.starts_with(r#"{"complete_until":""#), "{answer}");
    assert!(answer.contains(r#"{"t":"2023-11-14T22:13:20Z","count":2,"mean":21"#), "{answer}");

    let whole = query(&["--agg", "count,sum", "--format", "csv"]);
    let csv = good("catchment", &whole.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
    let csv: Vec<&str> = csv.lines().collect();
    assert_eq!(csv, ["t,count,sum", "2023-11-14T22:13:20Z,3,38"]);
    let table = query(&["--by", "site"]);
    let table = good("catchment", &table.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
    assert!(table.contains("berlin") && table.contains("count"), "{table}");
    lists(&connection).await;
    refusals(&connection, &url, &device).await;
    gateway.stop().await;
    aggregator.stop().await;
}

async fn program_sends_refused_line(addr: &str, device: &Path) -> String {
    let lines = "{\"ts\":1700000001000,\"load\":2}\n{\"ts\":1700000001000,\"load\":null}\n";
    let output = program("catchment", &["send", "--gateway", addr, "--identity", path(device)], lines).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "1 line acknowledged, 1 refused\n");
    text(&output.stderr)
}

async fn lists(connection: &[&str]) {
    let list = |what: &'static str| {
        let arguments = [&[what, "--format", "json"], connection].concat();
        async move {
            let text = good("catchment", &arguments, "").await;
            serde_json::from_str::<Value>(&text).unwrap()
        }
    };
    let expected = json!([{"site": "berlin", "gateway": "gw", "device": "press-17", "series": 2,
        "last_seen": "2023-11-14T22:13:22Z"}]);
    eventually("the device with both series", async || {
        let mut devices = list("devices").await;
        // The certificate was issued just now, for a year.
        let ends = devices[0].as_object_mut().and_then(|device| device.remove("certificate_expires"));
        if !ends.is_some_and(|ends| ends.as_str().is_some_and(|ends| ends.starts_with("20"))) {
            return Err(format!("no end of the certificate: {devices}"));
        }
        if devices == expected { Ok(()) } else { Err(devices.to_string()) }
    })
    .await;
    let gateways = list("gateways").await;
    let gateway = &gateways[0];
    assert_eq!(
        (&gateway["site"], &gateway["gateway"], &gateway["connected"]),
        (&json!("berlin"), &json!("gw"), &json!(true))
    );
    assert_eq!((&gateway["devices"], &gateway["series"]), (&json!(1), &json!(2)));
    let series = list("series").await;
    let labels = json!({"site": "berlin", "gateway": "gw", "device": "press-17"});
    assert_eq!(series.as_array().unwrap().len(), 2, "{series}");
    assert_eq!((&series[1]["metric"], &series[1]["labels"]), (&json!("temperature"), &labels));
    assert_eq!(series[1]["first_window"], "2023-11-14T22:13:20Z");
    for what in ["devices", "gateways", "series"] {
        let table = good("catchment", &[&[what], connection].concat(), "").await;
        assert!(table.contains("berlin") || what == "series", "{table}");
        assert!(table.lines().count() >= 2, "{table}");
    }
}

/// Wrong usage, wrong role, no listener: one readable line each, with the right status.
async fn refusals(connection: &[&str], url: &str, device: &Path) {
    let message = bad(2, "catchment", &[&["query", "m", "--step", "0s"], connection].concat()).await;
    assert!(message.contains("--step"), "{message}");
    let wrong_role = ["query", "m", "--aggregator", url, "--identity", path(device)];
    let message = bad(1, "catchment", &wrong_role).await;
    assert!(message.contains("operator") && message.trim_end().lines().count() == 1, "{message}");
    // A port without a listener.
    let vacant = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let without_certificate = format!("https://{vacant}");
    let message = bad(
        1,
        "catchment",
        &["query", "m", "--aggregator", &without_certificate, "--identity", connection[3]],
    )
    .await;
    assert!(message.contains(&vacant.to_string()) && message.trim_end().lines().count() == 1, "{message}");
    let message = bad(2, "catchment", &["devices", "--aggregator", url, "--identity", "/no/such/dir"]).await;
    assert!(message.contains("/no/such/dir"), "{message}");
    let unknown = [&["query", "m", "--agg", "average"], connection].concat();
    let output = program("catchment", &unknown, "").await;
    assert!(
        matches!(output.status.code(), Some(1 | 2)) && text(&output.stderr).contains("average"),
        "{output:?}"
    );
}
