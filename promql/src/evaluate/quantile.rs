//! Quantiles as PromQL has them: interpolated between ranks.

use std::cmp::Ordering;

use catchment_partial::Partial;

use super::{Context, text};
use crate::error::Span;

/// The quantile of numbers, which are put in another order: NaN counts as the least. NaN of none.
pub(super) fn of_numbers(quantile: f64, numbers: &mut [f64]) -> f64 {
    if let Some(beyond) = beyond(quantile) {
        return beyond;
    }
    let Some(highest) = numbers.len().checked_sub(1) else { return f64::NAN };
    let (rank, weight) = place(quantile, highest as f64);
    let (_, lower, above) = numbers.select_nth_unstable_by(rank as usize, nan_first);
    let upper = above.iter().copied().min_by(nan_first).unwrap_or(*lower);
    *lower * (1.0 - weight) + upper * weight
}

/// The quantile of readings: exact while they are few, otherwise between values within 1 % of those at the ranks. NaN of
/// none.
pub(super) fn of_window(quantile: f64, window: &Partial) -> f64 {
    if let Some(beyond) = beyond(quantile) {
        return beyond;
    }
    let Some(highest) = window.count().checked_sub(1) else { return f64::NAN };
    let highest = highest as f64;
    let at = |rank: f64| {
        // The middle between two ranks is rounded to neither of them.
        let share = if rank <= 0.0 { 0.0 } else { ((rank + 0.5) / highest).min(1.0) };
        window.quantile(share).unwrap_or(f64::NAN)
    };
    let (rank, weight) = place(quantile, highest);
    let lower = at(rank);
    if weight == 0.0 { lower } else { lower * (1.0 - weight) + at(rank + 1.0) * weight }
}

/// The result where there is no such quantile.
pub(super) fn beyond(quantile: f64) -> Option<f64> {
    match quantile {
        quantile if quantile.is_nan() => Some(f64::NAN),
        quantile if quantile < 0.0 => Some(f64::NEG_INFINITY),
        quantile if quantile > 1.0 => Some(f64::INFINITY),
        _ => None,
    }
}

/// Warns of quantiles that there are not.
pub(super) fn warn_beyond(context: &Context<'_>, quantiles: &[f64], span: Span) {
    if let Some(quantile) = quantiles.iter().find(|quantile| beyond(**quantile).is_some()) {
        let got = text::short(*quantile);
        context.warn(&format!("quantile value should be between 0 and 1, got {got}"), span);
    }
}

/// The rank below and how far beyond it.
fn place(quantile: f64, highest: f64) -> (f64, f64) {
    let exact = quantile * highest;
    let rank = exact.floor().clamp(0.0, highest);
    (rank, exact - exact.floor())
}

fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}
