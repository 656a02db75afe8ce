//! What people look at: charts of `catchment query --format svg`, and `catchment top`, once and in a terminal.

use std::{
    fs,
    process::{Command, Output},
    time::{SystemTime, UNIX_EPOCH},
};

use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_tests::{
    delivery::Delivery,
    process::{program, run},
    query,
    world::World,
};

const MINUTE: i64 = 60_000;

/// Runs a program in a terminal of 80 columns; types each key after its text has come, and at last `q`, or sends SIGTERM.
/// Fails unless it ends with status 0, leaves the terminal as it was, and never took the mouse.
const IN_TERMINAL: &str = r#"
import fcntl, os, pty, select, signal, struct, sys, termios, time
end, program = sys.argv[1], sys.argv[2:]
child, screen = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execv(program[0], program)
before, seen = termios.tcgetattr(screen), b""
def wait_for(text):
    global seen
    deadline = time.monotonic() + 60
    while text is None or text not in seen:
        assert time.monotonic() < deadline, (text, seen)
        if select.select([screen], [], [], 1)[0]:
            try:
                more = os.read(screen, 65536)
            except OSError:
                more = b""
            if not more:
                assert text is None, (text, seen)
                return
            seen += more
wait_for(b"rome")
os.write(screen, b"3")
wait_for(b"press-17")
if end == "q":
    os.write(screen, b"q")
else:
    os.kill(child, signal.SIGTERM)
# Its terminal is looked at as long as it is there.
status = None
deadline = time.monotonic() + 60
while status is None:
    assert time.monotonic() < deadline, seen
    if select.select([screen], [], [], 0.1)[0]:
        try:
            seen += os.read(screen, 65536)
        except OSError:
            pass
    ended, code = os.waitpid(child, os.WNOHANG)
    status = code if ended else None
assert os.waitstatus_to_exitcode(status) == 0, (status, seen)
assert seen.count(b"\x1b[?1049h") == seen.count(b"\x1b[?1049l") == 1, seen
assert b"\x1b[?1000h" not in seen and b"\x1b[?1003h" not in seen, seen
assert b"\x1b[?25h" in seen, "the cursor is back"
print("restored" if termios.tcgetattr(screen)[:4] == before[:4] else "changed")
"#;

struct Eye {
    url: String,
    identity: String,
}

impl Eye {
    async fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let connection = ["--aggregator", &self.url, "--identity", &self.identity];
        let all = [&[command], arguments, &connection].concat();
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let run = move || run("catchment", &all.iter().map(String::as_str).collect::<Vec<_>>(), "");
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    async fn good(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `top` in a terminal.
    async fn watch(&self, end: &'static str) -> Output {
        let top = program("catchment");
        let connection = ["--aggregator", &self.url, "--identity", &self.identity].map(str::to_owned);
        let run = move || {
            let mut python = Command::new("python3");
            python.args(["-c", IN_TERMINAL, end]).arg(top).arg("top").args(connection);
            python.env("TERM", "xterm").output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }
}

/// The start of a minute some time ago.
fn start() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    (now / MINUTE - 10) * MINUTE
}

/// A gateway of site rome, connected, with two devices.
async fn deliver(world: &World, start: i64) -> Delivery {
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let mut delivery = Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, start).await;
    for (device, every) in [("press-17", 1), ("oven", 4)] {
        for minute in (0..9_i64).filter(|minute| minute % every == 0) {
            let mut partial = Partial::empty();
            for number in 0..5 {
                let time = Timestamp::from_millis(start + minute * MINUTE).unwrap();
                partial.push(time, 20.0 + (minute * number) as f64);
            }
            let time_ms = start + minute * MINUTE;
            delivery.deliver_partial(device, "temperature", time_ms, &partial, start + 9 * MINUTE).await;
        }
    }
    delivery
}

#[tokio::test]
async fn charts_and_top_show_what_was_delivered() {
    let world = World::builder().start().await;
    let start = start();
    let _connected = deliver(&world, start).await;
    let url = format!("https://{}", world.aggregator.addr());
    let eye = Eye { url, identity: world.pki.operator().to_str().unwrap().to_owned() };

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("temperature.svg");
    let (from, to) = ((start / 1000).to_string(), (start / 1000 + 600).to_string());
    let range =
        ["--from", &from, "--to", &to, "--step", "1m", "--by", "device", "--agg", "count,mean,p50,p99"];
    let query = [&["temperature", "--format", "svg", "-o", path.to_str().unwrap()], &range[..]].concat();
    assert!(eye.good("query", &query).await.is_empty());
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    for text in ["device=press-17", "device=oven", "mean (line), p50 to p99 (band)", "step 1m"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    let png = folder.path().join("temperature.png");
    let query = [&["temperature", "--format", "png", "-o", png.to_str().unwrap()], &range[..]].concat();
    assert!(eye.good("query", &query).await.is_empty());
    assert!(fs::read(&png).unwrap().starts_with(b"\x89PNG\r\n"));
    // The oven is silent for minutes at a time: lone points, in the panels of count and of mean.
    assert_eq!(svg.matches("<circle").count(), 6, "{svg}");

    for (view, texts) in [
        ("sites", ["rome", "1/1"]),
        ("gateways", ["gw", "up"]),
        ("devices", ["press-17", "oven"]),
        ("metrics", ["temperature", "last 15 min"]),
    ] {
        let printed = eye.good("top", &["--once", "--ascii", "--view", view]).await;
        assert!(texts.iter().all(|text| printed.contains(text)) && printed.is_ascii(), "{view}: {printed}");
        assert!(printed.contains('#'), "{view} has a sparkline: {printed}");
    }
    let filtered = eye.good("top", &["--once", "--view", "devices", "--filter", "PRESS"]).await;
    assert!(filtered.contains("press-17") && !filtered.contains("oven"), "{filtered}");
    let no_terminal = eye.run("top", &[]).await;
    assert_eq!(no_terminal.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&no_terminal.stderr).contains("--once"), "{no_terminal:?}");

    for end in ["q", "SIGTERM"] {
        let output = eye.watch(end).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "restored", "{end}: {output:?}");
    }
}
