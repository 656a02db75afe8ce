//! Points without readings that a request asks for: between the points of a series, before them and after them.
//!
//! Works on messages in the order of the answer, and makes of each as many as there are points.

use std::{iter::Peekable, sync::Arc, vec};

use catchment_proto::wire::{Fill, Point, PointColumns, SeriesPoints, Value, ValueColumn};

use super::{
    aggregate::Aggregate,
    messages::{MESSAGE_BYTES, MESSAGE_VALUES, Message, value_bytes},
    plan::Plan,
    range::Range,
};
use crate::store::Steps;

/// Fills the points of one series after the other.
pub(super) struct Filler {
    range: Range,
    fill: Fill,
    aggregates: Arc<[(String, Aggregate)]>,
    columns: bool,
    /// The present series, without its points.
    series: SeriesPoints,
    group: Option<usize>,
    label_bytes: usize,
    /// Start of its next point.
    next_ms: i64,
    /// Values of its last point with readings.
    previous: Vec<Value>,
    /// Its points with readings that are at hand.
    rows: Peekable<vec::IntoIter<Point>>,
    /// No more of them come.
    ended: bool,
}

impl Filler {
    /// `None`: no points are filled.
    pub(super) fn new(plan: &Plan) -> Option<Self> {
        let filled = plan.fill != Fill::None && plan.range.steps != Steps::Whole;
        filled.then(|| Self {
            range: plan.range.clone(),
            fill: plan.fill,
            aggregates: Arc::clone(&plan.aggregates),
            columns: plan.columns,
            series: SeriesPoints::default(),
            group: None,
            label_bytes: 0,
            next_ms: i64::MAX,
            previous: Vec::new(),
            rows: Vec::new().into_iter().peekable(),
            ended: true,
        })
    }

    /// Number of points of each series.
    pub(super) fn points(&self) -> u64 {
        self.range.points()
    }

    /// Whether points of a group begin another series; then the present one ends, and its rest is to be taken first.
    pub(super) fn ends_before(&mut self, group: Option<usize>) -> bool {
        let ends = self.group != group;
        self.ended |= ends;
        ends
    }

    /// Adds points of the present series, or begins another.
    pub(super) fn push(&mut self, message: Message) {
        let Message { mut series, group, .. } = message;
        let rows = match series.columns.take() {
            Some(columns) => points_of(columns),
            None => std::mem::take(&mut series.points),
        };
        if self.group != Some(group) {
            self.group = Some(group);
            self.label_bytes = series.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
            self.series = series;
            self.next_ms = self.range.point(self.range.from_ms);
            self.previous = vec![Value::default(); self.aggregates.len()];
            self.ended = false;
        }
        self.rows = rows.into_iter().peekable();
    }

    /// The next message; `None` until there are more points of the series, or another begins.
    pub(super) fn take(&mut self) -> Option<Message> {
        let most = MESSAGE_VALUES / self.aggregates.len().max(1) + 1;
        let (mut points, mut bytes) = (Vec::new(), 0);
        while points.len() < most && bytes < MESSAGE_BYTES {
            let Some(point) = self.next_point() else { break };
            bytes += size_of::<Point>() + point.values.iter().map(value_bytes).sum::<usize>();
            points.push(point);
        }
        if points.is_empty() {
            return None;
        }
        let (count, mut series) = (points.len(), self.series.clone());
        match self.columns {
            true => series.columns = Some(columns_of(points, &self.aggregates)),
            false => series.points = points,
        }
        let (group, bytes) = (self.group.unwrap_or_default(), bytes + self.label_bytes);
        Some(Message { series, group, points: count, bytes })
    }

    fn next_point(&mut self) -> Option<Point> {
        let start_ms = self.next_ms;
        let point = match self.rows.peek() {
            Some(row) if row.start_ms <= start_ms => {
                let row = self.rows.next()?;
                if self.fill == Fill::Previous {
                    self.previous.clone_from(&row.values);
                }
                row
            }
            None if !self.ended || start_ms >= self.range.to_ms => return None,
            _ => Point { start_ms, values: self.values() },
        };
        self.next_ms = self.range.steps.end_of(start_ms).unwrap_or(i64::MAX);
        Some(point)
    }

    /// The values of a point without readings.
    fn values(&self) -> Vec<Value> {
        let zero = |number: bool| Value { number: number.then_some(0.0), ..Value::default() };
        match self.fill {
            Fill::Zero => self.aggregates.iter().map(|(_, aggregate)| zero(aggregate.is_number())).collect(),
            // Absent before the first.
            Fill::Previous | Fill::Null | Fill::None => self.previous.clone(),
        }
    }
}

/// The points that columns hold.
fn points_of(columns: PointColumns) -> Vec<Point> {
    let mut start_ms = 0_i64;
    let mut points: Vec<Point> = Vec::with_capacity(columns.start_ms.len());
    for later in columns.start_ms {
        start_ms = start_ms.wrapping_add(later);
        points.push(Point { start_ms, values: Vec::with_capacity(columns.columns.len()) });
    }
    for ValueColumn { numbers, values } in columns.columns {
        let numbers = numbers
            .into_iter()
            .map(|number| Value { number: (!number.is_nan()).then_some(number), ..Value::default() });
        for (point, value) in points.iter_mut().zip(numbers.chain(values)) {
            point.values.push(value);
        }
    }
    points
}

/// Points as columns.
fn columns_of(points: Vec<Point>, aggregates: &[(String, Aggregate)]) -> PointColumns {
    let mut all = PointColumns::default();
    all.columns.resize_with(aggregates.len(), ValueColumn::default);
    let mut last_ms = 0_i64;
    for Point { start_ms, values } in points {
        all.start_ms.push(start_ms.wrapping_sub(std::mem::replace(&mut last_ms, start_ms)));
        for (((_, aggregate), column), value) in aggregates.iter().zip(&mut all.columns).zip(values) {
            match aggregate.is_number() {
                true => column.numbers.push(value.number.unwrap_or(f64::NAN)),
                false => column.values.push(value),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
