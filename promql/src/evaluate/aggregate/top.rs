//! `topk` and `bottomk`.

use super::{
    counts,
    groups::{self, Groups},
    heap::{Entry, Heap},
    ignored, parameter,
};
use crate::{
    error::{PromqlError, Span},
    evaluate::{Context, Held, pace::Pace},
    grid::Grid,
    labels::Labels,
    plan::Aggregation,
    value::{Column, Samples, Series},
};

/// The series with the greatest (or least) values of each group and step. At one step: by group, then by value.
pub(super) async fn value<const TOP: bool>(
    context: &Context<'_>,
    of: &Aggregation,
    span: Span,
    grid: Grid,
) -> Result<Vec<Series>, PromqlError> {
    let Some(counts) = counts(&parameter(context, of, grid).await?)? else { return Ok(Vec::new()) };
    let mut top = Top::<TOP> {
        of,
        counts,
        groups: Groups::default(),
        heaps: Vec::new(),
        labels: Vec::new(),
        held: context.hold(),
        bytes: 0,
        seen_windows: false,
    };
    context
        .each_batch(&of.operand, grid, &mut |batch| {
            batch.into_iter().try_for_each(|series| top.add(series))?;
            top.held.set(top.bytes)
        })
        .await?;
    if top.seen_windows {
        ignored(context, of, span);
    }
    if grid.count == 1 { Ok(top.at_one_step()) } else { top.over_steps(context).await }
}

struct Top<'f, 'c, 'a, const TOP: bool> {
    of: &'f Aggregation,
    /// How many stay at each step.
    counts: Vec<usize>,
    groups: Groups,
    /// For each group, one for each step.
    heaps: Vec<Vec<Heap<TOP>>>,
    /// Of all series.
    labels: Vec<Labels>,
    held: Held<'c, 'a>,
    bytes: usize,
    seen_windows: bool,
}

impl<const TOP: bool> Top<'_, '_, '_, TOP> {
    fn add(&mut self, series: Series) -> Result<(), PromqlError> {
        let Samples::Floats(column) = series.samples else {
            self.seen_windows = true;
            return Ok(());
        };
        let labels = groups::labels_of(&self.of.grouping, &series.labels);
        let (place, is_new) = self.groups.place(&labels);
        if is_new {
            self.bytes += self.counts.len() * size_of::<Heap<TOP>>() + labels.bytes();
            self.held.set(self.bytes)?;
            self.heaps.push(vec![Heap::default(); self.counts.len()]);
        }
        let number = self.labels.len();
        let Some(heaps) = self.heaps.get_mut(place) else { return Ok(()) };
        let mut entries = 0;
        for (step, value) in column.iter() {
            if let (Some(heap), Some(count)) = (heaps.get_mut(step), self.counts.get(step)) {
                entries += usize::from(heap.offer(Entry { value, series: number }, *count));
            }
        }
        // Vectors grow by doubling.
        self.bytes += series.labels.bytes() + size_of::<Labels>() + 2 * entries * size_of::<Entry>();
        self.labels.push(series.labels);
        Ok(())
    }

    fn at_one_step(self) -> Vec<Series> {
        let labels = self.labels;
        let heaps = self.heaps.into_iter().filter_map(|steps| steps.into_iter().next());
        let entries = heaps.flat_map(Heap::into_sorted);
        entries
            .filter_map(|entry| {
                let labels = labels.get(entry.series)?.clone();
                Some(Series::floats(labels, Column::full(vec![entry.value])))
            })
            .collect()
    }

    async fn over_steps(mut self, context: &Context<'_>) -> Result<Vec<Series>, PromqlError> {
        let steps = self.counts.len();
        let mut columns: Vec<Option<Column>> = vec![None; self.labels.len()];
        let mut pace = Pace::new(context);
        for heaps in std::mem::take(&mut self.heaps) {
            for (step, heap) in heaps.iter().enumerate() {
                for entry in heap.entries() {
                    let Some(column) = columns.get_mut(entry.series) else { continue };
                    if column.is_none() {
                        self.bytes += steps * 9;
                        self.held.set(self.bytes)?;
                    }
                    column.get_or_insert_with(|| Column::absent(steps)).set(step, entry.value);
                }
                pace.did(heap.entries().len()).await?;
            }
        }
        let labelled = self.labels.into_iter().zip(columns);
        let mut series: Vec<Series> =
            labelled.filter_map(|(labels, column)| Some(Series::floats(labels, column?))).collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(series)
    }
}
