//! The entries of a batch as parallel columns, written and read.
//!
//! Index of the series, index of the window, and part are differences to the entry before; the revision is what it exceeds
//! the part by; the bodies lie one after the other, with a column of their lengths.

use catchment_partial::Window;

use super::BatchError;
use crate::{delta::Delta, wire};

/// Writes entries as columns.
#[derive(Debug, Default)]
pub struct ColumnEncoder {
    columns: wire::Batch,
    bodies: Vec<u8>,
    series: Delta,
    window: Delta,
    part: Delta,
}

impl ColumnEncoder {
    /// Reserves room for this many entries and bytes of bodies.
    pub fn with_capacity(entries: usize, body_bytes: usize) -> Self {
        let columns = wire::Batch {
            series_index: Vec::with_capacity(entries),
            window: Vec::with_capacity(entries),
            part: Vec::with_capacity(entries),
            revision: Vec::with_capacity(entries),
            body_bytes: Vec::with_capacity(entries),
            ..wire::Batch::default()
        };
        Self { columns, bodies: Vec::with_capacity(body_bytes), ..Self::default() }
    }

    /// Appends an entry: index of its series in the batch, window, part and revision; `body` appends the encoded partial.
    pub fn push(
        &mut self,
        series: u32,
        window: Window,
        (part, revision): (u64, u64),
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let columns = &mut self.columns;
        columns.series_index.push(self.series.step(i64::from(series)));
        columns.window.push(self.window.step(window.index()));
        columns.part.push(self.part.step(part.cast_signed()));
        columns.revision.push(revision.saturating_sub(part));
        let start = self.bodies.len();
        body(&mut self.bodies);
        columns.body_bytes.push(u32::try_from(self.bodies.len() - start).unwrap_or(u32::MAX));
    }

    /// A message with only the columns set.
    pub fn finish(self) -> wire::Batch {
        wire::Batch { bodies: self.bodies.into(), ..self.columns }
    }
}

/// The window indices of a batch; values beyond 64 bits wrap around.
pub fn window_indices(batch: &wire::Batch) -> impl Iterator<Item = i64> {
    let mut window = Delta::default();
    batch.window.iter().map(move |step| window.wrapping_value(*step))
}

/// An entry as decoded from the columns; series, window and revision are not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Index of the series.
    pub(super) series: u32,
    /// Index of the window.
    pub(super) window: i64,
    /// Its part.
    pub(super) part: u64,
    /// Its revision less its part.
    pub(super) folded: u64,
    /// Length of its body.
    pub(super) body_bytes: u32,
}

/// Reads the columns, which must have the same length. Rows after the first error are meaningless.
pub(super) fn rows(batch: &wire::Batch) -> impl Iterator<Item = Result<Row, BatchError>> {
    let (mut series, mut window, mut part) = (Delta::default(), Delta::default(), Delta::default());
    let columns = batch.series_index.iter().zip(&batch.window).zip(&batch.part);
    let columns = columns.zip(&batch.revision).zip(&batch.body_bytes).enumerate();
    columns.map(move |(entry, ((((series_step, window_step), part_step), folded), body_bytes))| {
        let mut row = || {
            let (series, window) = (series.value(*series_step)?, window.value(*window_step)?);
            let part = u64::try_from(part.value(*part_step)?).ok()?;
            let series = u32::try_from(series).ok()?;
            Some(Row { series, window, part, folded: *folded, body_bytes: *body_bytes })
        };
        row().ok_or(BatchError::Range(entry))
    })
}

#[cfg(test)]
mod tests {
    use catchment_partial::Width;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_survive(
            entries in prop::collection::vec(
                (any::<u32>(), -1_000_000..1_000_000_i64, 0..1_u64 << 62, 0..1_u64 << 62, 0..4_usize), 1..20,
            ),
        ) {
            let width = Width::from_millis(10_000).unwrap();
            let (mut encoder, mut bodies) = (ColumnEncoder::default(), Vec::new());
            for (number, (series, window, part, folded, length)) in entries.iter().enumerate() {
                let window = Window::from_index(*window, width).unwrap();
                encoder.push(*series, window, (*part, part + folded), |out| {
                    out.extend(std::iter::repeat_n(number as u8, *length));
                });
                bodies.extend(std::iter::repeat_n(number as u8, *length));
            }
            let columns = encoder.finish();
            prop_assert_eq!(&columns.bodies, &bodies);
            let windows: Vec<i64> = entries.iter().map(|(_, window, ..)| *window).collect();
            prop_assert_eq!(window_indices(&columns).collect::<Vec<_>>(), windows);
            let rows: Vec<Row> = rows(&columns).collect::<Result<_, _>>().unwrap();
            let given: Vec<Row> = entries
                .into_iter()
                .map(|(series, window, part, folded, length)| {
                    Row { series, window, part, folded, body_bytes: length as u32 }
                })
                .collect();
            prop_assert_eq!(rows, given);
        }
    }
}
