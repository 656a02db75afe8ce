//! How much work the readings of an intake are.

use catchment_partial::{Timestamp, Width};

use super::reading::Reading;

/// How many windows readings fall into, about: a window costs many times what a further reading of it does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IntakeCost {
    /// Width of a window, nanoseconds; 0: not known.
    width: u64,
    /// Readings that were looked at, or stand between such.
    seen: usize,
    /// Earliest and latest time of those that were looked at.
    times: Option<(Timestamp, Timestamp)>,
}

impl IntakeCost {
    /// Windows have this width.
    pub(super) fn measure_by(&mut self, width: Option<Width>) {
        self.width = width.map_or(0, |width| width.as_nanos().unsigned_abs());
    }

    /// Samples the readings that were added since the last call, a few of each message: windows from the earliest to
    /// the latest time.
    pub(super) fn windows_opened(&mut self, readings: &[Reading]) -> usize {
        let new = readings.get(self.seen..).unwrap_or_default();
        self.seen = readings.len();
        for reading in [new.first(), new.get(new.len() / 2), new.last()].into_iter().flatten() {
            let (earliest, latest) = self.times.unwrap_or((reading.time, reading.time));
            self.times = Some((earliest.min(reading.time), latest.max(reading.time)));
        }
        self.windows()
    }

    fn windows(&self) -> usize {
        let Some((earliest, latest)) = self.times else { return 0 };
        let span = latest.saturating_nanos_since(earliest);
        let windows = u64::try_from(span).unwrap_or(0).checked_div(self.width).unwrap_or(0);
        usize::try_from(windows).unwrap_or(usize::MAX)
    }
}
