//! `load`: simulated devices, each with its own identity, connection and window, for a bounded time.
//!
//! Each device has a pacer, which makes messages at the device's share of the rate, and a driver
//! ([`crate::device`]), which delivers them. If the gateway is slower than the rate, its acks set the pace:
//! the pacer waits for the driver and sends no backlog after the end.

mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use catchment_partial::{Partial, Timestamp};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    args::LoadArgs,
    device::{
        Codec, DeliverError, Event, Frames, GatewayLink, JsonLines, Message, Options, Protocol, Value,
        Values, deliver, random_epoch,
    },
    failure::Failure,
    print::print,
    render::ListFormat,
    time::now_ms,
};
use report::Report;

/// Timeout for outstanding acknowledgements after the end.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Most unacknowledged messages of one device.
const WINDOW: usize = 1024;
/// Capacity of the channel from a pacer to its driver, in messages.
const CHANNEL: usize = 16;
/// Most entries of the identities folder that are read.
const FOLDERS_MAX: usize = 1_000_000;

/// Simulates devices and prints what was acknowledged.
///
/// # Errors
/// Too few identities, a refused connection, or readings refused or not acknowledged.
pub async fn load(args: &LoadArgs) -> Result<(), Failure> {
    let folders = identity_folders(&args.identities, args.devices as usize)?;
    let links = folders
        .iter()
        .map(|folder| GatewayLink::load(args.gateway.clone(), folder, args.protocol))
        .collect::<Result<Vec<_>, _>>()?;
    let report = run(links, args).await;
    print(&match args.format {
        ListFormat::Table => report.to_string(),
        ListFormat::Json => report.to_json(),
    })?;
    report.outcome()
}

/// The first `count` folders in a folder, by name.
fn identity_folders(dir: &Path, count: usize) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::failed(format!("--identities {}: {error}", dir.display()));
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)?.take(FOLDERS_MAX) {
        let path = entry.map_err(failed)?.path();
        if path.join("cert.pem").is_file() {
            folders.push(path);
        }
    }
    folders.sort_unstable();
    if folders.len() < count {
        return Err(Failure::failed(format!(
            "--identities {}: {} device identities found, {count} needed; \
             issue more with `catchment-certs issue device`, or lower --devices",
            dir.display(),
            folders.len(),
        )));
    }
    folders.truncate(count);
    Ok(folders)
}

/// Parameters that all devices share.
struct Plan {
    begin: Instant,
    end: Instant,
    /// Time between two messages of one device; zero: no pause.
    interval: Duration,
    readings: usize,
    epoch: String,
}

async fn run(links: Vec<GatewayLink>, args: &LoadArgs) -> Report {
    let begin = Instant::now();
    let devices = links.len();
    let interval = match args.rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs(1).mul_f64(devices as f64 / f64::from(rate)),
    };
    let plan = Arc::new(Plan {
        begin,
        end: begin + args.duration,
        interval,
        readings: args.readings_per_message as usize,
        epoch: format!("load-{}", random_epoch()),
    });
    let mut tasks = JoinSet::new();
    for (index, link) in links.into_iter().enumerate() {
        let plan = Arc::clone(&plan);
        // Spread the devices over the interval for an even rate.
        let first = plan.interval.mul_f64(index as f64 / devices as f64);
        match args.protocol {
            Protocol::Json => tasks.spawn(device(link, JsonLines, plan, first)),
            Protocol::Frames => tasks.spawn(device(link, Frames::default(), plan, first)),
        };
    }
    let mut report = Report::new(devices, args.protocol);
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(counts) => report.add(&counts),
            Err(error) => report.fail(error.to_string()),
        }
    }
    report.finish(begin.elapsed());
    report
}

/// Outcome of one device's messages.
#[derive(Debug, Default)]
struct DeviceCounts {
    sent_messages: u64,
    acknowledged_messages: u64,
    acknowledged_readings: u64,
    refusals: u64,
    reconnects: u64,
    /// Seconds from accepting a message to its ack; the timestamps in the partial are meaningless.
    latency: Partial,
    latency_max: Duration,
    failure: Option<String>,
}

impl DeviceCounts {
    fn observe(&mut self, event: &Event<'_, Values>) {
        match event {
            Event::Settled { message, refused, durable, waited } => {
                self.refusals = self.refusals.saturating_add(u64::from(*refused));
                if *durable {
                    let readings = (message.body.readings.len() as u64).saturating_sub(u64::from(*refused));
                    self.acknowledged_messages = self.acknowledged_messages.saturating_add(1);
                    self.acknowledged_readings = self.acknowledged_readings.saturating_add(readings);
                    self.latency_max = self.latency_max.max(*waited);
                    self.latency.push(Timestamp::MIN, waited.as_secs_f64());
                }
            }
            Event::Disconnected { .. } => self.reconnects = self.reconnects.saturating_add(1),
            Event::Refused(refusal, _) if self.failure.is_none() => {
                self.failure = Some(format!("refused: {} ({})", refusal.message, refusal.code));
            }
            Event::Welcomed(_) | Event::Refused(..) | Event::AlreadyDurable(_) => {}
        }
    }
}

/// One device from its first message to its last ack.
async fn device<C>(link: GatewayLink, codec: C, plan: Arc<Plan>, first: Duration) -> DeviceCounts
where
    C: Codec<Body = Values>,
{
    let (sender, source) = mpsc::channel(CHANNEL);
    let options = Options { messages_max: WINDOW, ..Options::new(plan.epoch.clone()) };
    let counts = Mutex::new(DeviceCounts::default());
    let locked = || counts.lock().unwrap_or_else(PoisonError::into_inner);
    let driver = deliver(&link, codec, &options, source, |event| locked().observe(&event));
    let ((), delivered) = tokio::join!(
        pace(&plan, first, sender, || {
            let mut counts = locked();
            counts.sent_messages = counts.sent_messages.saturating_add(1);
        }),
        timeout((plan.end - plan.begin) + DRAIN_MAX, driver),
    );
    let mut counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    match delivered {
        Ok(Ok(())) => {}
        Ok(Err(DeliverError::Refused(reason))) => counts.failure = Some(reason),
        Ok(Err(error @ DeliverError::Stalled { .. })) => counts.failure = Some(error.to_string()),
        Err(_) => {
            let after = humantime::format_duration(DRAIN_MAX);
            counts.failure.get_or_insert(format!("some messages were unacknowledged {after} after the end"));
        }
    }
    counts
}

/// Makes messages at the plan's pace until its end.
async fn pace(plan: &Plan, first: Duration, sender: mpsc::Sender<Message<Values>>, sent: impl Fn()) {
    let mut due = plan.begin + first;
    for seq in 1.. {
        if due >= plan.end {
            return;
        }
        sleep_until(due).await;
        let slot = tokio::select! {
            slot = sender.reserve() => slot,
            () = sleep_until(plan.end) => return,
        };
        // The driver has ended; its result says why.
        let Ok(slot) = slot else { return };
        slot.send(Message { seq, body: values(plan.readings, seq) });
        sent();
        // After waiting for a slow gateway, continue at the pace from now on, without a burst.
        due = (due + plan.interval).max(Instant::now() - plan.interval);
    }
}

/// The readings of one message, each of its own metric.
fn values(count: usize, seq: u64) -> Values {
    let readings = (0..count).map(|metric| {
        let value = ((seq % 1000) as f64).mul_add(0.01, metric as f64);
        (format!("load_{metric}"), Value::Number(value))
    });
    Values { time_ms: now_ms(), labels: Vec::new(), readings: readings.collect() }
}

#[cfg(test)]
mod tests;
