//! A request, validated against its limits, as a scan needs it.

mod columns;
mod labels;
mod layout;
mod range;

use std::sync::Arc;

use catchment_partial::Parts;
use catchment_proto::wire::{AggregateRequest, Fill};

use super::{
    aggregate::{Aggregate, AggregateError},
    range::Range,
};
use crate::{
    calendar::{POINTS_MAX as CALENDAR_POINTS_MAX, ZoneError},
    selector::{Selector, SelectorError},
    store::{Merged, Steps},
};

pub(crate) use self::layout::layout;
use self::range::STEP_MAX_MS;

/// Most selectors of one query.
const SELECTORS_MAX: usize = 16;

/// A valid query.
#[derive(Debug)]
pub(super) struct Plan {
    /// Select the series; the groups of each are apart. At least one.
    pub(super) selectors: Vec<Selector>,
    /// The range of points.
    pub(super) range: Range,
    /// Which series are merged.
    pub(super) grouping: Grouping,
    /// The columns: requested names, each once, and their aggregates.
    pub(super) aggregates: Arc<[(String, Aggregate)]>,
    /// Whether the store may give rows that it merged itself.
    pub(super) resolution: Merged,
    /// Whether points are sent as columns.
    pub(super) columns: bool,
    /// Which groups come, and in which order; `None`: all, in the order of their labels.
    pub(super) order: Option<Order>,
    /// What stands for points without readings.
    pub(super) fill: Fill,
    /// Merged rows are refused where windows are stored.
    from_windows: bool,
}

/// The labels that the series of a group agree in, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    /// In these.
    By(Vec<String>),
    /// In all others.
    Without(Vec<String>),
}

/// The order of groups.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    /// A number over the whole range; `None`: the order of their labels.
    pub(super) by: Option<Aggregate>,
    /// Most groups; `None`: all.
    pub(super) most: Option<usize>,
    /// The least first.
    pub(super) ascending: bool,
}

/// What aggregates need of the points.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Needs {
    /// Optional parts of the merged partials.
    pub(super) parts: Parts,
    /// Bounds of times above and below; `None`: nothing depends on the order of readings.
    pub(super) order_bounds: Option<Vec<f64>>,
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
    #[error("the request has both step_ms and calendar_step: give one of them")]
    TwoSteps,
    #[error("the calendar step has no known unit, or a count that is not from 1 to 1,000 years: {0}")]
    CalendarStep(String),
    #[error(
        "the range has more than {CALENDAR_POINTS_MAX} calendar steps: use a wider step or a shorter range"
    )]
    CalendarPoints,
    #[error(transparent)]
    Zone(#[from] ZoneError),
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    #[error("order: {0:?} has no single number to sort by: choose an aggregate such as count or p99")]
    Order(String),
    #[error("fill {0} is not known: use none, null, previous or zero")]
    Fill(i32),
    #[error("{count} {what}, at most {max} are allowed")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("{list}: {label:?} is not a label name")]
    Label { list: &'static str, label: String },
    #[error("the request has labels in by and in without: give one of them")]
    ByAndWithout,
}

impl Plan {
    /// What its aggregates need of the points.
    pub(super) fn needs(&self) -> Needs {
        let aggregates = || self.aggregates.iter().map(|(_, aggregate)| aggregate);
        let mut bounds: Vec<f64> = Vec::new();
        for bound in aggregates().flat_map(Aggregate::time_bounds) {
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
        let range = range::checked(&request)?;
        let AggregateRequest { selector, more_selectors, by, without, aggregates, .. } = request;
        let AggregateRequest { from_windows, columns, top, order, ascending, fill, .. } = request;
        let count = more_selectors.len() + 1;
        if count > SELECTORS_MAX {
            return Err(PlanError::TooMany { what: "selectors", count, max: SELECTORS_MAX });
        }
        let selectors = std::iter::once(&selector).chain(&more_selectors);
        let selectors = selectors.map(|selector| Selector::parse(selector)).collect::<Result<_, _>>()?;
        let aggregates = columns::named(aggregates)?;
        Ok(Self {
            selectors,
            range,
            grouping: labels::grouping(by, without)?,
            resolution: resolution(&aggregates, from_windows),
            aggregates: aggregates.into(),
            columns,
            order: columns::order(&order, top, ascending)?,
            fill: Fill::try_from(fill).map_err(|_| PlanError::Fill(fill))?,
            from_windows,
        })
    }

    /// The query that tells the order of the groups: one point of each, with what they are sorted by.
    pub(super) fn of_order(&self, order: &Order) -> Self {
        let by = order.by.clone().unwrap_or(Aggregate::COUNT);
        let aggregates = vec![(by.to_string(), by)];
        Self {
            selectors: Vec::new(),
            range: self.range.whole(),
            grouping: self.grouping.clone(),
            resolution: resolution(&aggregates, self.from_windows),
            aggregates: aggregates.into(),
            columns: false,
            order: None,
            fill: Fill::None,
            from_windows: self.from_windows,
        }
    }

    /// Approximate memory that grows with the request, bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.range.steps {
            Steps::At(starts) => size_of_val(&**starts),
            Steps::Whole | Steps::Every(_) => 0,
        }
    }
}

/// The rows that aggregates may be computed from.
fn resolution(aggregates: &[(String, Aggregate)], from_windows: bool) -> Merged {
    match from_windows || aggregates.iter().any(|(_, aggregate)| aggregate.needs_windows()) {
        true => Merged::OnlyWithoutWindows,
        false => Merged::Allowed,
    }
}

#[cfg(test)]
mod tests;
