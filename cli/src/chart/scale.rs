//! From times and values to pixels, and the marks of the value axis.

use crate::query_result::{Point, QueryRequest, ResultSeries, Value};

use super::{LEFT, PLOT_WIDTH, panels::Panel};

/// About how many marks there are.
const MARKS: f64 = 5.0;
/// Most marks.
const MARKS_MAX: usize = 12;

/// The time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeScale {
    /// Its left end, Unix milliseconds.
    pub(super) from_ms: i64,
    /// Its right end, later than the left one.
    pub(super) to_ms: i64,
}

impl TimeScale {
    /// That of the range, and of points that begin before it.
    pub(super) fn new(request: &QueryRequest, drawn: &[ResultSeries]) -> Self {
        let first = drawn.iter().filter_map(|series| series.points.first()).map(|point| point.start_ms).min();
        let from_ms = first.map_or(request.from_ms, |first| first.min(request.from_ms));
        Self { from_ms, to_ms: request.to_ms.max(from_ms.saturating_add(1)) }
    }

    /// The pixel of a time.
    pub(super) fn x(&self, ms: i64) -> f64 {
        let (length, offset) =
            (i128::from(self.to_ms) - i128::from(self.from_ms), i128::from(ms) - i128::from(self.from_ms));
        LEFT + PLOT_WIDTH * (offset as f64 / length.max(1) as f64).clamp(0.0, 1.0)
    }
}

/// The finite number of a column at a point.
pub(super) fn number(point: &Point, column: usize) -> Option<f64> {
    match point.values.get(column)?.as_ref()? {
        Value::Number(number) => Some(*number).filter(|number| number.is_finite()),
        Value::Text(_) | Value::States(_) => None,
    }
}

/// The value axis of a panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    top: f64,
    height: f64,
}

impl Scale {
    /// A scale that holds all values of a panel, with some room.
    pub(super) fn new(panel: &Panel, drawn: &[ResultSeries], top: f64, height: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for point in drawn.iter().flat_map(|series| &series.points) {
            for value in panel.columns().filter_map(|column| number(point, column)) {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if panel.from_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        let room = match (high / 2.0 - low / 2.0) * 0.1 {
            room if room > 0.0 => room,
            // One value: the scale has it in the middle.
            _ => (high.abs() * 0.05).max(0.5),
        };
        // Beyond the range of a double there is no room.
        let widen = |value: f64, by: f64| Some(value + by).filter(|wide| wide.is_finite()).unwrap_or(value);
        let low = if panel.from_zero && low == 0.0 { low } else { widen(low, -room) };
        Self { low, high: widen(high, room), top, height }
    }

    /// The pixel of a value.
    pub(super) fn y(&self, value: f64) -> f64 {
        // Halves, as the difference of two doubles may be none.
        let part = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        self.top + self.height * (1.0 - part.clamp(0.0, 1.0))
    }

    /// The distance of marks: 1, 2 or 5 times a power of ten.
    fn step(&self) -> f64 {
        let rough = self.high / MARKS - self.low / MARKS;
        let power = 10.0_f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
        factor * power
    }

    /// The values that are marked.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let step = self.step();
        let first = (self.low / step).ceil();
        let marks = (0..MARKS_MAX).map(|index| (first + index as f64) * step);
        marks.take_while(|value| value.is_finite() && *value <= self.high).collect()
    }

    /// A value as text, with as many digits as tell two marks apart.
    pub(super) fn label(&self, value: f64) -> String {
        let step = self.step();
        let largest = self.low.abs().max(self.high.abs());
        if largest >= 1e7 || step < 1e-5 {
            let digits = (largest / step).log10().ceil().clamp(0.0, 15.0) as usize;
            let full = format!("{value:.digits$e}");
            let rounded: f64 = full.parse().unwrap_or(value);
            // By the length before zeros go, so that all marks of an axis have one form.
            let plain = (step >= 1.0 && largest < 1e15).then(|| format!("{rounded:.0}"));
            return match plain.filter(|plain| plain.len() <= full.len()) {
                _ if rounded == 0.0 => "0".to_owned(),
                Some(plain) => plain,
                None => format!("{rounded:e}"),
            };
        }
        let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{value:.digits$}");
        // A zero has no sign.
        if text.trim_start_matches('-').bytes().all(|byte| b"0.".contains(&byte)) {
            "0".to_owned()
        } else {
            text
        }
    }
}
