//! Series as text and back.

use std::sync::Arc;

use catchment_partial::{Partial, Timestamp};
use catchment_promql::{Labels, METRIC_NAME, Samples, Series, Value};

/// A sample of a series.
#[derive(Clone, Debug)]
pub(crate) enum Sample {
    None,
    Number(f64),
    Window(Arc<Partial>),
}

/// Lines such as `x{a="1"} 1 2 _`.
pub(crate) fn read(data: &str, time_ms: impl Fn(usize) -> i64) -> Vec<(Labels, Vec<Sample>)> {
    let lines = data.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut series: Vec<(Labels, Vec<Sample>)> = lines
        .map(|line| {
            let (metric, values) = line.split_once('}').expect("labels in braces");
            let (name, labels) = metric.split_once('{').expect("labels in braces");
            let mut all = vec![(Arc::from(METRIC_NAME), Arc::from(name))];
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once('=').expect("a value for each label");
                all.push((name.into(), value.trim_matches('"').into()));
            }
            let samples = values.split_whitespace().enumerate();
            (Labels::new(all), samples.map(|(step, text)| sample(text, time_ms(step))).collect())
        })
        .collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

fn sample(text: &str, time_ms: i64) -> Sample {
    if text == "_" {
        return Sample::None;
    }
    let Some(readings) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return Sample::Number(text.parse().expect("a number"));
    };
    let mut window = Partial::empty();
    for reading in readings.split(';') {
        window.push(Timestamp::from_millis(time_ms - 1).expect("a time"), reading.parse().expect("a number"));
    }
    Sample::Window(Arc::new(window))
}

/// A series as a line; windows as `[count;sum]`.
pub(crate) fn shown(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let values: Vec<String> = match &series.samples {
        Samples::Floats(column) => {
            (0..column.len()).map(|step| column.get(step).map_or("_".into(), number)).collect()
        }
        Samples::Windows(windows) => {
            let text = |window: &Partial| format!("[{};{}]", window.count(), window.sum());
            windows.iter().map(|window| window.as_deref().map_or("_".into(), text)).collect()
        }
    };
    format!("{{{}}} {}", labels.join(","), values.join(" "))
}

fn number(value: f64) -> String {
    value.to_string()
}

/// A line for each series, or one of a scalar.
pub(crate) fn shown_value(value: &Value) -> Vec<String> {
    match value {
        Value::Scalar(numbers) => {
            vec![numbers.iter().map(|value| number(*value)).collect::<Vec<_>>().join(" ")]
        }
        Value::Vector(series) => series.iter().map(shown).collect(),
        Value::Text(text) => vec![text.to_string()],
    }
}
