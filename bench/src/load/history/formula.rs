//! Windows whose values are a formula of series, window and reading, so that another store can hold the raw readings:
//! [`Formula::sql`] selects the same ones.

use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{Batch, SeriesRef};

use super::columns::{Columns, RowName};

/// Windows a batch: as a gateway closes them.
const BATCH: i64 = 1_024;

/// Equally many windows of every series. A gateway of each site delivers the windows of one series after those of
/// another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formula {
    /// Series of all sites.
    pub(crate) series: i64,
    /// Series of each device: `m0`, `m1` ….
    pub(crate) metrics: i64,
    /// Sites that share them equally: `site-00`, `site-01` ….
    pub(crate) sites: i64,
    /// Windows of each series.
    pub(crate) windows: i64,
    /// Width of the windows, milliseconds.
    pub(crate) width_ms: i64,
    /// Readings of each window, at equal intervals.
    pub(crate) readings: i64,
    /// Start of the first window: Unix milliseconds, a multiple of the width.
    pub(crate) start_ms: i64,
    /// Windows of each series that are left out at the beginning.
    pub(crate) skipped: i64,
}

impl Formula {
    /// Start of the first window that is not left out, Unix milliseconds.
    pub(crate) fn first_ms(&self) -> i64 {
        self.start_ms + self.skipped * self.width_ms
    }

    /// End of the last window, Unix milliseconds.
    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms + self.windows * self.width_ms
    }

    /// The same, but only a share of the windows of each series: the newest.
    pub(crate) fn newest(self, one_of: i64) -> Self {
        Self { skipped: self.windows - self.windows / one_of, ..self }
    }

    /// Windows of all series.
    pub(crate) fn stored(&self) -> i64 {
        self.series * (self.windows - self.skipped)
    }

    /// A query for all its readings: `site`, `device`, `metric`, `time` and `value`.
    pub(crate) fn sql(&self) -> String {
        let Self { series, metrics, sites, windows, width_ms, readings, start_ms, skipped } = self;
        let (per_site, step) = (series / sites, width_ms / readings);
        let first = start_ms + step / 5;
        format!(
            "SELECT 'site-' || lpad((s // {per_site})::VARCHAR, 2, '0') AS site, \
             'press-' || lpad((s // {metrics})::VARCHAR, 5, '0') AS device, 'm' || (s % {metrics})::VARCHAR AS metric, \
             make_timestamp(({first} + w * {width_ms} + k * {step}) * 1000) AS time, \
             (1500 + ((w * {readings} + k) * 7919 + s * 104729) % 2111) / 100.0 AS value \
             FROM range({series}) a(s), range({skipped}, {windows}) b(w), range({readings}) c(k)"
        )
    }

    /// The device of a series.
    pub(crate) fn device(&self, series: i64) -> String {
        format!("press-{:05}", series / self.metrics)
    }

    /// The readings of a window: milliseconds after its start, and values.
    pub(crate) fn readings_of(&self, series: i64, window: i64) -> impl Iterator<Item = (i64, f64)> + use<> {
        let Self { readings, width_ms, .. } = *self;
        let step = width_ms / readings;
        (0..readings).map(move |reading| {
            let value = 1_500 + ((window * readings + reading) * 7_919 + series * 104_729) % 2_111;
            (step / 5 + reading * step, value as f64 / 100.0)
        })
    }

    /// The readings of a window, with times relative to its start.
    fn partial(&self, series: i64, window: i64) -> Partial {
        let mut partial = Partial::empty();
        let readings = self.readings_of(series, window);
        partial.push_run(readings.map(|(ms, value)| (Timestamp::from_nanos(ms * 1_000_000), value)));
        partial
    }

    /// The first windows of the first series, encoded.
    pub(crate) fn encoded(&self, count: i64) -> Vec<Vec<u8>> {
        let encoded = |window| {
            let mut out = Vec::new();
            self.partial(0, window).encode(Timestamp::from_nanos(0), &mut out);
            out
        };
        (0..count).map(encoded).collect()
    }

    fn batch(&self, series: i64, from: i64, number: u64) -> Batch {
        let name = SeriesRef {
            device: self.device(series),
            metric: format!("m{}", series % self.metrics),
            labels: Vec::new(),
        };
        let mut columns = Columns::new(number, self.width_ms, vec![name]);
        let start = self.start_ms / self.width_ms;
        for (at, window) in (from..self.windows.min(from + BATCH)).enumerate() {
            let part = number.cast_signed() * 100_000 + at as i64 * 40;
            let name = RowName { series: 0, window: start + window, part, revision: 20 };
            columns.push(name, &self.partial(series, window));
        }
        columns.finish()
    }

    /// The batches of the gateway of one site.
    pub(crate) fn batches(self, site: i64) -> impl Iterator<Item = Batch> {
        let per_site = self.series / self.sites;
        let all = (site * per_site..(site + 1) * per_site).flat_map(move |series| {
            (self.skipped..self.windows).step_by(BATCH as usize).map(move |from| (series, from))
        });
        all.zip(1..).map(move |((series, from), number)| self.batch(series, from, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_delivered_once() {
        let (series, sites, windows, start_ms) = (20, 2, 2_500, 1_767_225_600_000);
        let metrics = 10;
        let all =
            Formula { series, metrics, sites, windows, width_ms: 10_000, readings: 2, start_ms, skipped: 0 }
                .newest(2);
        assert_eq!((all.stored(), all.first_ms()), (25_000, start_ms + 12_500_000));
        for site in 0..sites {
            let batches: Vec<Batch> = all.batches(site).collect();
            let rows: usize = batches.iter().map(|batch| batch.body_bytes.len()).sum();
            assert_eq!(rows as i64, all.stored() / sites);
            assert!(batches.iter().zip(1..).all(|(batch, number)| batch.number == number));
            let first = batches[0].window[0] * all.width_ms;
            assert_eq!(first, all.first_ms());
        }
        let device = all.batches(1).next().unwrap().series[0].device.clone();
        assert_eq!(device, "press-00001");
    }
}
