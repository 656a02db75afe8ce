//! Merges the windows of a series into the rows of minutes, hours and days.
//!
//! Merging is exact, so what a row holds depends only on the readings in it. Rows of minutes hold what does not depend on
//! the order of readings; rows of hours and days also hold it (counters, time-weighted figures), for the time when the
//! windows are gone.

use std::collections::BTreeMap;

use catchment_partial::{DecodeError, Partial, Parts, Timestamp, Width, Window};

use crate::store::tables::resolution::Resolution;

/// Where rows of a resolution are kept: start, and width: that of the interval, or of windows that do not divide it.
type Interval = (Timestamp, Width);

/// Receives the rows: resolution, window and encoded partial, of each resolution in order of (start, width).
pub(in crate::store) type Emit<'a, E> = &'a mut dyn FnMut(Resolution, Window, &[u8]) -> Result<(), E>;

/// The intervals at hand of one series, by resolution.
#[derive(Debug, Default)]
pub(in crate::store) struct Coarsener {
    open: [BTreeMap<Interval, Partial>; 3],
    body: Vec<u8>,
}

/// The resolutions that are merged, and what their rows hold besides values and states.
const MERGED: [(Resolution, Parts); 3] =
    [(Resolution::Minute, Parts::NONE), (Resolution::Hour, Parts::ORDER), (Resolution::Day, Parts::ORDER)];

/// The interval of a resolution in which a window is merged.
pub(in crate::store) fn interval_of(resolution: Resolution, window: Window) -> Interval {
    let (start, width) = (window.start(), window.width());
    match resolution.interval() {
        Some(interval) if interval.as_nanos() % width.as_nanos() == 0 => {
            (Window::containing(start, interval).start(), interval)
        }
        _ => (start, width),
    }
}

impl Coarsener {
    /// Adds a window; windows come in order of their start. Emits the intervals that end at or before its start.
    ///
    /// # Errors
    /// The partial is malformed ([`StoreDecode`](DecodeError)); or those of `emit`.
    pub(in crate::store) fn push<E: From<DecodeError>>(
        &mut self,
        window: Window,
        body: &[u8],
        emit: Emit<'_, E>,
    ) -> Result<(), E> {
        self.close(Some(window.start()), emit)?;
        for (open, (resolution, parts)) in self.open.iter_mut().zip(MERGED) {
            let interval = interval_of(resolution, window);
            let merged = open.entry(interval).or_insert_with(|| Partial::with_parts(parts));
            if resolution != Resolution::Day {
                merged.merge_encoded(body, window.start())?;
            }
        }
        Ok(())
    }

    /// Emits what is left.
    ///
    /// # Errors
    /// Those of `emit`.
    pub(in crate::store) fn finish<E>(&mut self, emit: Emit<'_, E>) -> Result<(), E> {
        self.close(None, emit)
    }

    /// Emits the intervals that end at or before a time, or all.
    fn close<E>(&mut self, before: Option<Timestamp>, emit: Emit<'_, E>) -> Result<(), E> {
        let [minutes, hours, days] = &mut self.open;
        let body = &mut self.body;
        let mut close = |open: &mut BTreeMap<Interval, Partial>, resolution, then: &mut dyn FnMut(Window, Partial)| {
            // Only the first: rows come in order, although intervals of several widths overlap.
            while let Some(first) = open.first_entry() {
                let (start, width) = *first.key();
                let window = Window::containing(start, width);
                if before.is_some_and(|before| window.end() > before) {
                    break;
                }
                let partial = first.remove();
                body.clear();
                partial.encode(start, body);
                emit(resolution, window, body)?;
                then(window, partial);
            }
            Ok(())
        };
        close(minutes, Resolution::Minute, &mut |_, _| {})?;
        close(hours, Resolution::Hour, &mut |window, partial| {
            let day = days.entry(interval_of(Resolution::Day, window));
            day.or_insert_with(|| Partial::with_parts(Parts::ORDER)).merge(&partial);
        })?;
        close(days, Resolution::Day, &mut |_, _| {})
    }
}
