//! Functions of histograms: of windows, and of classic buckets (series of numbers with the label `le`).

mod buckets;

use catchment_partial::Partial;
use hashbrown::HashMap;

use super::{Context, quantile, unique::unique};
use crate::{
    error::{PromqlError, Span},
    function::Function,
    grid::Grid,
    labels::Labels,
    plan::Node,
    value::{Column, Samples, Series, Value},
};
use buckets::{Buckets, Repairs};

/// The value of a `histogram_*` function on a grid: scalars, then a vector. Series are without names, in the order of
/// their labels.
///
/// # Errors
/// Two results with the same labels at one step.
pub(super) async fn value(
    context: &Context<'_>,
    function: Function,
    arguments: &[Node],
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let Some((of, scalars)) = arguments.split_last() else { return Ok(Value::Vector(Vec::new())) };
    let mut parameters = Vec::with_capacity(scalars.len());
    for scalar in scalars {
        parameters.push(context.scalar(scalar, grid).await?);
    }
    let vector = context.vector(of, grid).await?;
    let mut held = context.hold();
    held.set(vector.iter().map(Series::bytes).sum())?;
    let wanted = Wanted::new(function, &parameters);
    if let Wanted::Quantile(quantiles) = wanted {
        quantile::warn_beyond(context, quantiles, span);
    }
    let (mut windows, mut numbers) = (Vec::new(), Vec::new());
    for series in vector {
        match series.samples {
            Samples::Windows(samples) => windows.push((series.labels, samples)),
            Samples::Floats(column) => numbers.push((series.labels, column)),
        }
    }
    let mut answers = Vec::with_capacity(windows.len());
    for (labels, samples) in windows {
        context.source.yield_point().await?;
        let mut column = Column::absent(samples.len());
        for (step, window) in samples.iter().enumerate() {
            if let Some(window) = window {
                column.set(step, wanted.of_window(step, window));
            }
        }
        answers.push((labels, column));
    }
    if wanted.is_of_buckets() && !numbers.is_empty() {
        of_buckets(context, &wanted, numbers, span, &mut answers).await?;
    }
    let without_name = |(labels, column): (Labels, Column)| Series::floats(labels.without_name(), column);
    unique(answers.into_iter().map(without_name).collect(), true).map(Value::Vector)
}

/// What is wanted of a histogram; parameters for each step.
#[derive(Clone, Copy)]
enum Wanted<'p> {
    Quantile(&'p [f64]),
    Fraction(&'p [f64], &'p [f64]),
    Figure(fn(&Partial) -> Option<f64>),
}

impl<'p> Wanted<'p> {
    fn new(function: Function, parameters: &'p [Vec<f64>]) -> Self {
        use Function as F;
        match (function, parameters) {
            (F::HistogramQuantile, [quantiles]) => Self::Quantile(quantiles),
            (F::HistogramFraction, [lower, upper]) => Self::Fraction(lower, upper),
            (F::HistogramCount, _) => Self::Figure(|window| Some(window.count() as f64)),
            (F::HistogramSum, _) => Self::Figure(|window| Some(window.sum())),
            (F::HistogramAvg, _) => Self::Figure(Partial::mean),
            (F::HistogramStddev, _) => Self::Figure(Partial::stddev),
            (F::HistogramStdvar, _) => Self::Figure(Partial::variance),
            // Other functions are not called so: the plan checks numbers of arguments.
            _ => Self::Figure(|_| None),
        }
    }

    /// Whether classic buckets have it too.
    fn is_of_buckets(&self) -> bool {
        !matches!(self, Self::Figure(_))
    }

    fn of_window(&self, step: usize, window: &Partial) -> f64 {
        match self {
            Self::Figure(figure) => figure(window).unwrap_or(f64::NAN),
            Self::Quantile(quantiles) => {
                let quantile = at(quantiles, step);
                let within = || window.quantile(quantile).unwrap_or(f64::NAN);
                quantile::beyond(quantile).unwrap_or_else(within)
            }
            Self::Fraction(lower, upper) => {
                let (lower, upper, count) = (at(lower, step), at(upper, step), window.count());
                if count == 0 || lower.is_nan() || upper.is_nan() {
                    return f64::NAN;
                }
                if lower >= upper {
                    return 0.0;
                }
                let at_most = |value: f64| window.below(value.next_up()) as f64;
                (at_most(upper) - at_most(lower)) / count as f64
            }
        }
    }

    fn of_buckets(&self, step: usize, buckets: &mut Buckets, repairs: &mut Repairs) -> f64 {
        match self {
            Self::Quantile(quantiles) => buckets.quantile(at(quantiles, step), repairs),
            Self::Fraction(lower, upper) => buckets.fraction(at(lower, step), at(upper, step)),
            Self::Figure(_) => f64::NAN,
        }
    }
}

fn at(parameter: &[f64], step: usize) -> f64 {
    parameter.get(step).copied().unwrap_or(f64::NAN)
}

/// Adds what is wanted of classic histograms. Where a step has windows with the same labels too, neither counts.
async fn of_buckets(
    context: &Context<'_>,
    wanted: &Wanted<'_>,
    numbers: Vec<(Labels, Column)>,
    span: Span,
    answers: &mut Vec<(Labels, Column)>,
) -> Result<(), PromqlError> {
    let windows: HashMap<Labels, usize> =
        answers.iter().enumerate().map(|(place, (labels, _))| (labels.clone(), place)).collect();
    let mut series = bounded(context, numbers, span);
    series.sort_by(|(a, low, _), (b, high, _)| a.cmp(b).then(low.total_cmp(high)));
    let (mut buckets, mut repairs) = (Buckets::default(), Repairs::default());
    for histogram in series.chunk_by(|(a, ..), (b, ..)| a == b) {
        context.source.yield_point().await?;
        let Some((labels, _, first)) = histogram.first() else { continue };
        let mut column = Column::absent(first.len());
        for step in 0..first.len() {
            buckets.clear();
            for (_, bound, counts) in histogram {
                if let Some(count) = counts.get(step) {
                    buckets.push(*bound, count);
                }
            }
            if !buckets.is_empty() {
                column.set(step, wanted.of_buckets(step, &mut buckets, &mut repairs));
            }
        }
        if let Some((_, window)) = windows.get(labels).and_then(|place| answers.get_mut(*place)) {
            remove_mixed(context, window, &mut column, span);
        }
        if !column.is_absent() {
            answers.push((labels.clone(), column));
        }
    }
    if let Some(text) = repairs.text() {
        context.inform(&text, span);
    }
    Ok(())
}

/// Series with their labels but `le`, and its number; warns of others.
fn bounded(context: &Context<'_>, numbers: Vec<(Labels, Column)>, span: Span) -> Vec<(Labels, f64, Column)> {
    const BOUND: &str = "le";
    let mut bounded = Vec::with_capacity(numbers.len());
    for (labels, column) in numbers {
        let text = labels.get(BOUND);
        match text.parse::<f64>() {
            Ok(bound) if !bound.is_nan() => {
                bounded.push((labels.filtered(|name| name != BOUND), bound, column));
            }
            _ => {
                let problem = format!("bucket label \"le\" is missing or has a malformed value of {text:?}");
                context.warn(&problem, span);
            }
        }
    }
    bounded
}

fn remove_mixed(context: &Context<'_>, window: &mut Column, buckets: &mut Column, span: Span) {
    let mut is_mixed = false;
    for step in 0..buckets.len() {
        if window.get(step).is_some() && buckets.get(step).is_some() {
            window.remove(step);
            buckets.remove(step);
            is_mixed = true;
        }
    }
    if is_mixed {
        context.warn("vector contains a mix of classic and native histograms", span);
    }
}

#[cfg(test)]
mod tests;
