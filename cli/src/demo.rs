//! `demo`: the whole data path on one machine, in one folder, with a verified count at the end.
//!
//! Trust root and identities → an aggregator and two gateways → devices over mutual TLS → a table from gRPC
//! queries → devices stop, gateways deliver → the readings acknowledged to devices are compared with the count
//! that a query returns. Everything before the last step is the product itself; nothing here is a mock.

mod fleet;
mod machine;
mod pki;
mod screen;
mod signals;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use catchment_settings::output;
use indicatif::ProgressBar;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    aggregator_client::AggregatorClient,
    args::DemoArgs,
    dashboard::Dashboard,
    failure::Failure,
    query_result::{QueryRequest, QueryResult},
    time::{now_ms, whole_millis},
};
use fleet::{Devices, Ledger, Servers};
use pki::Pki;
use screen::Screen;

/// Refresh interval of the table.
const REFRESH: Duration = Duration::from_secs(1);
/// Longest range that the table shows.
const SHOWN_MAX: Duration = Duration::from_secs(300);
/// Timeout after the end, for acknowledgements and for delivery each.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Selects every series.
const EVERYTHING: &str = "{site=~\".+\"}";

/// Runs the demo until its duration ends or it is interrupted.
///
/// # Errors
/// A part does not start, or the count at the end differs from the acknowledged readings.
pub async fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let interrupted = interrupts()?;
    let folder = Folder::make(args)?;
    let result = in_folder(args, folder.path(), interrupted).await;
    folder.end(args.keep).and(result)
}

/// Turns true at the first Ctrl-C or SIGTERM; a second one ends the process.
fn interrupts() -> Result<watch::Receiver<bool>, Failure> {
    let signal = catchment_settings::shutdown_signal()
        .map_err(|error| Failure::failed(format!("cannot handle signals: {error}")))?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        signal.await;
        sender.send_replace(true);
        // Keep the channel open: only a signal is an interruption.
        sender.closed().await;
    });
    Ok(receiver)
}

async fn in_folder(args: &DemoArgs, dir: &Path, interrupted: watch::Receiver<bool>) -> Result<(), Failure> {
    let mut screen = Screen::new();
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner.set_message(format!("making a trust root and {} identities …", args.devices.saturating_add(5)));
    let (pki_dir, devices) = (dir.join("pki"), args.devices);
    let pki = tokio::task::spawn_blocking(move || pki::make(&pki_dir, devices))
        .await
        .map_err(Failure::failed)??;
    spinner.set_message("starting an aggregator and two gateways …");
    let servers = Servers::start(&pki, dir).await?;
    let result = with_servers(args, &pki, &servers, &mut screen, spinner, interrupted).await;
    result.and(servers.stop().await)
}

async fn with_servers(
    args: &DemoArgs,
    pki: &Pki,
    servers: &Servers,
    screen: &mut Screen,
    spinner: ProgressBar,
    mut interrupted: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let mut client = AggregatorClient::connect(&servers.aggregator, &pki.operator).await?;
    let dashboard = Dashboard::bind(([127, 0, 0, 1], 0).into(), &servers.aggregator, &pki.operator).await?;
    let introduction = introduction(pki, servers, dashboard.url());
    // It ends when the set is dropped: it keeps nothing.
    let mut tasks = JoinSet::new();
    tasks.spawn(dashboard.run(std::future::pending()));
    let began = StartTime { at: Instant::now(), ms: now_ms() };
    spinner.set_message("connecting devices, waiting for the first closed windows …");
    let mut devices = Devices::start(pki, &servers.gateways)?;
    let ledger = std::sync::Arc::clone(&devices.ledger);
    let ended = tokio::select! {
        result = show(args, &introduction, &mut client, &began, &ledger, screen, &spinner) => result,
        reason = devices.failed() => Err(Failure::failed(format!("a device failed: {reason}"))),
        _ = interrupted.wait_for(|interrupted| *interrupted) => Ok(()),
    };
    spinner.finish_and_clear();
    ended?;
    screen.say("\nStopping the devices; waiting until every reading is acknowledged and delivered …")?;
    let ledger = devices.stop(TIMEOUT).await?;
    compare(&mut client, &began, &ledger, screen).await
}

/// When the devices started.
struct StartTime {
    at: Instant,
    ms: i64,
}

/// Shows the table until the demo's duration has passed; forever without one.
async fn show(
    args: &DemoArgs,
    introduction: &str,
    client: &mut AggregatorClient,
    began: &StartTime,
    ledger: &Ledger,
    screen: &mut Screen,
    spinner: &ProgressBar,
) -> Result<(), Failure> {
    let mut introduced = false;
    loop {
        let now = now_ms();
        let from_ms = began.ms.max(now.saturating_sub(whole_millis(SHOWN_MAX)));
        let request = QueryRequest {
            selector: EVERYTHING.to_owned(),
            from_ms,
            to_ms: now.saturating_add(1),
            by: screen::BY.map(str::to_owned).into(),
            aggregates: screen::AGGREGATES.map(str::to_owned).into(),
            ..QueryRequest::default()
        };
        let result = client.aggregate(&request).await?;
        let series = client.series("").await?;
        if !result.series.is_empty() {
            if !introduced {
                spinner.finish_and_clear();
                screen.say(introduction)?;
                introduced = true;
            }
            let heading =
                screen::heading(began.at.elapsed(), ledger.acknowledged(), result.complete_until_ms);
            screen.show(&heading, &screen::rows(&result, &series))?;
        }
        let left = args.duration.map_or(REFRESH, |duration| duration.saturating_sub(began.at.elapsed()));
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(REFRESH)).await;
    }
}

/// Describes the running servers, and how to look at them in a browser and from a second terminal.
fn introduction(pki: &Pki, servers: &Servers, link: &str) -> String {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(Path::parent).map_or_else(|| ".".to_owned(), quoted);
    let gateways: Vec<String> =
        pki::SITES.iter().zip(&servers.gateways).map(|(site, address)| format!("{site} {address}")).collect();
    let examples = [
        "query temperature --last 1m --by site --agg count,mean,p50,p99",
        "query '{__name__=~\"cpu_percent|memory_percent\"}' --last 1m --step 10s --by __name__ --format json",
        "watch vibration --last 30s --by site,device --agg count,mean,max",
        "devices",
        "gateways",
    ];
    let examples: Vec<String> = examples.iter().map(|example| format!("  catchment {example}")).collect();
    format!(
        "An aggregator runs at {}, gateways at {}; this machine and {} simulated sensors report to them.\n\
         To see them in a browser, open this link while the demo runs:\n\n  {link}\n\n\
         To query them from a second terminal while the demo runs, set this once:\n\n  \
         export PATH={folder}:$PATH\n  \
         export CATCHMENT_AGGREGATOR={} CATCHMENT_IDENTITY={}\n\n\
         and then, for example:\n\n{}\n",
        servers.aggregator,
        gateways.join(" and "),
        pki.sensors.len(),
        servers.aggregator,
        quoted(&pki.operator),
        examples.join("\n"),
    )
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Waits until the gateways have delivered, and compares the acknowledged readings with the count of a query.
async fn compare(
    client: &mut AggregatorClient,
    began: &StartTime,
    ledger: &Ledger,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let (acknowledged, measured) = (ledger.acknowledged(), ledger.measured());
    let deadline = Instant::now() + TIMEOUT;
    let margin = whole_millis(Duration::from_secs(60));
    let request = QueryRequest {
        selector: measured_by_the_demo(),
        from_ms: began.ms.saturating_sub(margin),
        to_ms: now_ms().saturating_add(margin),
        aggregates: vec!["count".to_owned()],
        ..QueryRequest::default()
    };
    let counted = loop {
        let result = client.aggregate(&request).await?;
        let counted = result.total_count();
        let done = is_complete(&result, ledger.last_ms()) && counted == acknowledged;
        if done || Instant::now() >= deadline {
            break counted;
        }
        sleep(Duration::from_millis(200)).await;
    };
    let verdict = if counted == acknowledged { "equal" } else { "NOT EQUAL" };
    screen.say(&format!("acknowledged {acknowledged} readings, counted {counted}: {verdict}"))?;
    if ledger.refusals() > 0 {
        screen.say(&format!("{} readings were refused", ledger.refusals()))?;
    }
    if counted != acknowledged {
        return Err(Failure::failed(format!(
            "the query's count differs from the readings acknowledged to the devices ({measured} were measured)"
        )));
    }
    Ok(())
}

/// Selects only the metrics of the demo's own devices, not other readings.
fn measured_by_the_demo() -> String {
    let metrics: Vec<&str> = signals::METRICS.into_iter().chain(machine::METRICS).collect();
    format!("{{__name__=~\"{}\"}}", metrics.join("|"))
}

/// Whether every gateway has delivered the windows up to the last reading.
fn is_complete(result: &QueryResult, last_ms: i64) -> bool {
    result.complete_until_ms.is_some_and(|complete| complete > last_ms)
}

/// The demo's working folder.
enum Folder {
    Temporary(TempDir),
    Given(PathBuf),
}

impl Folder {
    fn make(args: &DemoArgs) -> Result<Self, Failure> {
        let Some(dir) = &args.dir else {
            let made = tempfile::Builder::new().prefix("catchment-demo-").tempdir();
            return made
                .map(Self::Temporary)
                .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")));
        };
        let failed = |error: io::Error| Failure::failed(format!("--dir {}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        if fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(Failure::usage(format!("--dir {}: the folder is not empty", dir.display())));
        }
        // Absolute, so that the commands for a second terminal work from any folder.
        Ok(Self::Given(dir.canonicalize().map_err(failed)?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Given(dir) => dir,
        }
    }

    /// Removes the folder unless `keep` is set.
    fn end(self, keep: bool) -> Result<(), Failure> {
        let path = self.path().to_owned();
        let failed = |error| Failure::failed(format!("cannot remove {}: {error}", path.display()));
        let left = |dir: &Path| format!("certificates and data are left in {}", dir.display());
        match self {
            Self::Temporary(dir) if keep => output::eprint_line(left(&dir.keep())),
            Self::Given(dir) if keep => output::eprint_line(left(&dir)),
            Self::Temporary(dir) => dir.close().map_err(failed)?,
            Self::Given(dir) => fs::remove_dir_all(dir).map_err(failed)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
