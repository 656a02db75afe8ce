//! A request, validated against its limits, as a scan needs it.

use std::sync::Arc;

use catchment_partial::{Parts, Timestamp, Width, Window};
use catchment_proto::wire::AggregateRequest;

use super::aggregate::{Aggregate, AggregateError};
use crate::{
    selector::{METRIC_LABEL, Selector, SelectorError},
    store::Merged,
};

/// Most aggregates of one query.
pub(super) const AGGREGATES_MAX: usize = 64;
/// Most group-by labels.
pub(super) const BY_MAX: usize = 32;
/// Widest step, milliseconds: 317 years, so that no sum of steps overflows.
const STEP_MAX_MS: i64 = 10_000_000_000_000;
/// Longest label name, in bytes.
const LABEL_BYTES_MAX: usize = 200;
/// Aggregates when the request names none.
const AGGREGATES_DEFAULT: [&str; 4] = ["count", "mean", "min", "max"];

/// A valid query.
#[derive(Debug)]
pub(super) struct Plan {
    /// Selects the series.
    pub(super) selector: Selector,
    /// The range of points.
    pub(super) range: Range,
    /// Group-by labels, each once.
    pub(super) by: Vec<String>,
    /// The columns: requested names, each once, and their aggregates.
    pub(super) aggregates: Arc<[(String, Aggregate)]>,
    /// Whether the store may give rows that it merged itself.
    pub(super) resolution: Merged,
    /// Whether points are sent as columns.
    pub(super) columns: bool,
}

/// What aggregates need of the points.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Needs {
    /// Optional parts of the merged partials.
    pub(super) parts: Parts,
    /// Bounds of times above and below; `None`: nothing depends on the order of readings.
    pub(super) order_bounds: Option<Vec<f64>>,
}

/// The windows that start in [from, to), in steps. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// First start of a window.
    pub(super) from_ms: i64,
    /// Windows start before this time.
    pub(super) to_ms: i64,
    /// Width of a point; `None`: one point for the whole range.
    pub(super) step_ms: Option<i64>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error("the range is empty: from ({from_ms} ms) must be before to ({to_ms} ms)")]
    EmptyRange { from_ms: i64, to_ms: i64 },
    #[error("{name} is {value} ms, which is outside the years 1678 to 2261")]
    Time { name: &'static str, value: i64 },
    #[error("step is {0} ms: it must be from 1 to {STEP_MAX_MS}, or 0 for one point")]
    Step(i64),
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    #[error("{count} {what}, at most {max} are allowed")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("by: {0:?} is not a label name")]
    By(String),
}

impl Plan {
    /// What its aggregates need of the points.
    pub(super) fn needs(&self) -> Needs {
        let aggregates = || self.aggregates.iter().map(|(_, aggregate)| aggregate);
        let mut bounds: Vec<f64> = Vec::new();
        for bound in aggregates().filter_map(Aggregate::time_bound) {
            if !bounds.contains(&bound) {
                bounds.push(bound);
            }
        }
        Needs {
            parts: aggregates().fold(Parts::NONE, |parts, aggregate| parts.with(aggregate.parts())),
            order_bounds: aggregates().any(Aggregate::needs_order).then_some(bounds),
        }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// The first error found.
    pub(super) fn new(request: AggregateRequest) -> Result<Self, PlanError> {
        let AggregateRequest {
            selector, from_ms, to_ms, step_ms, by, aggregates, from_windows, columns, ..
        } = request;
        if from_ms >= to_ms {
            return Err(PlanError::EmptyRange { from_ms, to_ms });
        }
        for (name, value) in [("from", from_ms), ("to", to_ms)] {
            Timestamp::from_millis(value).ok_or(PlanError::Time { name, value })?;
        }
        let step_ms = match step_ms {
            0 => None,
            step if (1..=STEP_MAX_MS).contains(&step) => Some(step),
            step => return Err(PlanError::Step(step)),
        };
        let aggregates = named(aggregates)?;
        let windows = from_windows || aggregates.iter().any(|(_, aggregate)| aggregate.needs_windows());
        let resolution = if windows { Merged::OnlyWithoutWindows } else { Merged::Allowed };
        Ok(Self {
            selector: Selector::parse(&selector)?,
            range: Range { from_ms, to_ms, step_ms },
            by: labels(by)?,
            aggregates: aggregates.into(),
            resolution,
            columns,
        })
    }
}

fn labels(by: Vec<String>) -> Result<Vec<String>, PlanError> {
    if by.len() > BY_MAX {
        return Err(PlanError::TooMany { what: "labels in by", count: by.len(), max: BY_MAX });
    }
    let mut labels: Vec<String> = Vec::with_capacity(by.len());
    for label in by {
        let identifier = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let known = !label.starts_with("__") || label == METRIC_LABEL;
        if !identifier || !known || label.len() > LABEL_BYTES_MAX {
            return Err(PlanError::By(label.chars().take(40).collect()));
        }
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

fn named(names: Vec<String>) -> Result<Vec<(String, Aggregate)>, PlanError> {
    if names.len() > AGGREGATES_MAX {
        return Err(PlanError::TooMany { what: "aggregates", count: names.len(), max: AGGREGATES_MAX });
    }
    let names = if names.is_empty() { AGGREGATES_DEFAULT.map(str::to_owned).to_vec() } else { names };
    let mut aggregates: Vec<(String, Aggregate)> = Vec::with_capacity(names.len());
    for name in names {
        for (name, aggregate) in Aggregate::columns(&name)? {
            if !aggregates.iter().any(|(known, _)| *known == name) {
                aggregates.push((name, aggregate));
            }
        }
        // A histogram has a column for each class.
        if aggregates.len() > AGGREGATES_MAX {
            let count = aggregates.len();
            return Err(PlanError::TooMany { what: "aggregates", count, max: AGGREGATES_MAX });
        }
    }
    Ok(aggregates)
}

impl Range {
    /// Start of the point for windows that start at this time: a multiple of the step since the Unix epoch, or the
    /// start of the range.
    pub(super) fn point(&self, start_ms: i64) -> i64 {
        match self.step_ms {
            // Times and steps are bounded far below where this would saturate.
            Some(step) => start_ms.div_euclid(step).saturating_mul(step),
            None => self.from_ms,
        }
    }

    /// The span of the windows of this width that belong to a point: those that start in it and in the range.
    pub(super) fn windows(&self, point_ms: i64, width: Width) -> (Timestamp, Timestamp) {
        let (from_ms, to_ms) = match self.step_ms {
            Some(step) => (self.from_ms.max(point_ms), self.to_ms.min(point_ms.saturating_add(step))),
            None => (self.from_ms, self.to_ms),
        };
        // Both ends were checked by the plan, or lie between two that were.
        let first_start_from = |ms: i64| {
            let time = Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX);
            Window::containing(time.saturating_sub_nanos(1), width).end()
        };
        (first_start_from(from_ms), first_start_from(to_ms))
    }

    /// The part of the range in which windows from `first_ms` to `last_ms` start.
    pub(super) fn overlap(&self, first_ms: i64, last_ms: i64) -> Option<Self> {
        let from_ms = self.from_ms.max(first_ms);
        let to_ms = self.to_ms.min(last_ms.saturating_add(1));
        (from_ms < to_ms).then_some(Self { from_ms, to_ms, ..*self })
    }

    /// Number of points of the range; at least 1.
    pub(super) fn points(&self) -> u64 {
        let Some(step) = self.step_ms else { return 1 };
        let index = |ms: i64| ms.div_euclid(step);
        let last = self.to_ms.saturating_sub(1);
        index(last).abs_diff(index(self.from_ms)).saturating_add(1)
    }

    /// The first so many points (at least one) of the range, and the rest of it.
    pub(super) fn split(&self, points: u64) -> (Self, Option<Self>) {
        let step = self.step_ms.filter(|_| self.points() > points.max(1));
        let Some(step) = step else { return (*self, None) };
        let points = i64::try_from(points.max(1)).unwrap_or(i64::MAX);
        let at = self.point(self.from_ms).saturating_add(step.saturating_mul(points));
        (Self { to_ms: at, ..*self }, Some(Self { from_ms: at, ..*self }))
    }
}

#[cfg(test)]
mod tests;
