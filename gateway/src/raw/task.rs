//! Answers one query.

use std::{sync::Arc, time::Duration};

use catchment_journal::{ReadError, Reader};
use catchment_proto::{SeriesKey, wire};
use catchment_settings::supervise::resume_panic;
use tokio::{sync::oneshot, time::Instant};

use super::{
    columns::Wanted,
    lookup::SeriesLookup,
    outlet::{Ended, Outlet},
    read::{RawChunk, read_chunk},
    settings::RawSettings,
    start::{self, Start},
};
use crate::{metrics::Metrics, worker::ShardLink};

/// Most series of a query.
const SERIES_MAX: usize = 1_000;
/// An empty message leaves when there were no readings for so long: the aggregator waits no longer than 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const NANOS: i64 = 1_000_000;

/// Why a query is not answered in full.
#[derive(Debug, thiserror::Error)]
enum RawError {
    #[error("the query is refused: {0}")]
    Query(String),
    #[error("journal: {0}")]
    Read(#[from] ReadError),
    #[error("the gateway is stopping")]
    Stopping,
    #[error("the stream has ended")]
    Ended,
}

impl From<Ended> for RawError {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

/// What was found, over all shards.
#[derive(Debug, Default)]
struct Found {
    readings: u64,
    more: bool,
    lost: bool,
    /// The latest of the shards', Unix nanoseconds.
    held_from: Option<i64>,
}

/// A query and what it is answered from.
pub(super) struct RawTask {
    pub(super) query: wire::RawQuery,
    pub(super) links: Arc<[ShardLink]>,
    pub(super) settings: RawSettings,
    pub(super) metrics: Arc<Metrics>,
}

impl RawTask {
    /// Answers the query. Ends early when the stream does.
    pub(super) async fn run(self, mut outlet: Outlet) {
        if !self.settings.kept {
            let message = "the gateway keeps no raw readings: set its raw_keep".to_owned();
            let _ = outlet.end(wire::RawStatus::NotKept, None, message).await;
            return;
        }
        let (status, held_from, message) = match self.answer(&mut outlet).await {
            Ok(found) => (self.status(&found), found.held_from, String::new()),
            Err(error) => (wire::RawStatus::Failed, None, error.to_string()),
        };
        let held_from_ms = held_from.map(|time| time.div_euclid(NANOS));
        let _ = outlet.end(status, held_from_ms, message).await;
    }

    fn status(&self, found: &Found) -> wire::RawStatus {
        let held_from = found.held_from.unwrap_or(i64::MIN).div_euclid(NANOS);
        if found.more {
            wire::RawStatus::Limit
        } else if held_from >= self.query.to_ms && found.readings == 0 {
            wire::RawStatus::Gone
        } else if held_from > self.query.from_ms || found.lost {
            wire::RawStatus::PartlyGone
        } else {
            wire::RawStatus::Complete
        }
    }

    async fn answer(&self, outlet: &mut Outlet) -> Result<Found, RawError> {
        let refs = &self.query.series;
        if refs.len() > SERIES_MAX {
            return Err(RawError::Query(format!("{} series, at most {SERIES_MAX} are allowed", refs.len())));
        }
        let keys: Result<Vec<SeriesKey>, _> = refs.iter().map(SeriesKey::try_from).collect();
        let keys: Arc<[SeriesKey]> = keys.map_err(|error| RawError::Query(error.to_string()))?.into();
        let mut found = Found::default();
        for link in &*self.links {
            if found.more {
                break;
            }
            self.answer_shard(link, &keys, outlet, &mut found).await?;
        }
        Ok(found)
    }

    async fn answer_shard(
        &self,
        link: &ShardLink,
        keys: &Arc<[SeriesKey]>,
        outlet: &mut Outlet,
        found: &mut Found,
    ) -> Result<(), RawError> {
        let (answer, numbers) = oneshot::channel();
        let lookup = SeriesLookup { series: Arc::clone(keys), found: answer };
        link.lookups.send(lookup).await.map_err(|_| RawError::Stopping)?;
        let numbers = numbers.await.map_err(|_| RawError::Stopping)?;
        if numbers.is_empty() {
            return Ok(());
        }
        let nanos = |ms: i64| ms.saturating_mul(NANOS);
        let wanted = Wanted {
            series: numbers.into_iter().map(|(device, series, index)| ((device, series), index)).collect(),
            times: nanos(self.query.from_ms)..nanos(self.query.to_ms),
        };
        let (journal, settings, from) = (link.journal.clone(), self.settings, wanted.times.start);
        let (Start { held_from, .. }, mut reader) = blocking(move || {
            let start = start::find(&journal, from, &settings)?;
            let reader = journal.read(start.position);
            Ok((start, reader))
        })
        .await?;
        found.held_from = found.held_from.max(held_from);
        let wanted = Arc::new(wanted);
        let mut said = Instant::now();
        let most = if self.query.readings_max == 0 { u64::MAX } else { self.query.readings_max };
        loop {
            let left = most.saturating_sub(found.readings);
            let (continued, chunk) = read(reader, Arc::clone(&wanted), left).await?;
            reader = continued;
            let RawChunk { readings, more, lost, at_end } = chunk;
            let count = readings.count();
            found.readings += count;
            if count > 0 || said.elapsed() > SILENCE_MAX {
                said = Instant::now();
                self.metrics.kept.raw_sent.inc_by(count);
                outlet.send(readings.into_wire(&self.query.series)).await?;
            }
            (found.more, found.lost) = (more, found.lost || lost);
            if more || at_end {
                return Ok(());
            }
        }
    }
}

async fn read(mut reader: Reader, wanted: Arc<Wanted>, most: u64) -> Result<(Reader, RawChunk), RawError> {
    blocking(move || {
        let chunk = read_chunk(&mut reader, &wanted, most)?;
        Ok((reader, chunk))
    })
    .await
}

/// On a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, RawError> {
    let worked = resume_panic(tokio::task::spawn_blocking(work).await).map_err(|_| RawError::Stopping)?;
    Ok(worked?)
}
