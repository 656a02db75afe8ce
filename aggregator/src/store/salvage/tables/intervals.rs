//! Rows of one series merged by interval.

use std::collections::BTreeMap;

use catchment_partial::{DecodeError, Partial, Parts, Timestamp, Width, Window};

use crate::store::tables::{coarsen::interval_of, resolution::Resolution};

/// The intervals at hand of one series.
#[derive(Debug)]
pub(in crate::store) struct Intervals {
    resolution: Resolution,
    /// What rows hold besides values and states; `None`: only what does not depend on the order of readings.
    parts: Option<Parts>,
    open: BTreeMap<(Timestamp, Width), Partial>,
}

impl Intervals {
    pub(in crate::store) fn new(resolution: Resolution, parts: Option<Parts>) -> Self {
        Self { resolution, parts, open: BTreeMap::new() }
    }

    /// Adds a row; rows come in order of their start. Emits the intervals that end at or before its start.
    ///
    /// # Errors
    /// The row is malformed.
    pub(in crate::store) fn push(
        &mut self,
        window: Window,
        body: &[u8],
        emit: &mut dyn FnMut(Window, Partial),
    ) -> Result<(), DecodeError> {
        self.close(Some(window.start()), emit);
        let interval = self.open.entry(interval_of(self.resolution, window));
        let merged = interval.or_insert_with(|| Partial::with_parts(self.parts.unwrap_or(Parts::NONE)));
        match self.parts {
            Some(_) => merged.merge_encoded(body, window.start()),
            None => merged.merge_encoded_across_series(body, window.start()),
        }
    }

    /// Emits what is left.
    pub(in crate::store) fn finish(&mut self, emit: &mut dyn FnMut(Window, Partial)) {
        self.close(None, emit);
    }

    fn close(&mut self, before: Option<Timestamp>, emit: &mut dyn FnMut(Window, Partial)) {
        while let Some(first) = self.open.first_entry() {
            let (start, width) = *first.key();
            let window = Window::containing(start, width);
            // Only the first, so that intervals come in order although those of several widths overlap.
            if before.is_some_and(|before| window.end() > before) {
                return;
            }
            emit(window, first.remove());
        }
    }
}
