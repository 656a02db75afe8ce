//! The queries for raw readings on one stream.

use std::{collections::BTreeMap, sync::Arc};

use catchment_proto::wire;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    outlet::{Outlet, Pace},
    settings::RawSettings,
    task::RawTask,
};
use crate::{metrics::Metrics, worker::ShardLink};

/// Most queries of a stream at once; an aggregator asks fewer. Further ones get no answer.
const QUERIES_MAX: usize = 16;

/// The queries for raw readings on one stream; dropped with it.
pub(crate) struct RawServer {
    links: Arc<[ShardLink]>,
    settings: RawSettings,
    metrics: Arc<Metrics>,
    sending: mpsc::Sender<wire::DeliverRequest>,
    pace: Pace,
    running: BTreeMap<u64, Running>,
}

/// A query that is answered; dropping it ends that.
struct Running {
    credit: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawServer {
    /// Answers from these shards, on a stream.
    pub(crate) fn new(
        links: Arc<[ShardLink]>,
        settings: RawSettings,
        metrics: Arc<Metrics>,
        sending: mpsc::Sender<wire::DeliverRequest>,
    ) -> Self {
        let pace = Arc::new(Mutex::new(Instant::now()));
        Self { links, settings, metrics, sending, pace, running: BTreeMap::new() }
    }

    /// Begins, continues or cancels a query.
    pub(crate) fn handle(&mut self, query: wire::RawQuery) {
        self.running.retain(|_, running| !running.task.is_finished());
        if query.cancel {
            self.running.remove(&query.id);
            return;
        }
        if let Some(running) = self.running.get(&query.id) {
            running.credit.send_modify(|credit| *credit = credit.saturating_add(query.credit_bytes));
            return;
        }
        // More credit for a query that has ended has no series.
        if query.series.is_empty() {
            return;
        }
        if self.running.len() >= QUERIES_MAX {
            tracing::warn!(
                condition = "raw_queries",
                "the aggregator asks for too many raw readings at once"
            );
            return;
        }
        let bound = if query.credit_bytes == 0 { u64::MAX } else { query.credit_bytes };
        let (credit, granted) = watch::channel(bound);
        let rate = match query.bytes_per_second_max {
            0 => self.settings.rate,
            asked => asked.min(self.settings.rate),
        };
        let outlet = Outlet {
            id: query.id,
            sending: self.sending.clone(),
            credit: granted,
            sent: 0,
            pace: Arc::clone(&self.pace),
            rate,
        };
        let id = query.id;
        let (links, metrics) = (Arc::clone(&self.links), Arc::clone(&self.metrics));
        let task = RawTask { query, links, settings: self.settings, metrics };
        self.running.insert(id, Running { credit, task: tokio::spawn(task.run(outlet)) });
    }
}
