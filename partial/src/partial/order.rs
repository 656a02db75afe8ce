//! Figures that depend on the order of the readings of a series: counters, time-weighted means, states.

use super::Partial;
use crate::{time::Timestamp, window::Window};

/// Follows one series through a range of time, window by window.
#[derive(Clone, Debug, Default)]
pub struct SeriesOrder {}

/// Order-dependent figures of the readings of one series in a range, or the sums over several series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderFigures {}

impl SeriesOrder {
    /// Nothing yet. `bounds`: values for which [`OrderFigures::time_above`] and [`OrderFigures::time_below`] will be
    /// asked.
    #[must_use]
    pub fn new(_bounds: &[f64]) -> Self {
        Self {}
    }

    /// Adds a partial of a window. Windows come in order of their start; partials of one window in any order.
    pub fn push(&mut self, _window: Window, _partial: &Partial) {}

    /// Approximate memory, bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
    }

    /// The figures of the range `[from, to)`, which contains all windows that were pushed. `rate`, `increase` and
    /// `delta` extrapolate to its ends.
    #[must_use]
    pub fn finish(self, _from: Timestamp, _to: Timestamp) -> OrderFigures {
        OrderFigures {}
    }
}

/// `None` wherever a figure is undefined, or not known: a window with more than [`super::EXACT_MAX`] readings of a
/// metric without the part `order`, or a partial of version 1.
impl OrderFigures {
    /// Adds the figures of another series.
    pub fn merge(&mut self, _other: &Self) {}
    /// Increase of a counter, as Prometheus' `increase`.
    #[must_use]
    pub fn increase(&self) -> Option<f64> {
        None
    }
    /// Increase a second, as Prometheus' `rate`.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        None
    }
    /// Difference of a gauge, as Prometheus' `delta`.
    #[must_use]
    pub fn delta(&self) -> Option<f64> {
        None
    }
    /// How often a value was less than its predecessor.
    #[must_use]
    pub fn resets(&self) -> Option<u64> {
        None
    }
    /// How often a value differed from its predecessor.
    #[must_use]
    pub fn changes(&self) -> Option<u64> {
        None
    }
    /// Time-weighted mean, each value holding until the next reading.
    #[must_use]
    pub fn time_weighted_mean(&self) -> Option<f64> {
        None
    }
    /// Time-weighted mean of the straight lines between readings.
    #[must_use]
    pub fn time_weighted_mean_linear(&self) -> Option<f64> {
        None
    }
    /// Integral over time in value · seconds, each value holding until the next reading.
    #[must_use]
    pub fn integral(&self) -> Option<f64> {
        None
    }
    /// Integral of the straight lines between readings, value · seconds.
    #[must_use]
    pub fn integral_linear(&self) -> Option<f64> {
        None
    }
    /// Seconds with a value above a bound, one of those of [`SeriesOrder::new`].
    #[must_use]
    pub fn time_above(&self, _bound: f64) -> Option<f64> {
        None
    }
    /// Seconds with a value below a bound, one of those of [`SeriesOrder::new`].
    #[must_use]
    pub fn time_below(&self, _bound: f64) -> Option<f64> {
        None
    }
    /// Seconds in each state, by its text, sorted; a state holds until the next one. `None`: there are no states.
    #[must_use]
    pub fn state_times(&self) -> Option<Vec<(&str, f64)>> {
        None
    }
    /// Number of changes from one state to another.
    #[must_use]
    pub fn transitions(&self) -> Option<u64> {
        None
    }
    /// The latest state.
    #[must_use]
    pub fn last_state(&self) -> Option<&str> {
        None
    }
}
