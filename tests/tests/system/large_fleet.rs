//! A fleet of 10,000 devices: its pages as the aggregator cuts them, in the dashboard, and `catchment top` in tmux.

use std::{
    path::Path,
    process::{Command, Output},
    thread::sleep,
    time::{Duration, Instant},
};

use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{PageRequest, SummaryRequest, fleet_client::FleetClient};
use catchment_tests::{
    delivery::Delivery,
    eventually::wait_limit,
    now_ms,
    process::{Process, program, run},
    query,
    world::World,
};
use serde_json::json;
use tokio::task::block_in_place;

use crate::{browser::Visitor, dashboard::link};

const DEVICES: usize = 10_000;

/// A gateway that is connected, with devices whose every thousandth one is silent.
async fn deliver(world: &World) -> Delivery {
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let now = now_ms() / 1_000 * 1_000;
    let mut delivery =
        Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, now - 3_600_000).await;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("press-{number:05}")).collect();
    let silent: Vec<String> = names.iter().step_by(1_000).cloned().collect();
    let lively: Vec<String> = names.iter().filter(|name| !name.ends_with("000")).cloned().collect();
    for (names, ago_ms) in [(&silent, 1_800_000), (&lively, 5_000)] {
        for names in names.chunks(4_000) {
            let mut partial = Partial::empty();
            partial.push(Timestamp::from_millis(now - ago_ms).unwrap(), 20.5);
            delivery.deliver_devices(names, "temperature", now - ago_ms, &partial, now - 4_000).await;
        }
    }
    delivery
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_cut_by_the_aggregator_and_shown_in_a_terminal() {
    let world = World::builder().start().await;
    let _connected = deliver(&world).await;
    let mut fleet = FleetClient::new(world.operator());
    let page = PageRequest { sort: "last_seen".to_owned(), limit: 12, ..PageRequest::default() };
    let oldest = fleet.page_devices(page.clone()).await.unwrap().into_inner();
    assert_eq!((oldest.total, oldest.found, oldest.devices.len()), (10_000, 10_000, 12));
    let names: Vec<&str> = oldest.devices.iter().map(|device| device.device.as_str()).collect();
    // The ten silent ones, then others, each in the order of names.
    assert_eq!((names[0], names[9], names[10]), ("press-00000", "press-09000", "press-00001"));
    let found = PageRequest { search: "ROME/GW/PRESS-0123".to_owned(), offset: 8, ..page.clone() };
    let found = fleet.page_devices(found).await.unwrap().into_inner();
    assert_eq!((found.total, found.found, found.devices.len()), (10_000, 10, 2));
    let silent = PageRequest { problems: true, ..page };
    assert_eq!(fleet.page_devices(silent).await.unwrap().into_inner().found, 10);
    // A gateway of the version before tells nothing of certificates.
    let ends = PageRequest { sort: "expires".to_owned(), limit: 1, ..PageRequest::default() };
    let first = fleet.page_devices(ends).await.unwrap().into_inner();
    assert_eq!((first.found, first.devices[0].certificate_expires_s), (10_000, 0));
    let gateways = fleet.page_gateways(PageRequest::default()).await.unwrap().into_inner();
    assert_eq!((gateways.total, gateways.gateways[0].devices), (1, 10_000));
    let summary = fleet.summarize(SummaryRequest::default()).await.unwrap().into_inner();
    let total = summary.total.unwrap();
    assert_eq!((total.gateways, total.devices, total.silent, summary.sites_total), (1, 10_000, 10, 1));
    let wrong = PageRequest { sort: "colour".to_owned(), ..PageRequest::default() };
    assert_eq!(fleet.page_devices(wrong).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let url = format!("https://{}", world.aggregator.addr());
    let operator = world.pki.operator();
    let connection = ["--aggregator", &url, "--identity", operator.to_str().unwrap()];
    block_in_place(|| once(&connection));
    if let Some(shown_ms) = in_browser(&world, &connection) {
        eprintln!("first view of {DEVICES} devices after {shown_ms:.0} ms");
    }
    if Command::new("tmux").arg("-V").output().is_err() {
        eprintln!("left out: install tmux to test `catchment top` in it");
        return;
    }
    block_in_place(|| in_tmux(world.dir(), &connection));
}

/// The dashboard: its first view, and pages of its list, at two widths. Returns when the first view was there, milliseconds.
fn in_browser(world: &World, connection: &[&str]) -> Option<f64> {
    let log = world.dir().join("dashboard.log");
    let dashboard = Process::start_with("catchment", &[&["dashboard"], connection].concat(), &log);
    let mut visitor = Visitor::at(&dashboard)?;
    let first = visitor
        .step(json!({"url": link(&dashboard), "words": ["10000", "silent for 5 min"], "selector": ".tiles"}));
    for wide in [360, 1440] {
        visitor.wide = wide;
        visitor.go("fleet", &["10000", "rome"]);
        visitor.go("devices?search=press-0123", &["press-01239", "1–10 of 10<"]);
        visitor.go(
            "devices?sort=last_seen&silent_only=1",
            &["press-09000", "1–10 of 10<", "silent, 30 min ago"],
        );
        visitor.go("devices?offset=9900", &["press-09999", "9901–10000 of 10000"]);
    }
    first["shown_ms"].as_f64()
}

/// `top --once`.
fn once(connection: &[&str]) {
    let arguments = [&["top", "--once", "--ascii", "--view", "devices"], connection].concat();
    let output = run("catchment", &arguments, "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_ascii(), "a character beyond ASCII");
    assert_eq!(text.lines().filter(|line| line.contains("press-")).count(), DEVICES);
}

/// A tmux server of its own.
struct Tmux<'a>(&'a Path);

impl Tmux<'_> {
    fn run(&self, arguments: &[&str]) -> std::io::Result<Output> {
        Command::new("tmux").arg("-S").arg(self.0.join("tmux")).args(arguments).output()
    }

    /// The screen with its colours.
    fn screen(&self) -> String {
        String::from_utf8(self.run(&["capture-pane", "-p", "-e", "-t", "top"]).unwrap().stdout).unwrap()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}

/// `top` at 80 columns: each picture is whole, and rows keep their places while they are refreshed.
fn in_tmux(folder: &Path, connection: &[&str]) {
    let tmux = Tmux(folder);
    let catchment = program("catchment");
    let top = format!(
        "env NO_COLOR=1 LC_ALL=C {} top --view devices --every 200ms {}",
        catchment.display(),
        connection.join(" ")
    );
    let started = tmux.run(&["new-session", "-d", "-s", "top", "-x", "80", "-y", "24", &top]).unwrap();
    assert!(started.status.success(), "{started:?}");
    let deadline = Instant::now() + wait_limit();
    let shown = || tmux.screen().matches("press-").count();
    while shown() < 20 {
        assert!(Instant::now() < deadline, "{}", tmux.screen());
        sleep(Duration::from_millis(50));
    }
    for _ in 0..40 {
        let screen = tmux.screen();
        assert!(screen.is_ascii(), "{screen}");
        let is_coloured =
            |code: u32| screen.contains(&format!("[{code}m")) || screen.contains(&format!(";{code}m"));
        assert!(!(30..38).chain(90..98).any(is_coloured), "{screen:?}");
        assert!(screen.contains("10000 devices"), "{screen}");
        let names: Vec<&str> =
            screen.match_indices("press-").filter_map(|(at, _)| screen.get(at..at + 11)).collect();
        let expected: Vec<String> = (0..20).map(|number| format!("press-{number:05}")).collect();
        assert_eq!(names, expected, "{screen}");
        sleep(Duration::from_millis(50));
    }
    // The last rows are those of another page.
    for (key, last) in [("End", "press-09999"), ("Home", "press-00019")] {
        tmux.run(&["send-keys", "-t", "top", key]).unwrap();
        while !tmux.screen().contains(last) {
            assert!(Instant::now() < deadline, "{}", tmux.screen());
            sleep(Duration::from_millis(50));
        }
    }
    tmux.run(&["send-keys", "-t", "top", "q"]).unwrap();
    while tmux.run(&["has-session", "-t", "top"]).unwrap().status.success() {
        assert!(Instant::now() < deadline, "{}", tmux.screen());
        sleep(Duration::from_millis(50));
    }
}
