//! Merges the windows of a series into the rows of minutes, hours and days.
//!
//! Merging is exact, so what a row holds depends only on the readings in it. Rows of minutes hold what does not depend on
//! the order of readings; rows of hours and days also hold it (counters, time-weighted figures), for the time when the
//! windows are gone.

use std::collections::{BTreeMap, btree_map::Entry};

use catchment_partial::{DecodeError, Partial, Parts, Timestamp, Width, Window};

use crate::store::tables::resolution::Resolution;

/// Where rows of a resolution are kept: start, and width: that of the interval, or of windows that do not divide it.
type Interval = (Timestamp, Width);

/// Receives the rows: resolution, window and encoded partial, of each resolution in order of (start, width).
pub(in crate::store) type Emit<'a, E> = &'a mut dyn FnMut(Resolution, Window, &[u8]) -> Result<(), E>;

/// The intervals at hand of one series, by resolution: windows become minutes, minutes hours, hours days.
#[derive(Debug, Default)]
pub(in crate::store) struct Coarsener {
    minutes: BTreeMap<Interval, Minute>,
    hours: BTreeMap<Interval, Partial>,
    days: BTreeMap<Interval, Partial>,
    body: Vec<u8>,
}

/// A minute at hand.
#[derive(Debug)]
enum Minute {
    /// One window as long as it, encoded.
    One(Box<[u8]>),
    /// Windows merged.
    Merged(Partial),
}

/// The resolutions that are merged, and what their rows hold besides values and states.
pub(in crate::store) const MERGED: [(Resolution, Parts); 3] =
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
    /// Adds a window; windows come in order of their start. Emits the intervals that are over then.
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
        let (start, width) = (window.start(), window.width());
        let interval = interval_of(Resolution::Minute, window);
        match self.minutes.entry(interval) {
            Entry::Vacant(free) if interval == (start, width) => {
                free.insert(Minute::One(body.into()));
            }
            Entry::Vacant(free) => {
                let mut merged = Partial::with_parts(Parts::ORDER);
                merged.merge_encoded(body, start)?;
                free.insert(Minute::Merged(merged));
            }
            Entry::Occupied(minute) => {
                let minute = minute.into_mut();
                if let Minute::One(first) = minute {
                    let mut merged = Partial::with_parts(Parts::ORDER);
                    merged.merge_encoded(first, interval.0)?;
                    *minute = Minute::Merged(merged);
                }
                if let Minute::Merged(merged) = minute {
                    merged.merge_encoded(body, start)?;
                }
            }
        }
        Ok(())
    }

    /// Emits what is left.
    ///
    /// # Errors
    /// Those of `emit`.
    pub(in crate::store) fn finish<E: From<DecodeError>>(&mut self, emit: Emit<'_, E>) -> Result<(), E> {
        self.close(None, emit)
    }

    /// Emits the intervals that are over at a time, or all.
    fn close<E: From<DecodeError>>(&mut self, before: Option<Timestamp>, emit: Emit<'_, E>) -> Result<(), E> {
        let Self { minutes, hours, days, body } = self;
        while let Some((minute, window)) = next_over(minutes, Resolution::Minute, before) {
            let hour = hours.entry(interval_of(Resolution::Hour, window));
            let hour = hour.or_insert_with(|| Partial::with_parts(Parts::ORDER));
            match minute {
                Minute::One(one) => {
                    hour.merge_encoded(&one, window.start())?;
                    emit(Resolution::Minute, window, &one)?;
                }
                Minute::Merged(merged) => {
                    hour.merge(&merged);
                    emit_merged(Resolution::Minute, window, &merged.without_order(), body, emit)?;
                }
            }
        }
        // What is open by minute, or by hour, is still to come.
        let before = before.into_iter().chain(minutes.keys().next().map(|(start, _)| *start)).min();
        while let Some((hour, window)) = next_over(hours, Resolution::Hour, before) {
            let day = days.entry(interval_of(Resolution::Day, window));
            day.or_insert_with(|| Partial::with_parts(Parts::ORDER)).merge(&hour);
            emit_merged(Resolution::Hour, window, &hour, body, emit)?;
        }
        let before = before.into_iter().chain(hours.keys().next().map(|(start, _)| *start)).min();
        while let Some((day, window)) = next_over(days, Resolution::Day, before) {
            emit_merged(Resolution::Day, window, &day, body, emit)?;
        }
        Ok(())
    }
}

/// Takes the first interval if it is over at a time: only the first, and none after the start of the interval at hand, so
/// that rows come in order although windows of several widths overlap.
fn next_over<T>(
    open: &mut BTreeMap<Interval, T>,
    resolution: Resolution,
    before: Option<Timestamp>,
) -> Option<(T, Window)> {
    let first = open.first_entry()?;
    let (start, width) = *first.key();
    let window = Window::containing(start, width);
    let at_hand = |before: Timestamp| {
        let begun = resolution.interval().map_or(before, |width| Window::containing(before, width).start());
        window.end() > before || start >= begun
    };
    if before.is_some_and(at_hand) { None } else { Some((first.remove(), window)) }
}

fn emit_merged<E>(
    resolution: Resolution,
    window: Window,
    partial: &Partial,
    body: &mut Vec<u8>,
    emit: Emit<'_, E>,
) -> Result<(), E> {
    body.clear();
    partial.encode(window.start(), body);
    emit(resolution, window, body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000).unwrap()
    }

    proptest! {
        #[test]
        fn rows_are_the_merged_windows_of_their_intervals_in_order(
            windows in prop::collection::vec((-3_000..200_000_i64, prop::sample::select(vec![1, 7, 10, 60, 90, 3_600, 7_200])), 1..200)
        ) {
            let mut windows: Vec<Window> = windows
                .into_iter()
                .map(|(at, width)| Window::containing(second(at), Width::from_millis(width * 1_000).unwrap()))
                .collect();
            windows.sort_by_key(|window| (window.start(), window.width()));
            let partial = |n: usize, window: Window| {
                let mut partial = Partial::empty();
                (0..7).for_each(|k| partial.push(window.start().saturating_add_nanos(k), (n as f64).sin()));
                partial
            };
            let mut found: BTreeMap<Resolution, Vec<(Interval, Partial)>> = BTreeMap::new();
            let mut emit = |resolution, window: Window, body: &[u8]| -> Result<(), DecodeError> {
                let partial = Partial::decode(body, window.start())?;
                found.entry(resolution).or_default().push(((window.start(), window.width()), partial));
                Ok(())
            };
            let mut coarsener = Coarsener::default();
            let mut body = Vec::new();
            for (n, window) in windows.iter().enumerate() {
                body.clear();
                partial(n, *window).encode(window.start(), &mut body);
                coarsener.push(*window, &body, &mut emit).unwrap();
            }
            coarsener.finish(&mut emit).unwrap();
            for (resolution, _) in MERGED {
                let mut expected: BTreeMap<Interval, Partial> = BTreeMap::new();
                for (n, window) in windows.iter().enumerate() {
                    let merged = expected.entry(interval_of(resolution, *window)).or_default();
                    merged.merge_across_series(&partial(n, *window));
                }
                let found = &found[&resolution];
                prop_assert!(found.is_sorted_by(|(a, _), (b, _)| a < b));
                prop_assert_eq!(found.len(), expected.len());
                for ((place, merged), (wanted, plain)) in found.iter().zip(&expected) {
                    prop_assert_eq!(place, wanted);
                    let mut values = Partial::empty();
                    values.merge_across_series(merged);
                    prop_assert_eq!(&values, plain);
                }
            }
        }
    }
}
