//! The messages of an answer: points of one group each.

use std::{collections::BTreeMap, sync::Arc};

use catchment_proto::wire::{Point, SeriesPoints, StateValue, Value};

use super::aggregate::{Aggregate, AggregateValue, Figures};

/// Most values of one message.
const MESSAGE_VALUES: usize = 4_096;
/// Bytes at which a message is full before: texts and states take many. A point adds a few ten kilobytes at most.
pub(super) const MESSAGE_BYTES: usize = 512 << 10;

/// A message that is ready to be sent.
pub(super) struct Message {
    pub(super) series: SeriesPoints,
    /// Approximate memory.
    pub(super) bytes: usize,
}

/// Collects the points of groups into messages.
pub(super) struct Messages {
    /// Computed of each point.
    aggregates: Arc<[(String, Aggregate)]>,
    points: Vec<Point>,
    /// Values and approximate memory of the points.
    values: usize,
    bytes: usize,
    full: Vec<Message>,
    /// Of the full ones.
    full_bytes: usize,
    full_points: usize,
}

impl Messages {
    pub(super) fn new(aggregates: Arc<[(String, Aggregate)]>) -> Self {
        let (points, full) = (Vec::new(), Vec::new());
        Self { aggregates, points, values: 0, bytes: 0, full, full_bytes: 0, full_points: 0 }
    }

    /// Adds a point of a group.
    #[inline]
    pub(super) fn push(&mut self, labels: &BTreeMap<String, String>, start_ms: i64, figures: &Figures) {
        let point =
            Point { start_ms, values: self.aggregates.iter().map(|(_, of)| value(of, figures)).collect() };
        self.values += point.values.len().max(1);
        self.bytes += size_of::<Point>() + point.values.iter().map(value_bytes).sum::<usize>();
        self.points.push(point);
        if self.values >= MESSAGE_VALUES || self.bytes >= MESSAGE_BYTES {
            self.end_group(labels);
        }
    }

    /// Ends a group, or a message of it.
    pub(super) fn end_group(&mut self, labels: &BTreeMap<String, String>) {
        if self.points.is_empty() {
            return;
        }
        let points = std::mem::take(&mut self.points);
        self.full_points += points.len();
        self.values = 0;
        let label_bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let bytes = std::mem::take(&mut self.bytes) + label_bytes;
        self.full_bytes += bytes;
        self.full.push(Message { series: SeriesPoints { labels: labels.clone(), points }, bytes });
    }

    /// Number of points so far.
    pub(super) fn points(&self) -> usize {
        self.full_points + self.points.len()
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
fn value_bytes(value: &Value) -> usize {
    let states = value.states.iter().map(|of| size_of::<StateValue>() + of.state.len());
    size_of::<Value>() + value.text.as_ref().map_or(0, String::len) + states.sum::<usize>()
}
