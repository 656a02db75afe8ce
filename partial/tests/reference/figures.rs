//! The crate's figures beside the expected ones, for every way in which partials can come about.

use catchment_partial::{EXACT_MAX, OrderFigures, Partial, Parts, Timestamp};

use crate::build::{self, Shuffle, WAYS, Way, all_parts};
use crate::data::{self, Expected, Reading};

/// Largest relative difference of figures that are not estimates.
const EXACT: f64 = 1e-12;
/// Of quantiles beyond [`EXACT_MAX`] values.
const SKETCH: f64 = 0.01;
/// Of the estimated number of distinct values: three standard errors.
const DISTINCT: f64 = 0.05;

/// What is summarised: the readings of one or several series in a range.
struct Subject {
    parts: Parts,
    /// All values in rising order.
    values: Vec<f64>,
    /// Whether a window holds more numbers than are kept as they are.
    is_many: bool,
    /// Whether the readings of a window are spread over parts.
    is_spread: bool,
    partial: Partial,
    order: OrderFigures,
}

fn near(value: f64, expected: f64, tolerance: f64) -> bool {
    value == expected || (value - expected).abs() <= tolerance * expected.abs()
}

/// Describes a difference.
fn differs<T: std::fmt::Debug, U: std::fmt::Debug>(value: T, expected: U) -> Result<(), String> {
    Err(format!("{value:?}, expected {expected:?}"))
}

fn compare(value: Option<f64>, expected: Option<f64>, tolerance: f64) -> Result<(), String> {
    match (value, expected) {
        (None, None) => Ok(()),
        (Some(a), Some(b)) if near(a, b, tolerance) => Ok(()),
        _ => differs(value, expected),
    }
}

impl Subject {
    fn is_exact(&self) -> bool {
        self.values.len() <= EXACT_MAX
    }

    /// Figures that are only known with an optional part where values are many.
    fn with_part(
        &self,
        part: Parts,
        is_many: bool,
        value: Option<f64>,
        expected: Option<f64>,
    ) -> Result<(), String> {
        let expected = expected.filter(|_| !is_many || self.parts.contains(part));
        compare(value, expected, EXACT)
    }

    fn quantiles(&self, row: &Expected) -> Result<(), String> {
        let expected = Expected::numbers(row.value.unwrap());
        for (q, expected) in Expected::numbers(row.argument).into_iter().zip(expected) {
            let exact = self.is_exact() || q == 0.0 || q == 1.0;
            compare(self.partial.quantile(q), Some(expected), if exact { 0.0 } else { SKETCH })?;
        }
        Ok(())
    }

    /// Exactly the values below a bound, or those below another one that is as near as a quantile is.
    fn below(&self, bound: f64, expected: u64) -> Result<(), String> {
        let count = self.partial.below(bound);
        let count_below = |bound: f64| self.values.partition_point(|value| *value < bound) as u64;
        assert_eq!(count_below(bound), expected);
        let reach = bound.abs() * (1.01 / 0.99 - 1.0) * 1.001;
        let known = match self.is_exact() {
            true => expected..=expected,
            false => count_below(bound - reach)..=count_below(bound + reach),
        };
        if known.contains(&count) { Ok(()) } else { differs(count, known) }
    }

    fn histogram(&self, row: &Expected) -> Result<(), String> {
        let mut below = 0.0;
        let counts = Expected::numbers(row.value.unwrap());
        for (bound, count) in Expected::numbers(row.argument).into_iter().zip(counts) {
            below += count;
            self.below(bound, below as u64)?;
        }
        Ok(())
    }

    /// As SciPy's; with a sketch, within its accuracy of the magnitudes that are averaged.
    fn trimmed_mean(&self, row: &Expected) -> Result<(), String> {
        let cut: f64 = row.argument.parse().unwrap();
        let (value, expected) = (self.partial.trimmed_mean(cut), row.number());
        if self.is_exact() {
            return compare(value, expected, EXACT);
        }
        let cut = (cut * self.values.len() as f64) as usize;
        let kept = &self.values[cut..self.values.len() - cut];
        let magnitude = kept.iter().map(|value| value.abs()).sum::<f64>() / kept.len() as f64;
        let is_near = value.zip(expected).is_some_and(|(a, b)| (a - b).abs() <= 1.05 * SKETCH * magnitude);
        if is_near { Ok(()) } else { differs(value, expected) }
    }

    fn distinct(&self, row: &Expected, states: bool) -> Result<(), String> {
        let value = self.partial.distinct();
        if self.is_exact() && !states {
            return compare(value, row.number(), 0.0);
        }
        let known = self.parts.contains(Parts::DISTINCT) || self.is_exact();
        compare(value, row.number().filter(|_| known), DISTINCT)
    }

    /// A summary of many values does not hold every bound's time.
    fn beyond(&self, value: Option<f64>, row: &Expected) -> Result<(), String> {
        let is_known = !self.is_many || (self.is_spread && value.is_some());
        compare(value, row.number().filter(|_| is_known), EXACT)
    }

    fn states(&self, row: &Expected) -> Result<(), String> {
        let value = match row.figure {
            "state_count" => return compare(Some(self.partial.state_count() as f64), row.number(), 0.0),
            "transitions" => return compare(self.order.transitions().map(|n| n as f64), row.number(), 0.0),
            "last_state" if self.order.last_state() == row.value => return Ok(()),
            "last_state" => return differs(self.order.last_state(), row.value),
            _ => self.order.state_times(),
        };
        let times = value.unwrap_or_default();
        let time = times.iter().find(|(state, _)| *state == row.argument).map(|(_, seconds)| *seconds);
        compare(time, row.number(), EXACT)
    }

    fn check(&self, row: &Expected) -> Result<(), String> {
        let (partial, order, expected) = (&self.partial, &self.order, || row.number());
        let moment = |value| self.with_part(Parts::MOMENTS, !self.is_exact(), value, expected());
        let over_time = |value: Option<f64>| match value {
            // Parts of a window that are few each are known, though together they are many.
            Some(_) if self.is_spread => compare(value, expected(), EXACT),
            _ => self.with_part(Parts::ORDER, self.is_many, value, expected()),
        };
        let counted = |value: Option<u64>| over_time(value.map(|count| count as f64));
        let bound = || row.argument.parse::<f64>().unwrap();
        match row.figure {
            "mean" => compare(partial.mean(), expected(), EXACT),
            "variance" => compare(partial.variance(), expected(), EXACT),
            "sample_variance" => {
                compare(partial.sample_stddev(), expected().map(f64::sqrt), EXACT)?;
                compare(partial.sample_variance(), expected(), EXACT)
            }
            "skewness" => moment(partial.skewness()),
            "kurtosis" => moment(partial.kurtosis()),
            "quantiles" => self.quantiles(row),
            "below" => self.below(bound(), expected().unwrap() as u64),
            "histogram" => self.histogram(row),
            "trimmed_mean" => self.trimmed_mean(row),
            "distinct" => self.distinct(row, partial.state_count() > 0),
            "integral" => over_time(order.integral()),
            "integral_linear" => over_time(order.integral_linear()),
            "time_weighted_mean" => over_time(order.time_weighted_mean()),
            "time_weighted_mean_linear" => over_time(order.time_weighted_mean_linear()),
            "time_above" => self.beyond(order.time_above(bound()), row),
            "time_below" => self.beyond(order.time_below(bound()), row),
            "increase" => over_time(order.increase()),
            "rate" => over_time(order.rate()),
            "delta" => over_time(order.delta()),
            "resets" => counted(order.resets()),
            "changes" => counted(order.changes()),
            "state_count" | "time_in" | "transitions" | "last_state" => self.states(row),
            other => panic!("unknown figure {other}"),
        }
    }
}

impl Subject {
    /// The readings of some series in a range, one after the other in order of time.
    fn of(
        way: Way,
        parts: Parts,
        series: &[Vec<Reading>],
        [from, to]: [Timestamp; 2],
        bounds: &[f64],
    ) -> Self {
        let (mut together, mut figures) = (Partial::with_parts(parts), OrderFigures::default());
        for readings in series {
            let partials = build::windows(way, parts, readings);
            figures.merge(&build::order(&partials, bounds, from, to));
            let mut partials: Vec<Partial> = partials.into_iter().map(|(_, partial)| partial).collect();
            Shuffle(1).shuffle(&mut partials);
            let partial = build::merged(&partials);
            match series {
                [_] => together.merge(&partial),
                _ => together.merge_across_series(&partial),
            }
        }
        let mut values: Vec<f64> = series.iter().flatten().filter_map(|(_, value)| value.number()).collect();
        values.sort_by(f64::total_cmp);
        let is_many = series.iter().any(|readings| build::is_many(readings));
        let is_spread = matches!(way, Way::Split | Way::Merged);
        Self { parts, values, is_many, is_spread, partial: together, order: figures }
    }
}

/// Checks all expected figures of one way of summarising; returns the differences and the number of figures.
fn differences(way: Way, parts: Parts) -> (Vec<String>, usize) {
    let readings = data::readings();
    let (mut found, mut count) = (Vec::new(), 0);
    for ((case, from, to), rows) in data::expected() {
        let inside = |(time, _): &&Reading| from <= *time && *time < to;
        let inside = |name| readings[name].iter().filter(inside).cloned().collect();
        let series: Vec<Vec<Reading>> = case.split('+').map(inside).collect();
        let subject = Subject::of(way, parts, &series, [from, to], &bounds(&rows));
        for row in &rows {
            count += 1;
            if let Err(difference) = subject.check(row) {
                let Expected { figure, argument, .. } = row;
                let range = [from, to].map(|end| end.as_millis() / 1000 - data::EPOCH);
                found.push(format!("{way:?} [{parts}] {case} {range:?} {figure}({argument}): {difference}"));
            }
        }
    }
    (found, count)
}

/// Bounds for which times above and below are expected.
fn bounds(rows: &[Expected]) -> Vec<f64> {
    let times = rows.iter().filter(|row| matches!(row.figure, "time_above" | "time_below"));
    times.map(|row| row.argument.parse().unwrap()).collect()
}

fn assert_no_differences(way: Way, parts: Parts) {
    let (found, count) = differences(way, parts);
    assert!(count > 2900, "only {count} figures");
    let shown = found.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} of {count} figures differ:\n{shown}", found.len());
}

#[test]
fn figures_agree_after_a_single_pass() {
    assert_no_differences(Way::Pushed, all_parts());
}

#[test]
fn figures_agree_however_partials_come_about() {
    for way in WAYS {
        assert_no_differences(way, all_parts());
    }
}

#[test]
fn figures_without_optional_parts_agree_or_are_unknown() {
    for way in WAYS {
        assert_no_differences(way, Parts::NONE);
    }
}
