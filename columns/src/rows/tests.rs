use std::collections::BTreeMap;

use arrow_array::{
    Array as _, Float64Array, MapArray, StringArray,
    cast::AsArray as _,
    types::{Int32Type, UInt32Type},
};
use catchment_proto::wire::{StateValue, Value};
use proptest::prelude::*;

use super::*;
use crate::layout::{Kind, LabelColumns};

fn layout(labels: LabelColumns, selector: bool) -> Layout {
    let aggregates = [("mean", Kind::Number), ("last_state", Kind::Text), ("state_times", Kind::States)];
    let aggregates = aggregates.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
    Layout::new(labels, selector, "", aggregates)
}

fn rows(layout: Layout) -> Rows {
    let schema = layout.schema();
    Rows::new(layout, schema)
}

fn by(labels: &[&str]) -> LabelColumns {
    LabelColumns::Each(labels.iter().map(|label| (*label).to_owned()).collect())
}

/// A point: start, a number, a text, states.
type Row = (i64, Option<f64>, Option<String>, Vec<(String, f64)>);

fn values((_, number, text, states): &Row) -> [Value; 3] {
    let states = states.iter().map(|(state, number)| StateValue { state: state.clone(), number: *number });
    [
        Value { number: *number, ..Value::default() },
        Value { text: text.clone(), ..Value::default() },
        Value { states: states.collect(), ..Value::default() },
    ]
}

fn message(labels: &[(&str, &str)], rows: &[Row], as_columns: bool) -> SeriesPoints {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let points: Vec<Point> =
        rows.iter().map(|row| Point { start_ms: row.0, values: values(row).to_vec() }).collect();
    if !as_columns {
        return SeriesPoints { labels, points, ..SeriesPoints::default() };
    }
    let mut columns = columns_of(points, 3);
    columns.columns[0].numbers =
        columns.columns[0].values.drain(..).map(|value| value.number.unwrap_or(f64::NAN)).collect();
    SeriesPoints { labels, columns: Some(columns), ..SeriesPoints::default() }
}

fn one(start_ms: i64, number: f64) -> Row {
    (start_ms, Some(number), None, Vec::new())
}

/// Reads a row back, with its labels.
fn read(batch: &RecordBatch, row: usize) -> (BTreeMap<String, String>, Row) {
    let schema = batch.schema();
    let mut labels = BTreeMap::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if let Some(of) = column.as_dictionary_opt::<Int32Type>()
            && of.is_valid(row)
        {
            let values: &StringArray = of.values().as_string();
            let key = of.keys().value(row) as usize;
            labels.insert(field.name().clone(), values.value(key).to_owned());
        }
    }
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let times = column("time").as_primitive::<arrow_array::types::TimestampMillisecondType>();
    let numbers: &Float64Array = column("mean").as_primitive();
    let texts: &StringArray = column("last_state").as_string();
    let states: &MapArray = column("state_times").as_map();
    let of = states.value(row);
    let (names, of): (&StringArray, &Float64Array) = (of.column(0).as_string(), of.column(1).as_primitive());
    let pairs = (0..names.len()).map(|i| (names.value(i).to_owned(), of.value(i))).collect::<Vec<_>>();
    assert_eq!(states.is_valid(row), !pairs.is_empty(), "no states are null");
    let row = (
        times.value(row),
        numbers.is_valid(row).then(|| numbers.value(row)),
        texts.is_valid(row).then(|| texts.value(row).to_owned()),
        pairs,
    );
    (labels, row)
}

#[test]
fn small_series_share_a_batch_and_undefined_values_are_null() {
    let mut rows = rows(layout(by(&["device", "room"]), false));
    let full: Row = (5, Some(0.0), Some("auto".into()), vec![("auto".into(), 2.0), ("off".into(), 3.0)]);
    let empty: Row = (10, None, None, Vec::new());
    rows.push(message(&[("device", "a"), ("room", "1")], &[full.clone(), empty.clone()], true));
    rows.push(message(&[("device", "b")], std::slice::from_ref(&full), true));
    rows.push(message(&[("device", "a")], std::slice::from_ref(&empty), false));
    let batch = rows.take().unwrap();
    let label = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let expected = [
        (label(&[("device", "a"), ("room", "1")]), full.clone()),
        (label(&[("device", "a"), ("room", "1")]), empty.clone()),
        (label(&[("device", "b")]), full),
        (label(&[("device", "a")]), empty),
    ];
    assert_eq!((0..batch.num_rows()).map(|row| read(&batch, row)).collect::<Vec<_>>(), expected);
    let devices = batch.column_by_name("device").unwrap().as_dictionary::<Int32Type>();
    assert_eq!((devices.values().len(), devices.null_count()), (2, 0));
    assert!(rows.is_empty() && rows.take().unwrap().num_rows() == 0, "a batch without rows is one too");
}

#[test]
fn labels_are_maps_where_their_names_are_not_known() {
    let mut rows = rows(layout(LabelColumns::Map, true));
    let mut of = message(&[("site", "berlin"), ("device", "a")], &[one(1, 1.0), one(2, 2.0)], true);
    of.selector = 3;
    rows.push(of);
    let batch = rows.take().unwrap();
    let selectors = batch.column_by_name("selector").unwrap().as_primitive::<UInt32Type>();
    assert_eq!(selectors.values(), &[3, 3]);
    let labels = batch.column_by_name("labels").unwrap().as_map().value(1);
    let names: Vec<_> = labels.column(0).as_string::<i32>().iter().flatten().collect();
    let values: Vec<_> = labels.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!((names, values), (vec!["device", "site"], vec!["a", "berlin"]));
}

#[test]
fn a_batch_is_full_by_rows_or_by_bytes_and_short_columns_lack_values() {
    let mut many = rows(layout(by(&[]), false));
    let points: Vec<Row> = (0..8_192).map(|start| one(start, 1.0)).collect();
    for _ in 0..3 {
        many.push(message(&[], &points, true));
        assert!(!many.is_full());
    }
    many.push(message(&[], &points, true));
    assert!(many.is_full() && many.len() == BATCH_ROWS);
    assert_eq!(many.take().unwrap().num_rows(), BATCH_ROWS);
    assert!(!many.is_full());
    let text: Row = (0, None, Some("x".repeat(BATCH_BYTES)), Vec::new());
    many.push(message(&[], &[text], true));
    assert!(many.is_full());
    many.take().unwrap();

    let mut short = message(&[], &points[..3], true);
    short.columns.as_mut().unwrap().columns.truncate(1);
    short.columns.as_mut().unwrap().columns[0].numbers.truncate(1);
    many.push(short);
    let batch = many.take().unwrap();
    let means = batch.column_by_name("mean").unwrap();
    assert_eq!((batch.num_rows(), means.null_count()), (3, 2));
}

fn a_row() -> impl Strategy<Value = Row> {
    let number = prop::option::of(prop_oneof![-1e9_f64..1e9, Just(f64::INFINITY), Just(-0.0)]);
    let states = prop::collection::vec(("[a-c]", 0.0_f64..9.0), 0..3);
    (any::<i64>(), number, prop::option::of("[a-z]{0,3}"), states)
}

proptest! {
    #[test]
    fn rows_are_the_points_of_the_messages(
        series in prop::collection::vec(
            (prop::option::of("[a-c]"), prop::collection::vec(a_row(), 0..5), any::<bool>()), 0..8,
        ),
        cut in 0_usize..8,
    ) {
        let mut rows = rows(layout(by(&["device"]), false));
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for (number, (device, points, as_columns)) in series.iter().enumerate() {
            let labels: Vec<(&str, &str)> = device.iter().map(|device| ("device", device.as_str())).collect();
            rows.push(message(&labels, points, *as_columns));
            let labels: BTreeMap<String, String> =
                labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            expected.extend(points.iter().map(|point| (labels.clone(), point.clone())));
            if number == cut {
                let batch = rows.take().unwrap();
                found.extend((0..batch.num_rows()).map(|row| read(&batch, row)));
            }
        }
        let batch = rows.take().unwrap();
        found.extend((0..batch.num_rows()).map(|row| read(&batch, row)));
        prop_assert_eq!(found, expected);
    }
}
