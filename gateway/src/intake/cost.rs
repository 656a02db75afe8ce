//! How much work an intake is.

use catchment_partial::{Timestamp, Width};

use super::{reading::Reading, refusal::Refusal};

/// How many windows readings fall into, about, and how many were refused: a window costs many times what a further
/// reading of it does, and a refused reading costs as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IntakeCost {
    /// Width of a window, nanoseconds; 0: not known.
    width: i64,
    /// Readings that were looked at.
    seen: usize,
    /// Where they lie.
    extent: Option<Extent>,
    /// Refusals that were looked at.
    refusals_seen: usize,
    /// Readings, or messages that cannot be read, that those stand for.
    refused: usize,
}

/// Between which times and series readings lie.
#[derive(Clone, Copy, Debug)]
struct Extent {
    times: (Timestamp, Timestamp),
    series: (u32, u32),
}

impl Extent {
    fn of(reading: &Reading) -> Self {
        Self { times: (reading.time, reading.time), series: (reading.series, reading.series) }
    }

    fn with(self, reading: &Reading) -> Self {
        let ((earliest, latest), (least, greatest)) = (self.times, self.series);
        Self {
            times: (earliest.min(reading.time), latest.max(reading.time)),
            series: (least.min(reading.series), greatest.max(reading.series)),
        }
    }
}

impl IntakeCost {
    /// Windows have this width.
    pub(super) fn measure_by(&mut self, width: Option<Width>) {
        self.width = width.map_or(0, Width::as_nanos);
    }

    /// Windows that the readings open, beside one of each series, which mostly is open already. Each series counts as
    /// having all windows between the earliest and the latest time, so this is too high for readings that lie apart,
    /// but it is too low for none: whatever the order and wherever the readings lie, each further window of a series
    /// counts. Looks at the readings that were added since the last call.
    pub(super) fn windows_opened(&mut self, readings: &[Reading]) -> usize {
        let new = readings.get(self.seen..).unwrap_or_default();
        self.seen = readings.len();
        if let Some(first) = new.first() {
            let before = self.extent.unwrap_or_else(|| Extent::of(first));
            self.extent = Some(new.iter().fold(before, Extent::with));
        }
        self.windows().min(readings.len())
    }

    /// Readings that were refused. Looks at the refusals that were added since the last call.
    pub(super) fn refused(&mut self, refusals: &[Refusal]) -> usize {
        let new = refusals.get(self.refusals_seen..).unwrap_or_default();
        self.refusals_seen = refusals.len();
        self.refused =
            new.iter().fold(self.refused, |refused, refusal| refused.saturating_add(refusal.count as usize));
        self.refused
    }

    fn windows(&self) -> usize {
        let Some(Extent { times: (earliest, latest), series: (least, greatest) }) = self.extent else {
            return 0;
        };
        let index = |time: Timestamp| time.as_nanos().checked_div_euclid(self.width).unwrap_or(0);
        let further = u64::try_from(index(latest).saturating_sub(index(earliest))).unwrap_or(0);
        let series = u64::from(greatest - least) + 1;
        usize::try_from(further.saturating_mul(series)).unwrap_or(usize::MAX)
    }
}
