//! The answer to an expression.

use std::vec;

use bytes::Bytes;
use catchment_promql::{Answer, Column, Grid, Labels, Samples, Series, Value};

use super::{
    CHUNK_BYTES, HEAD, TRUNCATED,
    histogram::put_histogram,
    number::{put_digits, put_short_time, put_time, put_value},
    put_labels, put_tail, put_text,
};
use crate::query::promql::Written;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prometheus) enum Shape {
    /// A value at one time: vector, scalar or string.
    Instant,
    /// Values at each step: a matrix.
    Range,
}

/// An answer on its grid, in chunks; `limit`: of so many series at most.
pub(in crate::prometheus) fn answer(
    answer: Answer,
    grid: Grid,
    shape: Shape,
    limit: Option<usize>,
) -> Written {
    let Answer { value, mut annotations } = answer;
    let (head, mut series) = match (value, shape) {
        (Value::Vector(series), Shape::Instant) => (head("vector"), series),
        (Value::Vector(mut series), Shape::Range) => {
            // Of a single step, `sort` and `topk` leave an order of their own.
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            (head("matrix"), series)
        }
        (Value::Scalar(values), Shape::Range) => {
            (head("matrix"), vec![Series::floats(Labels::default(), Column::full(values))])
        }
        (Value::Scalar(values), Shape::Instant) => {
            let value = values.first().copied().unwrap_or(f64::NAN);
            (point("scalar", grid, |json| put_digits(json, value)), Vec::new())
        }
        (Value::Text(text), _) => (point("string", grid, |json| put_text(json, &text)), Vec::new()),
    };
    if let Some(limit) = limit.filter(|limit| series.len() > *limit) {
        series.truncate(limit);
        annotations.warn(TRUNCATED);
    }
    let mut tail = b"]}".to_vec();
    put_tail(&mut tail, &annotations);
    let series = series.into_iter();
    Box::new(AnswerText { head, series, current: None, is_first: true, grid, shape, tail })
}

fn head(kind: &str) -> Vec<u8> {
    format!(r#"{HEAD}{{"resultType":"{kind}","result":["#).into_bytes()
}

/// The beginning of an answer that is one value.
fn point(kind: &str, grid: Grid, put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut json = head(kind);
    put_short_time(&mut json, grid.start_ms);
    json.push(b',');
    put(&mut json);
    json
}

/// An answer, chunk by chunk.
struct AnswerText {
    head: Vec<u8>,
    series: vec::IntoIter<Series>,
    /// A series of which a part was written.
    current: Option<Current>,
    is_first: bool,
    grid: Grid,
    shape: Shape,
    tail: Vec<u8>,
}

/// A series, and the next step to be written.
struct Current {
    samples: Samples,
    step: usize,
    is_first: bool,
}

impl Iterator for AnswerText {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut json = std::mem::take(&mut self.head);
        while json.len() < CHUNK_BYTES {
            if let Some(mut current) = self.current.take() {
                if !current.put_steps(&mut json, self.grid) {
                    self.current = Some(current);
                }
            } else if let Some(series) = self.series.next() {
                self.begin(&mut json, series);
            } else {
                json.append(&mut self.tail);
                break;
            }
        }
        (!json.is_empty()).then(|| json.into())
    }
}

impl AnswerText {
    /// Writes the beginning of a series; all of it, if it is a point.
    fn begin(&mut self, json: &mut Vec<u8>, series: Series) {
        let Series { labels, samples } = series;
        let last = match self.shape {
            Shape::Instant => 1,
            Shape::Range => self.grid.count,
        };
        let Some(first) = (0..last).find(|step| has(&samples, *step)) else { return };
        if !std::mem::take(&mut self.is_first) {
            json.push(b',');
        }
        json.extend_from_slice(b"{\"metric\":");
        put_labels(json, &labels);
        let (one, many) = match samples {
            Samples::Floats(_) => (",\"value\":", ",\"values\":["),
            Samples::Windows(_) => (",\"histogram\":", ",\"histograms\":["),
        };
        if self.shape == Shape::Range {
            json.extend_from_slice(many.as_bytes());
            self.current = Some(Current { samples, step: first, is_first: true });
            return;
        }
        json.extend_from_slice(one.as_bytes());
        put_step(json, &samples, 0, self.grid.start_ms);
        json.push(b'}');
    }
}

impl Current {
    /// Writes steps until the chunk is full; returns whether that was all of the series.
    fn put_steps(&mut self, json: &mut Vec<u8>, grid: Grid) -> bool {
        while self.step < grid.count {
            if json.len() >= CHUNK_BYTES {
                return false;
            }
            let step = self.step;
            self.step += 1;
            if !has(&self.samples, step) {
                continue;
            }
            if !std::mem::take(&mut self.is_first) {
                json.push(b',');
            }
            put_step(json, &self.samples, step, grid.time(step));
        }
        json.extend_from_slice(b"]}");
        true
    }
}

fn has(samples: &Samples, step: usize) -> bool {
    match samples {
        Samples::Floats(column) => column.get(step).is_some(),
        Samples::Windows(windows) => windows.get(step).is_some_and(Option::is_some),
    }
}

/// Writes `[time, value]` of a step that has a value.
fn put_step(json: &mut Vec<u8>, samples: &Samples, step: usize, ms: i64) {
    json.push(b'[');
    put_time(json, ms);
    json.push(b',');
    match samples {
        Samples::Floats(column) => put_value(json, column.get(step).unwrap_or(f64::NAN)),
        Samples::Windows(windows) => {
            if let Some(Some(window)) = windows.get(step) {
                put_histogram(json, window);
            }
        }
    }
    json.push(b']');
}

#[cfg(test)]
mod tests;
