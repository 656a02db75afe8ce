//! `quantile`: all numbers of a group are kept.

use super::{
    groups::{self, Groups},
    ignored, parameter,
};
use crate::{
    error::PromqlError,
    evaluate::{Context, pace::Pace, quantile},
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
    let span = of.parameter.as_ref().map_or(of.operand.span, |node| node.span);
    quantile::warn_beyond(context, &ranks, span);
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
        ignored(context, of, of.operand.span);
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
                result.set(step, quantile::of_numbers(*rank, &mut values));
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
