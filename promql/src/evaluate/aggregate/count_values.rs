//! `count_values`: a series for each value.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{groups::Groups, ignored, missing};
use crate::{
    error::PromqlError,
    evaluate::{Context, Held, text},
    grid::Grid,
    labels::{Labels, METRIC_NAME},
    plan::{Aggregation, Grouping, Operation},
    value::{Column, Samples, Series},
};

/// How many series of each group have each value.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Aggregation,
    grid: Grid,
) -> Result<Vec<Series>, PromqlError> {
    let Some(Operation::Text(label)) = of.parameter.as_ref().map(|node| &node.operation) else {
        return Err(missing(of));
    };
    if label.is_empty() {
        return Err(PromqlError::execution("invalid label name \"\""));
    }
    let mut counts = Counts {
        of,
        label,
        steps: grid.count,
        groups: Groups::default(),
        places: HashMap::new(),
        rows: Vec::new(),
        held: context.hold(),
        bytes: 0,
        seen_windows: false,
    };
    context
        .each_batch(&of.operand, grid, &mut |batch| {
            batch.into_iter().try_for_each(|series| counts.add(&series))
        })
        .await?;
    if counts.seen_windows {
        ignored(context, of, of.operand.span);
    }
    let rows = std::mem::take(&mut counts.rows).into_iter();
    let mut series: Vec<Series> = rows.map(|(labels, column)| Series::floats(labels, column)).collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

struct Counts<'f, 'c, 'a> {
    of: &'f Aggregation,
    label: &'f Arc<str>,
    steps: usize,
    /// Groups by their labels but for that of the value.
    groups: Groups,
    /// Results by group and bits of the value.
    places: HashMap<(usize, u64), usize>,
    rows: Vec<(Labels, Column)>,
    held: Held<'c, 'a>,
    bytes: usize,
    seen_windows: bool,
}

impl Counts<'_, '_, '_> {
    fn add(&mut self, series: &Series) -> Result<(), PromqlError> {
        let Samples::Floats(column) = &series.samples else {
            self.seen_windows = true;
            return Ok(());
        };
        // The label gets the value first; then the series are grouped, and `without` may drop it again.
        let labels = series.labels.filtered(|name| name != &**self.label);
        let labels = super::groups::labels_of(&self.of.grouping, &labels);
        let is_kept = match &self.of.grouping {
            Grouping::By(_) => true,
            Grouping::Without(dropped) => **self.label != *METRIC_NAME && !dropped.contains(self.label),
        };
        let (group, is_new) = self.groups.place(&labels);
        if is_new {
            self.bytes += labels.bytes();
        }
        // Equal values often follow each other.
        let mut last: Option<(u64, usize)> = None;
        for (step, value) in column.iter() {
            let bits = if !is_kept {
                0
            } else if value.is_nan() {
                f64::NAN.to_bits()
            } else {
                value.to_bits()
            };
            let place = match last {
                Some((known, place)) if known == bits => place,
                _ => self.place(group, bits, &labels, is_kept)?,
            };
            last = Some((bits, place));
            if let Some((_, counts)) = self.rows.get_mut(place) {
                counts.set(step, counts.get(step).unwrap_or(0.0) + 1.0);
            }
        }
        Ok(())
    }

    /// The result of a group and value.
    fn place(
        &mut self,
        group: usize,
        bits: u64,
        labels: &Labels,
        is_kept: bool,
    ) -> Result<usize, PromqlError> {
        if let Some(place) = self.places.get(&(group, bits)) {
            return Ok(*place);
        }
        let labels = if is_kept {
            labels.with(self.label, &text::value(f64::from_bits(bits)))
        } else {
            labels.clone()
        };
        self.bytes += labels.bytes() + self.steps * 9 + size_of::<(Labels, Column)>() + 32;
        self.held.set(self.bytes)?;
        let place = self.rows.len();
        self.rows.push((labels, Column::absent(self.steps)));
        self.places.insert((group, bits), place);
        Ok(place)
    }
}
