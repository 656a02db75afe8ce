//! Figures that depend on the order of the readings of a series: counters, time-weighted means, states.
//!
//! A range of time is followed window by window ([`SeriesOrder`]). The partials of a window are taken together first,
//! whatever their number and order; then the windows follow one another. The step from the last reading of a window to the
//! first of the next belongs to the range that contains both. So figures of a range cover the time from its first reading
//! to its last one. Over several series figures add up ([`OrderFigures::merge`]).

use super::counter::extrapolate;
use super::extent::Point;
use super::sequence::{MergeBounds, Sequence, Span};
use super::states::{StateSpan, States};
use super::time_weight::seconds;
use super::value_span::ValueSpan;
use super::{OTHER_STATE, Partial, Values};
use crate::{time::Timestamp, window::Window};

/// States of a range that are told apart; the least remain, as in a window.
const RANGE_STATES_MAX: usize = 256;

/// Follows one series through a range of time, window by window.
#[derive(Clone, Debug, Default)]
pub struct SeriesOrder {
    /// The window at hand.
    window: Option<Window>,
    values: Sequence<ValueSpan>,
    states: Option<States>,
    /// What came before it.
    total: Option<ValueSpan>,
    states_total: Option<StateSpan>,
    /// Whether the order of the numbers, or of the states, is not known somewhere.
    unknown: bool,
    states_unknown: bool,
    bounds: Vec<TimeBeyond>,
    /// Whether readings are summarised somewhere, so that nobody knows how long a value was beyond a bound.
    summarised: bool,
}

/// What rates of a counter need of the readings of one series in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterFigures {
    /// The earliest reading.
    pub first: Point,
    /// The latest reading.
    pub last: Point,
    /// Sum of the values before each reset.
    pub correction: f64,
    /// Readings less than their predecessor; saturates.
    pub resets: u64,
    /// Readings different from their predecessor; saturates.
    pub changes: u64,
}

/// How long a series was beyond a bound, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct TimeBeyond {
    bound: f64,
    above: u64,
    below: u64,
}

impl SeriesOrder {
    /// Nothing yet. `bounds`: values for which [`OrderFigures::time_above`] and [`OrderFigures::time_below`] will be
    /// asked.
    #[must_use]
    pub fn new(bounds: &[f64]) -> Self {
        let beyond = |bound: &f64| TimeBeyond { bound: *bound, above: 0, below: 0 };
        Self { bounds: bounds.iter().map(beyond).collect(), ..Self::default() }
    }

    /// Adds a partial of a window. Windows come in order of their start; partials of one window in any order.
    pub fn push(&mut self, window: Window, partial: &Partial) {
        if self.window.replace(window).is_some_and(|before| before != window) {
            self.end_window();
        }
        let mut few = Sequence::default();
        let values = match &partial.values {
            Values::Timed(timed) => {
                few.readings = timed.points().iter().map(|point| (point.time, point.value)).collect();
                Some(&few)
            }
            Values::Untimed(_) => None,
            Values::Many(many) => many.optional.as_ref().and_then(|optional| optional.order.as_ref()),
        };
        let known = values.is_some_and(|values| self.values.merge(values, MergeBounds::WINDOW));
        self.unknown |= !known;
        if let Some(states) = &partial.states {
            let own = self.states.get_or_insert_with(|| States::new(false));
            own.merge_within(states, MergeBounds::WINDOW);
        }
    }

    /// Adds the window at hand to what came before it.
    fn end_window(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.summarised |= !values.spans.is_empty();
        if !self.bounds.is_empty() {
            self.measure_bounds(&values);
        }
        match values.total(self.total.take()) {
            Ok(total) => self.total = total,
            Err(_) => self.unknown = true,
        }
        if let Some(states) = self.states.take() {
            let total = states.sequence.map(|states| states.total(self.states_total.take()));
            match total {
                Some(Ok(total)) => self.states_total = total,
                Some(Err(_)) | None => self.states_unknown = true,
            }
            limit(&mut self.states_total);
        }
    }

    fn measure_bounds(&mut self, values: &Sequence<ValueSpan>) {
        let mut before = self.total.as_ref().map(|total| total.last);
        for (time, value) in &values.readings {
            let point = Point { time: *time, value: *value };
            if let Some(Point { time, value }) = before {
                let nanos = point.time.saturating_nanos_since(time).max(0) as u64;
                for beyond in &mut self.bounds {
                    let side = if value > beyond.bound { Some(&mut beyond.above) } else { None };
                    let side = if value < beyond.bound { Some(&mut beyond.below) } else { side };
                    if let Some(side) = side {
                        *side = side.saturating_add(nanos);
                    }
                }
            }
            before = Some(point);
        }
    }

    /// Approximate memory, bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let readings = self.values.readings.capacity() * size_of::<(Timestamp, f64)>()
            + self.states.as_ref().map_or(0, States::heap);
        let spans = self.values.spans.capacity() * size_of::<ValueSpan>();
        let states = self.states_total.as_ref().map_or(0, |total| total.times.len() * 64);
        size_of::<Self>() + readings + spans + states
    }

    /// The counter of all that was pushed, after which it begins anew. `None` without numbers, or if their order is not
    /// known somewhere.
    pub fn take_counter(&mut self) -> Option<CounterFigures> {
        self.end_window();
        self.window = None;
        (self.states_total, self.states_unknown, self.summarised) = (None, false, false);
        let total = self.total.take();
        let is_known = !std::mem::take(&mut self.unknown);
        let ValueSpan { first, last, counter, .. } = total.filter(|_| is_known)?;
        let (correction, resets, changes) = (counter.correction, counter.resets, counter.changes);
        Some(CounterFigures { first, last, correction, resets, changes })
    }

    /// The figures of the range `[from, to)`, which contains all windows that were pushed. `rate`, `increase` and
    /// `delta` extrapolate to its ends.
    #[must_use]
    pub fn finish(mut self, from: Timestamp, to: Timestamp) -> OrderFigures {
        self.end_window();
        let mut figures = OrderFigures {
            unknown: self.unknown,
            states_unknown: self.states_unknown,
            bounds_unknown: self.unknown || self.summarised,
            bounds: self.bounds,
            states: self.states_total,
            ..OrderFigures::default()
        };
        if let Some(total) = self.total {
            figures.take(&total, from, to);
        }
        figures
    }
}

/// Counts the greatest states as other until few enough are told apart.
fn limit(total: &mut Option<StateSpan>) {
    let Some(total) = total else { return };
    if total.times.len() <= RANGE_STATES_MAX {
        return;
    }
    let mut told_apart = total.times.iter().filter(|(text, _)| **text != *OTHER_STATE);
    if let Some((greatest, _)) = told_apart.nth(RANGE_STATES_MAX - 1).cloned() {
        // The first and the last one are known by name whatever the others are.
        let ends = (total.first.clone(), total.last.clone());
        total.collapse(&greatest, &OTHER_STATE.into());
        (total.first, total.last) = ends;
    }
}

/// Order-dependent figures of the readings of one series in a range, or the sums over several series.
///
/// Each is `None` where it is undefined (a rate of fewer than two readings), or not known: because of a window with more
/// than [`super::EXACT_MAX`] readings of a metric without [`super::Parts::ORDER`], or a partial of encoding version 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderFigures {
    /// Whether the order of readings is not known somewhere.
    unknown: bool,
    states_unknown: bool,
    bounds_unknown: bool,
    increase: Option<f64>,
    rate: Option<f64>,
    delta: Option<f64>,
    /// Of at least one reading: resets and changes.
    counts: Option<(u64, u64)>,
    covered: u64,
    held: f64,
    linear: f64,
    bounds: Vec<TimeBeyond>,
    states: Option<StateSpan>,
}

fn add(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

impl OrderFigures {
    fn take(&mut self, total: &ValueSpan, from: Timestamp, to: Timestamp) {
        let between = |from: Timestamp, to: Timestamp| {
            seconds(to.as_nanos().saturating_sub(from.as_nanos()).max(0).unsigned_abs())
        };
        let times = [
            between(from, total.first.time),
            between(total.first.time, total.last.time),
            between(total.last.time, to),
        ];
        let first = Some(total.first.value);
        self.increase = extrapolate(total.increase(), total.count, times, first);
        self.rate = self.increase.map(|increase| increase / between(from, to));
        self.delta = extrapolate(total.last.value - total.first.value, total.count, times, None);
        self.counts = Some((total.counter.resets, total.counter.changes));
        (self.covered, self.held, self.linear) =
            (total.weight.covered, total.weight.held, total.weight.linear);
    }

    /// Adds the figures of another series, over the same range and bounds.
    pub fn merge(&mut self, other: &Self) {
        self.unknown |= other.unknown;
        self.states_unknown |= other.states_unknown;
        self.bounds_unknown |= other.bounds_unknown;
        self.increase = add(self.increase, other.increase);
        self.rate = add(self.rate, other.rate);
        self.delta = add(self.delta, other.delta);
        self.counts = match (self.counts, other.counts) {
            (Some(a), Some(b)) => Some((a.0.saturating_add(b.0), a.1.saturating_add(b.1))),
            (a, b) => a.or(b),
        };
        self.covered = self.covered.saturating_add(other.covered);
        self.held += other.held;
        self.linear += other.linear;
        if self.bounds.is_empty() {
            self.bounds.clone_from(&other.bounds);
        } else {
            for (own, other) in self.bounds.iter_mut().zip(&other.bounds) {
                own.above = own.above.saturating_add(other.above);
                own.below = own.below.saturating_add(other.below);
            }
        }
        match (&mut self.states, &other.states) {
            (Some(states), Some(other)) => states.beside(other),
            (states, Some(other)) => *states = Some(other.clone()),
            (_, None) => {}
        }
        limit(&mut self.states);
    }

    /// Approximate memory, bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let states = self.states.as_ref().map_or(0, |states| states.times.len() * 64);
        size_of::<Self>() + self.bounds.capacity() * size_of::<TimeBeyond>() + states
    }

    fn known<T>(&self, figure: Option<T>) -> Option<T> {
        figure.filter(|_| !self.unknown)
    }

    fn finite(&self, figure: Option<f64>) -> Option<f64> {
        self.known(figure).filter(|figure| figure.is_finite())
    }

    /// Increase of a counter, extrapolated to the range, as Prometheus' `increase`.
    #[must_use]
    pub fn increase(&self) -> Option<f64> {
        self.finite(self.increase)
    }

    /// Increase of a counter a second, as Prometheus' `rate`.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.finite(self.rate)
    }

    /// Difference between the last and the first value of a gauge, extrapolated to the range, as Prometheus' `delta`.
    #[must_use]
    pub fn delta(&self) -> Option<f64> {
        self.finite(self.delta)
    }

    /// How often a value was less than its predecessor. `None` without readings.
    #[must_use]
    pub fn resets(&self) -> Option<u64> {
        self.known(self.counts).map(|(resets, _)| resets)
    }

    /// How often a value differed from its predecessor. `None` without readings.
    #[must_use]
    pub fn changes(&self) -> Option<u64> {
        self.known(self.counts).map(|(_, changes)| changes)
    }

    /// Time-weighted mean, each value holding until the next reading. `None` unless the readings cover some time.
    #[must_use]
    pub fn time_weighted_mean(&self) -> Option<f64> {
        self.finite((self.covered > 0).then(|| self.held / seconds(self.covered)))
    }

    /// Time-weighted mean of the straight lines between readings. `None` unless the readings cover some time.
    #[must_use]
    pub fn time_weighted_mean_linear(&self) -> Option<f64> {
        self.finite((self.covered > 0).then(|| self.linear / seconds(self.covered)))
    }

    /// Integral over time in value times seconds, each value holding until the next reading. `None` without readings.
    #[must_use]
    pub fn integral(&self) -> Option<f64> {
        self.finite(self.counts.map(|_| self.held))
    }

    /// Integral of the straight lines between readings, in value times seconds. `None` without readings.
    #[must_use]
    pub fn integral_linear(&self) -> Option<f64> {
        self.finite(self.counts.map(|_| self.linear))
    }

    /// Seconds with a value above a bound, one of those of [`SeriesOrder::new`], each value holding until the next
    /// reading. `None` also where readings are summarised.
    #[must_use]
    pub fn time_above(&self, bound: f64) -> Option<f64> {
        self.beyond(bound).map(|beyond| seconds(beyond.above))
    }

    /// Seconds with a value below a bound, as [`OrderFigures::time_above`].
    #[must_use]
    pub fn time_below(&self, bound: f64) -> Option<f64> {
        self.beyond(bound).map(|beyond| seconds(beyond.below))
    }

    fn beyond(&self, bound: f64) -> Option<&TimeBeyond> {
        let known = !self.bounds_unknown && self.counts.is_some();
        self.bounds.iter().find(|beyond| known && beyond.bound == bound)
    }

    /// Seconds in each state, by rising text; a state holds until the next one. `None` without states.
    #[must_use]
    pub fn state_times(&self) -> Option<Vec<(&str, f64)>> {
        let states = self.states()?;
        Some(states.times.iter().map(|(text, nanos)| (&**text, seconds(*nanos))).collect())
    }

    /// Number of changes from one state to another. `None` without states.
    #[must_use]
    pub fn transitions(&self) -> Option<u64> {
        self.states().map(|states| states.transitions)
    }

    /// The latest state; of several series, that of the one that changed last.
    #[must_use]
    pub fn last_state(&self) -> Option<&str> {
        self.states().map(|states| &*states.last.1)
    }

    fn states(&self) -> Option<&StateSpan> {
        self.states.as_ref().filter(|_| !self.states_unknown)
    }
}
