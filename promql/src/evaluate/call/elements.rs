//! Functions of each number. Windows have no number and are left out.

use super::argument;
use crate::{
    error::PromqlError,
    evaluate::{
        Context,
        pace::{Pace, SERIES_VALUES},
        unique,
    },
    function::Function,
    grid::Grid,
    plan::Node,
    value::{Column, Samples, Series, Value},
};

/// A function of each number of a vector, whose name goes.
pub(super) async fn mapped(
    context: &Context<'_>,
    of: &Node,
    grid: Grid,
    function: impl Fn(f64) -> f64 + Send + Sync,
) -> Result<Value, PromqlError> {
    let series = context.vector(of, grid).await?;
    mapped_series(context, series, grid, function).await
}

/// As [`mapped`].
pub(super) async fn mapped_series(
    context: &Context<'_>,
    series: Vec<Series>,
    grid: Grid,
    function: impl Fn(f64) -> f64 + Send + Sync,
) -> Result<Value, PromqlError> {
    changed(context, series, grid, |column| column.map(&function)).await
}

async fn changed(
    context: &Context<'_>,
    series: Vec<Series>,
    grid: Grid,
    change: impl Fn(&mut Column) + Send,
) -> Result<Value, PromqlError> {
    let was_ordered = unique::is_ordered(&series);
    let mut held = context.hold();
    held.set(series.iter().map(Series::bytes).sum())?;
    let mut pace = Pace::new(context);
    let mut results = Vec::with_capacity(series.len());
    for Series { labels, samples } in series {
        let Samples::Floats(mut column) = samples else { continue };
        change(&mut column);
        results.push(Series::floats(labels.without_name(), column));
        pace.did(grid.count + SERIES_VALUES).await?;
    }
    unique::unique(results, was_ordered).map(Value::Vector)
}

/// `clamp`, `clamp_min` and `clamp_max`: nothing at a step where the least exceeds the greatest.
pub(super) async fn clamped(
    context: &Context<'_>,
    function: Function,
    arguments: &[Node],
    grid: Grid,
) -> Result<Value, PromqlError> {
    let bounds = |value| vec![value; grid.count];
    let (least, greatest) = match function {
        Function::ClampMin => (context.scalar(argument(arguments, 1)?, grid).await?, bounds(f64::INFINITY)),
        Function::ClampMax => {
            (bounds(f64::NEG_INFINITY), context.scalar(argument(arguments, 1)?, grid).await?)
        }
        _ => {
            let least = context.scalar(argument(arguments, 1)?, grid).await?;
            (least, context.scalar(argument(arguments, 2)?, grid).await?)
        }
    };
    let bounds: Vec<(f64, f64)> = least.into_iter().zip(greatest).collect();
    let series = context.vector(argument(arguments, 0)?, grid).await?;
    changed(context, series, grid, |column| {
        for (step, (least, greatest)) in bounds.iter().enumerate() {
            if let Some(value) = column.get(step) {
                if greatest < least {
                    column.remove(step);
                } else {
                    column.set(step, greater(*least, lesser(*greatest, value)));
                }
            }
        }
    })
    .await
}

/// Go's `math.Max`: NaN if one is NaN, unless one is infinite.
fn greater(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a > b || (a == b && a.is_sign_positive()) {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: NaN if one is NaN, unless one is infinite.
fn lesser(a: f64, b: f64) -> f64 {
    -greater(-a, -b)
}

/// `round`: to the nearest multiple, of two to the greater one.
pub(super) async fn rounded(
    context: &Context<'_>,
    arguments: &[Node],
    grid: Grid,
) -> Result<Value, PromqlError> {
    let inverses: Vec<f64> = match arguments.get(1) {
        Some(nearest) => {
            let nearest = context.scalar(nearest, grid).await?;
            // Inverted, for fewer rounding errors.
            nearest.into_iter().map(|nearest| 1.0 / nearest).collect()
        }
        None => vec![1.0; grid.count],
    };
    let series = context.vector(argument(arguments, 0)?, grid).await?;
    changed(context, series, grid, |column| {
        for (step, inverse) in inverses.iter().enumerate() {
            if let Some(value) = column.get(step) {
                column.set(step, round(value, *inverse));
            }
        }
    })
    .await
}

fn round(value: f64, inverse: f64) -> f64 {
    (value * inverse + 0.5).floor() / inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_rounded_up() {
        let cases = [(-1.5, -1.0), (1.5, 2.0), (-0.5, 0.0), (2.4, 2.0), (-2.6, -3.0)];
        cases.iter().for_each(|(value, rounded)| assert_eq!(round(*value, 1.0), *rounded, "{value}"));
        assert_eq!(round(24.0, 1.0 / 5.0), 25.0);
        assert!(round(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn the_greater_of_two_is_that_of_go() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert!(greater(1.0, nan).is_nan() && lesser(nan, 1.0).is_nan());
        assert_eq!(greater(inf, nan), inf);
        assert_eq!(lesser(-inf, nan), -inf);
        assert_eq!(greater(0.0, -0.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(greater(-0.0, 0.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(lesser(0.0, -0.0).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(greater(1.0, lesser(3.0, 7.0)), 3.0);
    }
}
