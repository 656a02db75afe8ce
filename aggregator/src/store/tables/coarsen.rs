//! Merges the windows of a series into the rows of minutes, hours and days.
//!
//! Merging is exact, so what a row holds depends only on the readings in it. Rows of minutes hold what does not depend on
//! the order of readings; rows of hours and days also hold it (counters, time-weighted figures), for the time when the
//! windows are gone.

use catchment_partial::{Collector, DecodeError, Partial, Parts, Spares, Timestamp, Width, Window};

use crate::store::tables::resolution::Resolution;

/// Where rows of a resolution are kept: start, and width: that of the interval, or of windows that do not divide it.
type Interval = (Timestamp, Width);

/// Receives the rows: resolution, window and encoded partial, of each resolution in order of (start, width).
pub(in crate::store) type Emit<'a, E> = &'a mut dyn FnMut(Resolution, Window, &[u8]) -> Result<(), E>;

/// The intervals at hand of one series, by resolution: windows become minutes, minutes hours, hours days. Memory is kept
/// from one series to the next.
#[derive(Debug, Default)]
pub(in crate::store) struct Coarsener {
    minutes: Open<Minute>,
    hours: Open<Partial>,
    days: Open<Partial>,
    /// Minutes that are not in use.
    free: Vec<Minute>,
    spares: Spares,
    body: Vec<u8>,
}

/// Intervals at hand, in order of (start, width): mostly one.
type Open<T> = Vec<(Interval, T)>;

/// A minute at hand.
#[derive(Debug)]
struct Minute {
    windows: Collector,
    /// The only window so far, encoded, if it is as long as the interval.
    only: Vec<u8>,
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
        let Self { minutes, free, spares, .. } = self;
        let minute = match minutes.binary_search_by_key(&interval, |(interval, _)| *interval) {
            Err(place) => {
                let mut minute = free.pop().unwrap_or_else(Minute::new);
                if interval == (start, width) {
                    minute.only.extend_from_slice(body);
                } else {
                    minute.windows.push(body, start, spares)?;
                }
                minutes.insert(place, (interval, minute));
                return Ok(());
            }
            Ok(place) => minutes.get_mut(place).map(|(_, minute)| minute),
        };
        let Some(Minute { windows, only }) = minute else { return Ok(()) };
        if !only.is_empty() {
            windows.push(only, interval.0, spares)?;
            only.clear();
        }
        Ok(windows.push(body, start, spares)?)
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
        let Self { minutes, hours, days, free, spares, body } = self;
        while let Some((mut minute, window)) = next_over(minutes, Resolution::Minute, before) {
            let hour = at(hours, interval_of(Resolution::Hour, window));
            if minute.only.is_empty() {
                let merged = minute.windows.merged(spares);
                hour.append(merged, spares);
                body.clear();
                merged.encode_without_order(window.start(), body);
                emit(Resolution::Minute, window, body)?;
            } else {
                hour.append(&Partial::decode(&minute.only, window.start())?, spares);
                emit(Resolution::Minute, window, &minute.only)?;
            }
            minute.only.clear();
            minute.windows.clear(spares);
            free.push(minute);
        }
        // What is open by minute, or by hour, is still to come.
        let before = before.into_iter().chain(minutes.first().map(|((start, _), _)| *start)).min();
        while let Some((hour, window)) = next_over(hours, Resolution::Hour, before) {
            at(days, interval_of(Resolution::Day, window)).append(&hour, spares);
            emit_merged(Resolution::Hour, window, &hour, body, emit)?;
            spares.put(hour);
        }
        let before = before.into_iter().chain(hours.first().map(|((start, _), _)| *start)).min();
        while let Some((day, window)) = next_over(days, Resolution::Day, before) {
            emit_merged(Resolution::Day, window, &day, body, emit)?;
            spares.put(day);
        }
        Ok(())
    }
}

impl Minute {
    fn new() -> Self {
        Self { windows: Collector::new(Parts::ORDER), only: Vec::new() }
    }
}

/// What is at hand of an interval.
fn at(open: &mut Open<Partial>, interval: Interval) -> &mut Partial {
    let place = open.binary_search_by_key(&interval, |(interval, _)| *interval).unwrap_or_else(|place| {
        open.insert(place, (interval, Partial::with_parts(Parts::ORDER)));
        place
    });
    // In range: found or inserted.
    #[expect(clippy::indexing_slicing, reason = "found or inserted")]
    &mut open[place].1
}

/// Takes the first interval if it is over at a time: only the first, and none after the start of the interval at hand, so
/// that rows come in order although windows of several widths overlap.
fn next_over<T>(
    open: &mut Open<T>,
    resolution: Resolution,
    before: Option<Timestamp>,
) -> Option<(T, Window)> {
    let (start, width) = open.first()?.0;
    let window = Window::containing(start, width);
    let at_hand = |before: Timestamp| {
        let begun = resolution.interval().map_or(before, |width| Window::containing(before, width).start());
        window.end() > before || start >= begun
    };
    if before.is_some_and(at_hand) { None } else { Some((open.remove(0).1, window)) }
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
    use std::collections::BTreeMap;

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

    #[test]
    fn hours_and_days_know_the_order_of_dense_readings() {
        let (mut coarsener, mut body) = (Coarsener::default(), Vec::new());
        let mut days = Vec::new();
        let mut emit = |resolution, window: Window, body: &[u8]| -> Result<(), DecodeError> {
            if resolution != Resolution::Minute {
                let mut order = catchment_partial::SeriesOrder::new(&[]);
                order.push(window, &Partial::decode(body, window.start())?);
                days.push((resolution, order.finish(window.start(), window.end()).changes()));
            }
            Ok(())
        };
        let width = Width::from_millis(10_000).unwrap();
        for window in 0..8_640 {
            let window = Window::containing(second(window * 10), width);
            let mut partial = Partial::empty();
            (0..10).for_each(|k| {
                let time = window.start().saturating_add_nanos(k * 1_000_000_000);
                partial.push(time, (time.as_millis() / 1_000) as f64);
            });
            body.clear();
            partial.encode(window.start(), &mut body);
            coarsener.push(window, &body, &mut emit).unwrap();
        }
        coarsener.finish(&mut emit).unwrap();
        assert_eq!(days.len(), 25);
        for (resolution, changes) in days {
            let expected = if resolution == Resolution::Day { 86_399 } else { 3_599 };
            assert_eq!(changes, Some(expected), "{resolution:?}");
        }
    }
}
