//! Many series with one window each, or a few.

use std::ops::Range;

use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{Batch, SeriesRef};

use super::columns::{Columns, RowName};
use crate::load::walk::METRICS;

/// Windows in a batch.
const BATCH: i64 = 4_096;
const WIDTH_MS: i64 = 10_000;

/// Devices with ten metrics each: `press-000000` ….
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) series: i64,
    /// Windows of each, one after the other, with one reading each.
    pub(crate) windows: i64,
    /// Start of the first window, Unix milliseconds: a multiple of ten seconds.
    pub(crate) start_ms: i64,
}

impl Population {
    /// End of the last window, Unix milliseconds.
    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms + self.windows * WIDTH_MS
    }

    /// A query for the names: `device` and `metric`, and a time and a value as other tables of readings have.
    pub(crate) fn sql(&self) -> String {
        let names: Vec<String> = METRICS.iter().map(|metric| format!("'{}'", metric.0)).collect();
        format!(
            "SELECT 'press-' || lpad((s // 10)::VARCHAR, 6, '0') AS device, ([{}])[s % 10 + 1] AS metric, \
             0 AS time, 1.0 AS value FROM range({}) a(s)",
            names.join(", "),
            self.series
        )
    }

    fn batch(&self, all: Range<i64>, number: u64) -> Batch {
        let name = |series: i64| SeriesRef {
            device: format!("press-{:06}", series / 10),
            metric: METRICS.get(series as usize % METRICS.len()).map_or("", |metric| metric.0).to_owned(),
            labels: Vec::new(),
        };
        let mut columns = Columns::new(number, WIDTH_MS, all.clone().map(name).collect());
        for (index, series) in (0..).zip(all) {
            for at in 0..self.windows {
                let mut partial = Partial::empty();
                let second = at * (WIDTH_MS / 1_000) + 1;
                partial.push(Timestamp::from_nanos(second * 1_000_000_000), (series % 997) as f64 / 4.0);
                let (window, part) = (self.start_ms / WIDTH_MS + at, (at * self.series + series) * 40);
                columns.push(RowName { series: index, window, part, revision: 0 }, &partial);
            }
        }
        columns.finish()
    }

    /// The batches of one of several gateways.
    pub(crate) fn batches(self, gateway: i64, gateways: i64) -> impl Iterator<Item = Batch> {
        let share = self.series / gateways;
        let all = share * gateway..share * (gateway + 1);
        let each = (BATCH / self.windows).max(1);
        let starts = all.clone().step_by(each as usize);
        starts.zip(1..).map(move |(from, number)| self.batch(from..all.end.min(from + each), number))
    }
}
