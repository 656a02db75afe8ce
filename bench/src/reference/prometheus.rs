//! Debian's Prometheus over the readings of a history, each a sample one millisecond later.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    load::{history::Formula, http::Http},
    process::{Server, free_addr, run},
};

/// Longest time until it answers after it listens.
const READY: Duration = Duration::from_secs(60);

/// Its version, if it is installed.
pub(crate) fn version() -> Option<String> {
    let text = run(Command::new("prometheus").arg("--version")).ok()?;
    text.lines().next().map(str::to_owned)
}

/// Writes all readings in the OpenMetrics text format.
fn write(history: &Formula, path: &Path) -> anyhow::Result<()> {
    let (mut file, mut lines) = (BufWriter::new(File::create(path)?), String::new());
    let per_site = history.series / history.sites;
    for series in 0..history.series {
        let (site, device, metric) = (series / per_site, history.device(series), series % history.metrics);
        for window in history.skipped..history.windows {
            lines.clear();
            let start = history.start_ms + window * history.width_ms;
            for (ms, value) in history.readings_of(series, window) {
                let time = start + ms + 1;
                let (second, ms) = (time / 1000, time % 1000);
                writeln!(
                    lines,
                    "m{metric}{{site=\"site-{site:02}\",device=\"{device}\"}} {value} {second}.{ms:03}"
                )?;
            }
            file.write_all(lines.as_bytes())?;
        }
    }
    file.write_all(b"# EOF\n")?;
    Ok(file.flush()?)
}

/// Starts it in a new folder, with everything in blocks.
///
/// # Errors
/// It is not installed or does not start.
pub(crate) fn start(dir: &Path, history: &Formula) -> anyhow::Result<Server> {
    fs::create_dir_all(dir)?;
    let (input, data, config) = (dir.join("samples.txt"), dir.join("data"), dir.join("prometheus.yml"));
    write(history, &input)?;
    run(Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&input).arg(&data))?;
    fs::remove_file(&input)?;
    fs::write(&config, "global: {}\n")?;
    let addr = free_addr()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.args(["--storage.tsdb.retention.time=10y", &format!("--web.listen-address={addr}")]);
    let server = Server::start_at(command, addr, &dir.join("prometheus.log"))?;
    let deadline = Instant::now() + READY;
    loop {
        match Http::connect(addr, None)?.post("/api/v1/query", "query=1") {
            Ok(_) => return Ok(server),
            Err(error) if Instant::now() > deadline => return Err(error).context("Prometheus is not ready"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
