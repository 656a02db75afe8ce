//! Programs with closed or full standard streams, and the repetition of an interrupted `send`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use catchment_tests::{
    model::QueryRequest,
    process::{command, program, run_to_end},
    world::World,
};

const TS: i64 = 1_700_000_000_000;

/// Runs a program through a shell that closes or redirects its streams as `streams` says.
fn run_with(streams: &str, name: &str, arguments: &[&str], input: &str) -> Output {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("exec \"$@\" {streams}"), "sh"]).arg(program(name)).args(arguments);
    run_to_end(shell, input)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_and_full_streams_cause_no_panic() {
    let world = World::small().await;
    let (device, operator) = (world.pki.device("berlin", "press-1"), world.pki.operator());
    let gateway = world.gateways[0].server.direct_addr().to_string();
    let url = format!("https://{}", world.aggregator.direct_addr());
    let (pki, config) = (world.pki.dir().to_owned(), world.gateways[0].server.config_file().to_owned());
    let aggregator_config = world.aggregator.config_file().to_owned();
    let send = ["send", "--gateway", &gateway, "--identity", text(&device)];
    let query = ["query", "m", "--aggregator", &url, "--identity", text(&operator), "--format", "csv"];
    let list = ["list", "--dir", text(&pki)];
    let check = ["--config", text(&config), "--check-config"];
    let check_aggregator = ["--config", text(&aggregator_config), "--check-config"];
    let lines = "{\"ts\":1700000000000,\"m\":1}\n{\"m\":null}\nno json\n";
    for streams in
        ["2>&-", "2>/dev/full", ">&-", ">/dev/full", ">/dev/full 2>&-", ">/dev/full 2>/dev/full", "<&-"]
    {
        for (name, arguments, good) in [
            ("catchment", &send[..], false),
            ("catchment", &query, true),
            ("catchment-certs", &list, true),
            ("catchment-certs", &["--help"], true),
            ("catchment-gateway", &check, true),
            ("catchment-aggregator", &check_aggregator, true),
            ("catchment-gateway", &["--no-such-flag"], false),
        ] {
            let output = run_with(streams, name, arguments, lines);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let status = output.status.code();
            assert!(matches!(status, Some(0..=2)), "{name} {arguments:?} {streams}: {status:?} {said}");
            assert!(!said.contains("panicked"), "{name} {arguments:?} {streams}: {said}");
            let is_help = arguments == ["--help"];
            if good && !is_help {
                let full = streams.starts_with(">/dev/full");
                assert_eq!(status == Some(0), !full, "{name} {arguments:?} {streams}: {status:?} {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_a_watch() {
    let world = World::small().await;
    let url = format!("https://{}", world.aggregator.direct_addr());
    let operator = world.pki.operator();
    let watch = ["watch", "m", "--every", "100ms", "--aggregator", &url, "--identity", text(&operator)];
    let output = run_with("| head -n 1", "catchment", &watch, "");
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_although_its_log_cannot_be_written() {
    let mut world = World::small().await;
    let mut server = world.gateways.remove(0).server;
    server.stop().await;
    let config = server.config_file().to_owned();
    let mut gateway = command("catchment-gateway");
    gateway.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut gateway = gateway.stderr(File::options().write(true).open("/dev/full").unwrap()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(gateway.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let addr = ready.trim().strip_prefix("ready ").unwrap().to_owned();
    let device = world.pki.device("berlin", "press-1");
    let send = ["send", "--gateway", &addr, "--identity", text(&device)];
    let output = catchment_tests::process::run("catchment", &send, "{\"ts\":1700000000000,\"m\":1}\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(gateway.try_wait().unwrap(), None);
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_ended_by_a_signal_can_be_repeated() {
    let world = World::small().await;
    let device = world.pki.device("berlin", "press-1");
    let addr = world.gateways[0].server.direct_addr().to_string();
    let first = format!("{{\"ts\":{TS},\"m\":1}}\n");
    for (signal, in_order) in [("HUP", true), ("QUIT", true), ("TERM", true), ("KILL", false)] {
        let mut send = command("catchment");
        send.args(["send", "--gateway", &addr, "--identity", text(&device)]);
        let mut child =
            send.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(first.as_bytes()).unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let epoch =
            line.split_once("--epoch=").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_else(|| {
                panic!("no epoch in the message: {line}");
            });
        let epoch = format!("--epoch={epoch}");
        world.note("press-1", &[], "m", TS, 1.0);
        world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code().is_some(), in_order, "{signal}: {status}");
        drop(input);
        let again = ["send", "--gateway", &addr, "--identity", text(&device), &epoch];
        let output = catchment_tests::process::run("catchment", &again, &first);
        assert!(output.status.success(), "{output:?}");
        world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
    }
}
