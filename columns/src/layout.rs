//! Names and types of the columns of an answer.
//!
//! * `time`: start of the point, timestamp in milliseconds with the time zone of the request;
//! * `selector`: uint32, only with several selectors;
//! * the labels: each a dictionary<int32, utf8>, null where a series lacks it; or `labels`, one map<utf8, utf8>;
//! * the aggregates: each a float64, a utf8 or a map<utf8, float64>, null where it is undefined.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Name of the column of starts.
const TIME: &str = "time";
/// Name of the column that says which selector a series belongs to.
const SELECTOR: &str = "selector";
/// Name of the column that holds all labels.
const LABELS: &str = "labels";
/// Prefix of a label's column whose name another column has.
const LABEL_PREFIX: &str = "label_";

/// What the values of an aggregate are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number for each point.
    Number,
    /// A text for each point.
    Text,
    /// A number for each state of each point.
    States,
}

/// How an answer names its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelColumns {
    /// A column for each of these labels.
    Each(Vec<String>),
    /// One column of maps: which labels there are is not known before the last series.
    Map,
}

/// The columns of an answer.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(crate) labels: LabelColumns,
    /// Whether there is a column for the number of the selector.
    pub(crate) selector: bool,
    /// In the order of the header.
    pub(crate) aggregates: Vec<(String, Kind)>,
    pub(crate) time_zone: Arc<str>,
    schema: SchemaRef,
}

impl Layout {
    /// The columns of a request: its labels, whether it has several selectors, the IANA time zone of its steps (empty:
    /// UTC) and its aggregates in the order of the header. Names that occur twice are kept once.
    ///
    /// A label that is named like another column, such as `time`, gets the prefix `label_`.
    #[must_use]
    pub fn new(
        labels: LabelColumns,
        selector: bool,
        time_zone: &str,
        aggregates: Vec<(String, Kind)>,
    ) -> Self {
        let labels = match labels {
            LabelColumns::Each(names) => LabelColumns::Each(each_once(names)),
            LabelColumns::Map => LabelColumns::Map,
        };
        let time_zone: Arc<str> = if time_zone.is_empty() { "UTC".into() } else { time_zone.into() };
        let fields = fields(&labels, selector, &time_zone, &aggregates);
        Self { labels, selector, aggregates, time_zone, schema: Arc::new(Schema::new(fields)) }
    }

    /// The schema, without metadata.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The schema with metadata, such as [`crate::metadata`] of a header.
    #[must_use]
    pub fn schema_with(&self, metadata: HashMap<String, String>) -> SchemaRef {
        Arc::new(self.schema.as_ref().clone().with_metadata(metadata))
    }
}

fn each_once(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

fn fields(
    labels: &LabelColumns,
    selector: bool,
    time_zone: &Arc<str>,
    aggregates: &[(String, Kind)],
) -> Vec<Field> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::clone(time_zone)));
    let mut fields = vec![Field::new(TIME, time, false)];
    if selector {
        fields.push(Field::new(SELECTOR, DataType::UInt32, false));
    }
    let taken = fields.iter().map(|field| field.name().as_str());
    let mut taken: HashSet<String> =
        taken.chain(aggregates.iter().map(|(name, _)| name.as_str())).map(str::to_owned).collect();
    match labels {
        LabelColumns::Map => {
            let value = Field::new("value", DataType::Utf8, false);
            fields.push(Field::new(LABELS, map_of(value), false));
        }
        LabelColumns::Each(names) => {
            let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            // What is not taken keeps its name, whatever comes before.
            let free: HashSet<&String> = names.iter().filter(|name| !taken.contains(*name)).collect();
            for name in names {
                let mut column = name.clone();
                while !free.contains(name) && (taken.contains(&column) || free.contains(&column)) {
                    column.insert_str(0, LABEL_PREFIX);
                }
                taken.insert(column.clone());
                fields.push(Field::new(column, text(), true));
            }
        }
    }
    fields.extend(aggregates.iter().map(|(name, kind)| Field::new(name, type_of(*kind), true)));
    fields
}

fn type_of(kind: Kind) -> DataType {
    match kind {
        Kind::Number => DataType::Float64,
        Kind::Text => DataType::Utf8,
        Kind::States => map_of(Field::new("value", DataType::Float64, false)),
    }
}

/// A map from texts, with the names of Arrow's specification.
fn map_of(value: Field) -> DataType {
    let entry = DataType::Struct([Field::new("key", DataType::Utf8, false), value].into_iter().collect());
    DataType::Map(Arc::new(Field::new("entries", entry, false)), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(layout: &Layout) -> Vec<String> {
        layout.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn numbers(names: &[&str]) -> Vec<(String, Kind)> {
        names.iter().map(|name| ((*name).to_owned(), Kind::Number)).collect()
    }

    fn each(names: &[&str]) -> LabelColumns {
        LabelColumns::Each(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn columns_are_time_selector_labels_and_aggregates() {
        let layout = Layout::new(each(&["site", "device", "site"]), true, "", numbers(&["mean", "p99"]));
        assert_eq!(names(&layout), ["time", "selector", "site", "device", "mean", "p99"]);
        let schema = layout.schema();
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        assert_eq!((schema.field(0).data_type(), schema.field(0).is_nullable()), (&time, false));
        assert!(schema.field(2).is_nullable() && schema.field(4).is_nullable());
        let days = Layout::new(LabelColumns::Map, false, "Europe/Berlin", numbers(&["count"]));
        assert_eq!(names(&days), ["time", "labels", "count"]);
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into()));
        assert_eq!(days.schema().field(0).data_type(), &time);
    }

    #[test]
    fn no_two_columns_have_one_name() {
        let labels = each(&["time", "label_time", "count", "selector", "labels"]);
        let layout = Layout::new(labels, false, "", numbers(&["count"]));
        assert_eq!(
            names(&layout),
            ["time", "label_label_time", "label_time", "label_count", "selector", "labels", "count"]
        );
    }
}
