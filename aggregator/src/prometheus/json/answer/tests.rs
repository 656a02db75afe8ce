use std::sync::Arc;

use catchment_partial::{Partial, Timestamp};
use catchment_promql::Annotations;
use serde_json::json;

use super::*;

const GRID: Grid = Grid { start_ms: 1_000, step_ms: 500, count: 3 };

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect()
}

fn text(value: Value, grid: Grid, shape: Shape, limit: Option<usize>) -> String {
    let whole = Answer { value, annotations: Annotations::default() };
    String::from_utf8(answer(whole, grid, shape, limit).flatten().collect()).unwrap()
}

fn column(values: &[Option<f64>]) -> Column {
    let mut column = Column::absent(values.len());
    values.iter().enumerate().for_each(|(step, value)| {
        if let Some(value) = value {
            column.set(step, *value);
        }
    });
    column
}

#[test]
fn vectors_have_one_value_each() {
    let series = vec![
        Series::floats(labels(&[("__name__", "m"), ("device", "a\"b")]), column(&[Some(1.5)])),
        Series::floats(labels(&[]), column(&[None])),
        Series::floats(labels(&[]), column(&[Some(f64::NAN)])),
    ];
    assert_eq!(
        text(Value::Vector(series), Grid::instant(4_100), Shape::Instant, None),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","device":"a\"b"},"value":[4.100,"1.5"]},{"metric":{},"value":[4.100,"NaN"]}]}}"#
    );
    assert_eq!(
        text(Value::Vector(Vec::new()), Grid::instant(0), Shape::Instant, None),
        r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#
    );
}

#[test]
fn scalars_and_texts_have_short_times() {
    assert_eq!(
        text(Value::Scalar(vec![1e21]), Grid::instant(4_100), Shape::Instant, None),
        r#"{"status":"success","data":{"resultType":"scalar","result":[4.1,"1000000000000000000000"]}}"#
    );
    assert_eq!(
        text(Value::Text("a\nb".into()), Grid::instant(4_000), Shape::Instant, None),
        r#"{"status":"success","data":{"resultType":"string","result":[4,"a\nb"]}}"#
    );
}

#[test]
fn a_range_of_one_step_is_ordered_by_labels() {
    let of = |name: &str| Series::floats(labels(&[("a", name)]), column(&[Some(1.0)]));
    let sorted_by_value = Value::Vector(vec![of("2"), of("1")]);
    let text = text(sorted_by_value, Grid { count: 1, ..GRID }, Shape::Range, None);
    assert!(text.find(r#""a":"1""#) < text.find(r#""a":"2""#), "{text}");
}

#[test]
fn matrices_leave_out_absent_steps() {
    let series = vec![Series::floats(labels(&[("a", "b")]), column(&[None, Some(2.0), Some(3.0)]))];
    assert_eq!(
        text(Value::Vector(series), GRID, Shape::Range, None),
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1.500,"2"],[2,"3"]]}]}}"#
    );
    assert_eq!(
        text(Value::Scalar(vec![1e21, 0.0, 1.0]), GRID, Shape::Range, None),
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1e+21"],[1.500,"0"],[2,"1"]]}]}}"#
    );
}

#[test]
fn windows_are_histograms() {
    let mut window = Partial::empty();
    window.push(Timestamp::from_millis(1).unwrap(), 0.0);
    let samples = Samples::Windows(vec![None, Some(Arc::new(window)), None]);
    let series = vec![Series { labels: Labels::default(), samples }];
    assert_eq!(
        text(Value::Vector(series), GRID, Shape::Range, None),
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1.500,{"count":"1","sum":"0","buckets":[[3,"0","0","1"]]}]]}]}}"#
    );
}

#[test]
fn a_limit_cuts_and_says_so() {
    let series = (0..3).map(|_| Series::floats(Labels::default(), column(&[Some(1.0)]))).collect();
    let json = text(Value::Vector(series), Grid::instant(0), Shape::Instant, Some(2));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["data"]["result"].as_array().unwrap().len(), 2);
    assert_eq!(json["warnings"], json!([TRUNCATED]));
}

#[test]
fn warnings_and_notes_follow_the_data() {
    let mut annotations = Annotations::default();
    annotations.warn("w");
    annotations.inform("i");
    let whole = Answer { value: Value::Scalar(vec![1.0]), annotations };
    let json: Vec<u8> = answer(whole, Grid::instant(0), Shape::Instant, None).flatten().collect();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#"{"status":"success","data":{"resultType":"scalar","result":[0,"1"]},"warnings":["w"],"infos":["i"]}"#
    );
}

#[test]
fn long_series_are_cut_into_chunks() {
    let count = 20_000;
    let grid = Grid { start_ms: 0, step_ms: 1, count };
    let values: Vec<f64> = (0..count).map(|step| step as f64 / 7.0).collect();
    let series: Vec<_> =
        (0..3).map(|_| Series::floats(Labels::default(), Column::full(values.clone()))).collect();
    let whole = Answer { value: Value::Vector(series), annotations: Annotations::default() };
    let chunks: Vec<_> = answer(whole, grid, Shape::Range, None).collect();
    assert!(chunks.len() > 10);
    assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK_BYTES + 1_000));
    let json: serde_json::Value = serde_json::from_slice(&chunks.concat()).unwrap();
    let result = json["data"]["result"].as_array().unwrap();
    assert_eq!(result.len(), 3);
    for series in result {
        let points = series["values"].as_array().unwrap();
        assert_eq!(points.len(), count);
        let read: f64 = points[count - 1][1].as_str().unwrap().parse().unwrap();
        assert_eq!(read, values[count - 1]);
    }
}
