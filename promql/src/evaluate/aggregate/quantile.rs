//! `quantile`: all numbers of a group are kept.

use super::{
    groups::{self, Groups},
    ignored, parameter,
};
use crate::{
    error::PromqlError,
    evaluate::{Context, pace::Pace, text},
    grid::Grid,
    labels::Labels,
    plan::Aggregation,
    value::{Column, Samples, Series},
};

/// The quantile of each group, in the order of their labels.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Aggregation,
    grid: Grid,
) -> Result<Vec<Series>, PromqlError> {
    let ranks = parameter(context, of, grid).await?;
    warn_of_ranks(context, of, &ranks);
    let mut groups = Groups::default();
    let mut rows: Vec<(Labels, Vec<Column>)> = Vec::new();
    let (mut held, mut bytes, mut seen_windows) = (context.hold(), 0, false);
    context
        .each_batch(&of.operand, grid, &mut |batch| {
            for series in batch {
                let Samples::Floats(column) = series.samples else {
                    seen_windows = true;
                    continue;
                };
                let labels = groups::labels_of(&of.grouping, &series.labels);
                let (place, is_new) = groups.place(&labels);
                if is_new {
                    // The result of the group too.
                    bytes += 2 * labels.bytes() + grid.count * size_of::<f64>();
                    rows.push((labels, Vec::new()));
                }
                bytes += column.bytes() + size_of::<Column>();
                held.set(bytes)?;
                if let Some((_, columns)) = rows.get_mut(place) {
                    columns.push(column);
                }
            }
            Ok(())
        })
        .await?;
    if seen_windows {
        ignored(context, of);
    }
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut pace = Pace::new(context);
    let mut results = Vec::with_capacity(rows.len());
    for (labels, columns) in rows {
        let mut result = Column::absent(grid.count);
        let mut values = Vec::with_capacity(columns.len());
        for (step, rank) in ranks.iter().enumerate() {
            values.clear();
            values.extend(columns.iter().filter_map(|column| column.get(step)));
            if !values.is_empty() {
                result.set(step, quantile(*rank, &mut values));
            }
            // Sorting takes longer than an addition for each.
            pace.did(8 * columns.len()).await?;
        }
        if !result.is_absent() {
            results.push(Series::floats(labels, result));
        }
    }
    Ok(results)
}

fn warn_of_ranks(context: &Context<'_>, of: &Aggregation, ranks: &[f64]) {
    let span = of.parameter.as_ref().map_or(of.operand.span, |node| node.span);
    let greatest = ranks.iter().copied().fold(f64::MIN, f64::max);
    let least = ranks.iter().copied().fold(f64::MAX, f64::min);
    let is_nan = ranks.iter().any(|rank| rank.is_nan());
    for (rank, is_wrong) in [(f64::NAN, is_nan), (greatest, greatest > 1.0), (least, least < 0.0)] {
        if is_wrong {
            let text = format!("quantile value should be between 0 and 1, got {}", text::short(rank));
            context.warn(&text, span);
        }
    }
}

/// The quantile of numbers, interpolated between ranks; NaN is the least.
fn quantile(rank: f64, values: &mut [f64]) -> f64 {
    if rank.is_nan() {
        return f64::NAN;
    }
    if rank < 0.0 {
        return f64::NEG_INFINITY;
    }
    if rank > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let last = values.len().saturating_sub(1);
    let place = rank * last as f64;
    let lower = (place.floor() as usize).min(last);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    let weight = place - place.floor();
    at(lower) * (1.0 - weight) + at((lower + 1).min(last)) * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated_and_nan_is_least() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(quantile(0.5, &mut [nan, 5.0, -inf]), -inf);
        assert_eq!(quantile(0.5, &mut [1.0, 100.0]), 50.5);
        assert_eq!(quantile(0.0, &mut [3.0, 1.0, 2.0]), 1.0);
        assert_eq!(quantile(1.0, &mut [3.0, 1.0, 2.0]), 3.0);
        assert_eq!(quantile(-0.1, &mut [1.0]), -inf);
        assert_eq!(quantile(1.1, &mut [1.0]), inf);
        assert!(quantile(nan, &mut [1.0]).is_nan());
    }
}
