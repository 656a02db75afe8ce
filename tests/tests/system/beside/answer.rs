//! Answers of `/api/v1/query` and `query_range`, and their comparison.

use std::collections::BTreeMap;

use catchment_tests::api;
use serde_json::Value;

/// Labels, and a number for each time.
pub(super) type Series = (BTreeMap<String, String>, Vec<(f64, f64)>);

/// An answer.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Its type, and its series in order.
    Values(String, Vec<Series>),
    /// Its status.
    Refused(u16),
}

fn number(text: &Value) -> f64 {
    let text = text.as_str().unwrap_or_else(|| panic!("{text} is not a text"));
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

fn point(point: &Value) -> (f64, f64) {
    (point[0].as_f64().unwrap_or_else(|| panic!("{point} has no time")), number(&point[1]))
}

/// Parses an answer; also returns its warnings.
pub(super) fn parse((status, json): &api::Answer) -> (Answer, Vec<String>) {
    let warnings = json["warnings"].as_array().into_iter().flatten().map(Value::to_string).collect();
    if *status != 200 {
        assert_eq!(json["status"], "error", "{json}");
        assert!(json["error"].is_string() && json["errorType"].is_string(), "{json}");
        return (Answer::Refused(*status), warnings);
    }
    assert_eq!(json["status"], "success", "{json}");
    let kind = json["data"]["resultType"].as_str().unwrap().to_owned();
    let result = &json["data"]["result"];
    if kind == "scalar" {
        return (Answer::Values(kind, vec![(BTreeMap::new(), vec![point(result)])]), warnings);
    }
    let series = |series: &Value| {
        let labels = series["metric"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let points = match series.get("value") {
            Some(value) => vec![point(value)],
            None => series["values"].as_array().unwrap().iter().map(point).collect(),
        };
        (labels.collect(), points)
    };
    let series =
        result.as_array().unwrap_or_else(|| panic!("no series: {json}")).iter().map(series).collect();
    (Answer::Values(kind, series), warnings)
}

/// What may differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    /// Relative to the number itself.
    pub(super) relative: f64,
    /// Absolute: the numbers whose rounding errors are summed may be much larger than the sum.
    pub(super) absolute: f64,
    /// The series are in a meaningful order.
    pub(super) ordered: bool,
}

/// The first difference between two answers.
pub(super) fn difference(ours: &Answer, theirs: &Answer, tolerance: Tolerance) -> Option<String> {
    match (ours, theirs) {
        (Answer::Refused(ours), Answer::Refused(theirs)) => {
            (ours != theirs).then(|| format!("status {ours}, not {theirs}"))
        }
        (Answer::Values(our_kind, ours), Answer::Values(kind, theirs)) => {
            if our_kind != kind {
                return Some(format!("a {our_kind}, not a {kind}"));
            }
            if ours.len() != theirs.len() {
                return Some(format!(
                    "{} series, not {}: {:?}",
                    ours.len(),
                    theirs.len(),
                    labels(ours, theirs)
                ));
            }
            let (mut ours, mut theirs): (Vec<&Series>, Vec<&Series>) =
                (ours.iter().collect(), theirs.iter().collect());
            if !tolerance.ordered {
                ours.sort_by(|a, b| a.0.cmp(&b.0));
                theirs.sort_by(|a, b| a.0.cmp(&b.0));
            }
            ours.iter().zip(theirs).find_map(|(ours, theirs)| series_difference(ours, theirs, tolerance))
        }
        (ours, theirs) => Some(format!("{}, not {}", shown(ours), shown(theirs))),
    }
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Refused(status) => format!("status {status}"),
        Answer::Values(kind, series) => format!("a {kind} of {} series", series.len()),
    }
}

/// Label sets that only one side has.
fn labels(ours: &[Series], theirs: &[Series]) -> (Vec<String>, Vec<String>) {
    let only = |these: &[Series], those: &[Series]| {
        let alone = these.iter().filter(|(labels, _)| those.iter().all(|(other, _)| other != labels));
        alone.take(3).map(|(labels, _)| format!("{labels:?}")).collect()
    };
    (only(ours, theirs), only(theirs, ours))
}

fn series_difference(ours: &Series, theirs: &Series, tolerance: Tolerance) -> Option<String> {
    if ours.0 != theirs.0 {
        return Some(format!("labels {:?}, not {:?}", ours.0, theirs.0));
    }
    let times = |series: &Series| series.1.iter().map(|(time, _)| *time).collect::<Vec<f64>>();
    let (our_times, their_times) = (times(ours), times(theirs));
    if our_times != their_times {
        let only = |a: &[f64], b: &[f64]| {
            a.iter().copied().filter(|time| !b.contains(time)).take(3).collect::<Vec<f64>>()
        };
        let (more, less) = (only(&our_times, &their_times), only(&their_times, &our_times));
        return Some(format!("{:?}: only ours at {more:?}, only theirs at {less:?}", ours.0));
    }
    ours.1.iter().zip(&theirs.1).find_map(|((time, ours_at), (_, theirs_at))| {
        let is_equal = ours_at == theirs_at
            || (ours_at.is_nan() && theirs_at.is_nan())
            || (ours_at - theirs_at).abs() <= (tolerance.relative * theirs_at.abs()).max(tolerance.absolute);
        (!is_equal).then(|| format!("{:?} at {time}: {ours_at}, not {theirs_at}", ours.0))
    })
}
