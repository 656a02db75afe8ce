//! Retention: rounds that remove partials older than the rules say, on a thread that may block.
//!
//! Nothing undoes a removal, so a round does not trust one clock. It counts ages from the earliest of three times
//! (`round_time`): this machine's clock; the newest watermark of the gateways, which comes from their clocks; and the
//! time of the round before (`last_round`), plus some hours.

mod last_round;
mod round_time;

use std::{
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use catchment_partial::Timestamp;
use catchment_settings::{
    OutageLog,
    supervise::{Supervisor, resume_panic},
};
use tokio::task::JoinHandle;

use self::round_time::{RoundTime, round_time};
use crate::{
    clock, conditions,
    config::{Config, KeepFor},
    metrics::Metrics,
    store::{Cursor, MaintenanceStore, QueryStore, Retained, RetentionRule, Store, StoreError},
};

/// Longest time from the start to the first round: an operator who notices a mistake in the rules can still stop it.
const FIRST_AFTER: Duration = Duration::from_secs(600);
/// How many times the time since the round before a round may advance by: after an outage retention catches up, but a
/// wrong clock has to stay for days before it costs days.
const ADVANCE_MAX: u32 = 4;

/// Removes what the rules allow, round after round.
pub(crate) struct Retention {
    store: Arc<dyn MaintenanceStore>,
    /// Lists the gateways' watermarks.
    gateways: Arc<dyn QueryStore>,
    metrics: Arc<Metrics>,
    rules: Vec<RetentionRule>,
    every: Duration,
    /// Data folder, for the time of the last round.
    folder: PathBuf,
}

/// What one round did.
#[derive(Debug, PartialEq, Eq)]
struct Round {
    time: RoundTime,
    removed: Retained,
}

impl Retention {
    pub(crate) fn new(config: &Config, store: &Arc<dyn Store>, metrics: &Arc<Metrics>) -> Self {
        Self {
            store: Arc::clone(store) as Arc<_>,
            gateways: Arc::clone(store) as Arc<_>,
            metrics: Arc::clone(metrics),
            rules: config.retention.clone(),
            every: config.retention_every,
            folder: config.data.clone(),
        }
    }

    /// Starts the rounds, until `stop` completes; a round that is running then ends first.
    pub(crate) fn spawn(
        self,
        supervisor: &Arc<Supervisor>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        tokio::spawn(supervisor.task("retention", |_| (), self.run(stop)))
    }

    async fn run(self, stop: impl Future<Output = ()>) {
        let this = Arc::new(self);
        let mut stop = pin!(stop);
        let mut outage = OutageLog::default();
        let mut pause = this.every.min(FIRST_AFTER);
        let mut before: Option<Instant> = None;
        this.announce(pause);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = this.every;
            let (here, start) = (Arc::clone(&this), Instant::now());
            // Longer than the interval if the round took long.
            let since = before.map_or(pause, |before| start.duration_since(before).max(pause));
            before = Some(start);
            let round = tokio::task::spawn_blocking(move || here.round(now(), since));
            // Fails only if the runtime ends.
            let Ok(round) = resume_panic(round.await) else { return };
            this.report(round, start.elapsed(), &mut outage);
        }
    }

    /// Logs what will be removed, before it is.
    fn announce(&self, first_round_in: Duration) {
        let Some((all, tables)) = self.rules.split_last() else { return };
        let [windows, minute, hour, day] = all.keep.map(KeepFor::from);
        let tables = tables.len();
        tracing::info!(%windows, %minute, %hour, %day, tables, ?first_round_in, "retention");
    }

    /// One round, at the time of this machine's clock, some time since the round before. `None`: no gateway has reported
    /// a watermark yet.
    fn round(&self, clock: Timestamp, since: Duration) -> Result<Option<Round>, StoreError> {
        let previous = last_round::read(&self.folder);
        let step = since.saturating_mul(ADVANCE_MAX);
        let Some(time) = round_time(clock, newest_watermark(&*self.gateways), previous, step) else {
            return Ok(None);
        };
        // On a full disk this fails, and the round is what makes room.
        if let Err(error) = last_round::write(&self.folder, time.at) {
            tracing::warn!(%error, "cannot write the time of this round of retention");
        }
        let removed = self.store.retain(&self.rules, time.at)?;
        Ok(Some(Round { time, removed }))
    }

    fn report(&self, round: Result<Option<Round>, StoreError>, took: Duration, outage: &mut OutageLog) {
        let counters = &self.metrics.retention;
        counters.round_seconds.set(took.as_secs_f64());
        let Round { time, removed } = match round {
            Ok(Some(round)) => round,
            Ok(None) => {
                tracing::debug!("no gateway has reported a watermark: retention removes nothing");
                return;
            }
            Err(error) => {
                counters.failures.inc();
                if let Some(summary) = outage.record_failure(Instant::now(), &error.to_string()) {
                    tracing::warn!(%error, failures = summary.failures, "a round of retention failed; the next one tries again");
                }
                return;
            }
        };
        if let Some(summary) = outage.record_recovery(Instant::now()) {
            tracing::info!(failures = summary.failures, "retention works again");
        }
        counters.completed(time.at, &removed);
        let held_back = time.held_back.map(|by| {
            let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
            format!(
                "the clock went ahead by more than the time since the last round of retention, which is now {by} \
                 behind: if this clock or those of the gateways are wrong, set them; else retention catches up by itself"
            )
        });
        self.metrics.conditions.report(conditions::RETENTION_HELD_BACK, held_back);
        let Retained { rows, bytes, series } = removed;
        if removed == Retained::default() {
            tracing::debug!(elapsed = ?took, "retention found nothing to remove");
        } else {
            let ages_from_ms = time.at.as_millis();
            tracing::info!(rows, bytes, series, ages_from_ms, elapsed = ?took, "retention removed partials");
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(clock::now_ms()).unwrap_or(Timestamp::MIN)
}

/// The newest watermark of any gateway; none of them is believed far ahead of this machine's clock.
fn newest_watermark(store: &dyn QueryStore) -> Option<Timestamp> {
    let mut newest = None;
    let mut next = Some(Cursor::START);
    while let Some(from) = next {
        let page = store.gateways_page(from);
        newest = page.entries.iter().filter_map(|entry| entry.watermark).max().max(newest);
        next = page.next;
    }
    newest
}

#[cfg(test)]
mod tests;
