//! A series' points as paths, with at most four points for each column of pixels: the first, the least, the greatest and
//! the last one, which look like all of them.

use std::fmt::Write as _;

use catchment_aggregator::calendar::{CalendarStep, Unit};

use crate::query_result::{QueryRequest, ResultSeries};

use super::scale::{Scale, TimeScale, number};

const HOUR_MS: i64 = 3_600_000;

/// The distance of points beyond which a line has a gap; `None`: each point stands alone.
pub(super) fn gap_ms(request: &QueryRequest) -> Option<i64> {
    match (request.calendar_step, request.step_ms) {
        (Some(step), _) => Some(longest(step)),
        (None, Some(step)) => Some(step.saturating_add(step / 2)),
        (None, None) => None,
    }
}

/// The longest that a calendar step can be, with a clock that is set back.
fn longest(step: CalendarStep) -> i64 {
    let days = match step.unit() {
        Unit::Day => 1,
        Unit::Week => 7,
        Unit::Month => 31,
        Unit::Year => 366,
    };
    (days * i64::from(step.count()) * 24 + 2) * HOUR_MS
}

/// Draws series of a panel.
pub(super) struct Trace<'a> {
    pub(super) time: &'a TimeScale,
    pub(super) scale: &'a Scale,
    pub(super) gap_ms: Option<i64>,
}

/// The points of one column of pixels.
#[derive(Clone, Copy)]
struct Column {
    pixel: i64,
    first: (f64, f64),
    least: (f64, f64),
    greatest: (f64, f64),
    last: (f64, f64),
}

impl Trace<'_> {
    /// A line as a path, and points that stand alone.
    pub(super) fn line(&self, series: &ResultSeries, column: usize) -> (String, Vec<(f64, f64)>) {
        let (mut path, mut dots) = (String::new(), Vec::new());
        for run in self.runs(series, |point| number(point, column).map(|value| (value, value))) {
            let points = run.iter().flat_map(Column::points).fold(Vec::new(), |mut points, point| {
                if points.last() != Some(&point) {
                    points.push(point);
                }
                points
            });
            match points.as_slice() {
                [alone] => dots.push(*alone),
                points => push_line(&mut path, points.iter().copied(), 'M'),
            }
        }
        (path, dots)
    }

    /// The area between two columns as a path.
    pub(super) fn band(&self, series: &ResultSeries, low: usize, high: usize) -> String {
        let mut path = String::new();
        for run in self.runs(series, |point| Some((number(point, low)?, number(point, high)?))) {
            // A run of one point has a width too.
            let half = if run.len() == 1 { 1.5 } else { 0.0 };
            let ends = |column: &Column, y: f64| [(column.first.0 - half, y), (column.last.0 + half, y)];
            push_line(&mut path, run.iter().flat_map(|column| ends(column, column.greatest.1)), 'M');
            let back = run.iter().rev().flat_map(|column| {
                let [from, to] = ends(column, column.least.1);
                [to, from]
            });
            push_line(&mut path, back, 'L');
            path.push('Z');
        }
        path
    }

    /// Runs of columns without a gap between them. `edges` gives the lower and the upper value of a point.
    fn runs(
        &self,
        series: &ResultSeries,
        edges: impl Fn(&crate::query_result::Point) -> Option<(f64, f64)>,
    ) -> Vec<Vec<Column>> {
        let mut runs: Vec<Vec<Column>> = Vec::new();
        let mut before: Option<i64> = None;
        for point in &series.points {
            let Some((low, high)) = edges(point) else {
                before = None;
                continue;
            };
            let x = self.time.x(point.start_ms);
            let (low, high) = ((x, self.scale.y(low)), (x, self.scale.y(high)));
            let pixel = x.floor() as i64;
            let joins = self
                .gap_ms
                .zip(before)
                .is_some_and(|(gap, before)| point.start_ms.saturating_sub(before) <= gap);
            before = Some(point.start_ms);
            let last = runs.last_mut().and_then(|run| run.last_mut()).filter(|last| last.pixel == pixel);
            // A gap within a pixel cannot be seen.
            match last {
                Some(column) => column.add(low, high),
                None => {
                    let column = Column { pixel, first: high, least: low, greatest: high, last: high };
                    match runs.last_mut().filter(|_| joins) {
                        Some(run) => run.push(column),
                        None => runs.push(vec![column]),
                    }
                }
            }
        }
        runs
    }
}

impl Column {
    fn add(&mut self, low: (f64, f64), high: (f64, f64)) {
        // The greatest value has the least y.
        if low.1 > self.least.1 {
            self.least = low;
        }
        if high.1 < self.greatest.1 {
            self.greatest = high;
        }
        self.last = high;
    }

    /// In the order of time.
    fn points(&self) -> [(f64, f64); 4] {
        let (a, b) = (self.least, self.greatest);
        let [a, b] = if a.0 <= b.0 { [a, b] } else { [b, a] };
        [self.first, a, b, self.last]
    }
}

/// Adds points, the first with the given command.
fn push_line(path: &mut String, points: impl Iterator<Item = (f64, f64)>, first: char) {
    for (index, (x, y)) in points.enumerate() {
        let command = if index == 0 { first } else { 'L' };
        // Writing into a String cannot fail.
        let _ = write!(path, "{command}{x:.1} {y:.1}");
    }
}
