//! `cargo xtask screenshots`: pictures of the dashboard for the README, of the demo's fleet, in headless Chromium.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::command::{cargo, programs, repository, run};

/// How long the demo runs before the pictures are taken.
const FILLED: Duration = Duration::from_secs(100);
/// Largest picture.
const BYTES_MAX: u64 = 200_000;
/// Name, view, width, dark, and a selector of what must be there.
const PICTURES: [(&str, &str, u32, bool, &str); 3] = [
    ("fleet", "fleet", 1440, false, "table"),
    ("explore", "explore?selector=temperature&by=site&from=now-90s", 1440, true, "[data-state=live] .chart"),
    ("devices-narrow", "devices", 360, false, "table"),
];

/// Ends a process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The browser's driver.
struct Browser {
    _child: Running,
    steps: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Browser {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new("python3");
        command.arg(repository().join("tests/clients/browser.py")).arg("chromium-headless-shell");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("cannot start python3")?;
        let steps = child.stdin.take().context("no standard input")?;
        let results = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { _child: Running(child), steps, results })
    }

    /// Does a step of `browser.py`: the texts are written as JSON here, for they have no control characters.
    fn step(&mut self, width: u32, dark: bool, more: &[(&str, &str)]) -> anyhow::Result<()> {
        let more: Vec<String> = more.iter().map(|(name, value)| format!(", {name:?}: {value:?}")).collect();
        let step = format!("{{\"width\": {width}, \"dark\": {dark}{}}}", more.concat());
        writeln!(self.steps, "{step}")?;
        let mut line = String::new();
        self.results.read_line(&mut line)?;
        let good = line.contains("\"missing\": []") && line.contains("\"errors\": []");
        ensure!(good, "{step}: the page does not show it, or reports an error");
        Ok(())
    }
}

/// Runs the demo, and takes the pictures.
///
/// # Errors
/// The demo or the browser does not start, a view does not come, or a picture is too large.
pub(crate) fn run_all() -> anyhow::Result<()> {
    run(&mut cargo(&["build", "--package", "catchment-cli", "--bin", "catchment"]))?;
    let mut demo = Command::new(programs()?.join("catchment"));
    let demo = demo.arg("demo").stdout(Stdio::piped()).spawn().context("cannot start the demo")?;
    let mut demo = Running(demo);
    let lines = BufReader::new(demo.0.stdout.take().context("no standard output")?).lines();
    let mut lines = lines.map_while(Result::ok);
    let link = lines.find_map(|line| Some(line.trim().to_owned()).filter(|line| line.contains("/?token=")));
    let link = link.context("the demo printed no link to its dashboard")?;
    let page = link.split_once("/?").map_or(link.as_str(), |(page, _)| page);
    // The demo's output is read to its end, so that it does not wait.
    std::thread::spawn(move || lines.for_each(drop));
    eprintln!("waiting {FILLED:?} for readings");
    sleep(FILLED);
    let folder = repository().join("docs/images");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut browser = Browser::start()?;
    browser.step(1440, false, &[("url", &link), ("selector", "table")])?;
    for (name, view, width, dark, selector) in PICTURES {
        let file = folder.join(format!("dashboard-{name}.png"));
        let url = format!("{page}/#{view}");
        browser.step(width, dark, &[("url", &url), ("selector", selector)])?;
        // What is drawn as it comes is there then.
        sleep(Duration::from_secs(3));
        browser.step(width, dark, &[("screenshot", &file.to_string_lossy())])?;
        let bytes = fs::metadata(&file).with_context(|| format!("no {}", file.display()))?.len();
        ensure!(bytes <= BYTES_MAX, "{}: {bytes} bytes of at most {BYTES_MAX}", file.display());
    }
    Ok(())
}
