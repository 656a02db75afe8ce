//! The messages of an answer: points of one group each.

use std::sync::Arc;

use catchment_proto::wire::{Point, PointColumns, SeriesPoints, StateValue, Value, ValueColumn};

use super::{
    aggregate::{Aggregate, AggregateValue, Figures},
    groups::Group,
    plan::Plan,
};

/// Most values of one message as points, and as columns: about 100 KiB in memory, so that several are in flight.
pub(super) const MESSAGE_VALUES: usize = 1_024;
const MESSAGE_VALUES_COLUMNS: usize = 8_192;
/// Bytes at which a message is full before: texts and states take many. A point adds a few ten kilobytes at most.
pub(super) const MESSAGE_BYTES: usize = 512 << 10;

/// A message that is ready to be sent.
pub(super) struct Message {
    pub(super) series: SeriesPoints,
    /// Number of the group of its points.
    pub(super) group: usize,
    /// Number of its points.
    pub(super) points: usize,
    /// Approximate memory.
    pub(super) bytes: usize,
}

/// Collects the points of groups into messages.
pub(super) struct Messages {
    /// Computed of each point.
    aggregates: Arc<[(String, Aggregate)]>,
    rows: Rows,
    /// Points of the message, and their approximate memory.
    points: usize,
    bytes: usize,
    full: Vec<Message>,
    /// Of the full ones.
    full_bytes: usize,
    full_points: usize,
}

/// The points of a message.
enum Rows {
    Points(Vec<Point>),
    Columns {
        points: PointColumns,
        /// Start of the last point.
        last_ms: i64,
    },
}

impl Rows {
    fn new(columns: bool) -> Self {
        match columns {
            true => Self::Columns { points: PointColumns::default(), last_ms: 0 },
            false => Self::Points(Vec::new()),
        }
    }

    /// Adds a point; returns its approximate memory.
    fn push(&mut self, start_ms: i64, figures: &Figures, aggregates: &[(String, Aggregate)]) -> usize {
        match self {
            Self::Points(points) => {
                let values: Vec<Value> = aggregates.iter().map(|(_, of)| value(of, figures)).collect();
                let bytes = size_of::<Point>() + values.iter().map(value_bytes).sum::<usize>();
                points.push(Point { start_ms, values });
                bytes
            }
            Self::Columns { points, last_ms } => {
                points.columns.resize_with(aggregates.len(), ValueColumn::default);
                points.start_ms.push(start_ms.wrapping_sub(std::mem::replace(last_ms, start_ms)));
                let mut bytes = size_of::<i64>();
                for ((_, aggregate), column) in aggregates.iter().zip(&mut points.columns) {
                    if aggregate.is_number() {
                        let number = match aggregate.evaluate(figures) {
                            Some(AggregateValue::Number(number)) => number,
                            _ => f64::NAN,
                        };
                        column.numbers.push(number);
                        bytes += size_of::<f64>();
                    } else {
                        let value = value(aggregate, figures);
                        bytes += value_bytes(&value);
                        column.values.push(value);
                    }
                }
                bytes
            }
        }
    }
}

impl Messages {
    /// No points yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let aggregates = Arc::clone(&plan.aggregates);
        let rows = Rows::new(plan.columns);
        Self { aggregates, rows, points: 0, bytes: 0, full: Vec::new(), full_bytes: 0, full_points: 0 }
    }

    /// Adds a point of a group.
    #[inline]
    pub(super) fn push(&mut self, group: &Group, start_ms: i64, figures: &Figures) {
        self.bytes += self.rows.push(start_ms, figures, &self.aggregates);
        self.points += 1;
        let most = match self.rows {
            Rows::Points(_) => MESSAGE_VALUES,
            Rows::Columns { .. } => MESSAGE_VALUES_COLUMNS,
        };
        if self.points * self.aggregates.len() >= most || self.bytes >= MESSAGE_BYTES {
            self.end_group(group);
        }
    }

    /// Ends a group, or a message of it.
    pub(super) fn end_group(&mut self, group: &Group) {
        let points = std::mem::take(&mut self.points);
        if points == 0 {
            return;
        }
        self.full_points += points;
        let bytes = std::mem::take(&mut self.bytes) + group.label_bytes();
        self.full_bytes += bytes;
        let (labels, selector) = (group.labels.clone(), group.selector);
        let as_columns = matches!(self.rows, Rows::Columns { .. });
        let series = match std::mem::replace(&mut self.rows, Rows::new(as_columns)) {
            Rows::Points(points) => SeriesPoints { labels, points, columns: None, selector },
            Rows::Columns { points, .. } => {
                SeriesPoints { labels, points: Vec::new(), columns: Some(points), selector }
            }
        };
        self.full.push(Message { series, group: group.number, points, bytes });
    }

    /// Number of points so far.
    pub(super) fn points(&self) -> usize {
        self.full_points + self.points
    }

    /// Approximate memory so far.
    pub(super) fn bytes(&self) -> usize {
        self.full_bytes + self.bytes
    }

    /// The messages of groups that have ended.
    pub(super) fn take(&mut self) -> Vec<Message> {
        (self.full_bytes, self.full_points) = (0, 0);
        std::mem::take(&mut self.full)
    }
}

/// The value of an aggregate; empty: it is undefined or unknown.
#[inline]
fn value(aggregate: &Aggregate, figures: &Figures) -> Value {
    match aggregate.evaluate(figures) {
        None => Value::default(),
        Some(AggregateValue::Number(number)) => Value { number: Some(number), ..Default::default() },
        Some(AggregateValue::Text(text)) => Value { text: Some(text), ..Default::default() },
        Some(AggregateValue::States(states)) => {
            let states = states.into_iter().map(|(state, number)| StateValue { state, number });
            Value { states: states.collect(), ..Default::default() }
        }
    }
}

/// Approximate memory of a value.
pub(super) fn value_bytes(value: &Value) -> usize {
    let states = value.states.iter().map(|of| size_of::<StateValue>() + of.state.len());
    size_of::<Value>() + value.text.as_ref().map_or(0, String::len) + states.sum::<usize>()
}
