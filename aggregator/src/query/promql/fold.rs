//! Folds the rows of one series into the segments of a fetch.

use std::sync::Arc;

use catchment_partial::{DecodeError, Partial, SeriesOrder, Width, Window};
use catchment_promql::{Columns, Figures};

use super::{cuts::Cuts, figures};

/// What is read of each segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Figures of the readings.
    Figures(Columns),
    /// The readings as a partial.
    Windows,
    /// The last window.
    LastWindow,
}

impl Wanted {
    /// Whether rows must be windows where these are stored: the order of readings counts, or single windows.
    pub(super) fn needs_windows(self) -> bool {
        match self {
            Self::Figures(columns) => columns.counter,
            Self::Windows => false,
            Self::LastWindow => true,
        }
    }

    /// Whether nothing but the counter is wanted, which needs no merged partial.
    fn is_only_counter(self) -> bool {
        let only = Columns { counter: true, ..Columns::default() };
        self == Self::Figures(only)
    }
}

/// Readings of a series, or of several, in one segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pane<T> {
    /// Number of the segment.
    pub(super) segment: usize,
    /// Start of its first window, and end of its last.
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) of: T,
}

/// Panes of a series in order of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PaneList {
    Figures(Vec<Pane<Figures>>),
    Windows(Vec<Pane<Arc<Partial>>>),
}

/// Why a row was not folded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    /// It lies across the border of a segment.
    #[error("a window of {} ms lies across the border of a segment", .0.as_millis())]
    Across(Width),
    /// Only this row is lost.
    #[error(transparent)]
    Damaged(#[from] DecodeError),
}

/// Folds rows that come in order of the start of their windows.
pub(super) struct Fold<'a> {
    cuts: &'a Cuts,
    wanted: Wanted,
    /// The segment that holds the last row, or the first one after it.
    at: usize,
    /// Of the segment at `at`: start of the first window, end of the last one.
    open: Option<(i64, i64)>,
    partial: Partial,
    counter: Counter,
    panes: PaneList,
    bytes: usize,
}

/// The counter of the segment at hand.
#[derive(Default)]
struct Counter {
    order: SeriesOrder,
    /// Only if nothing else is merged.
    figures: Option<Figures>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(cuts: &'a Cuts, wanted: Wanted) -> Self {
        let panes = match wanted {
            Wanted::Figures(_) => PaneList::Figures(Vec::new()),
            Wanted::Windows | Wanted::LastWindow => PaneList::Windows(Vec::new()),
        };
        let (partial, counter) = (Partial::empty(), Counter::default());
        Self { cuts, wanted, at: 0, open: None, partial, counter, panes, bytes: 0 }
    }

    /// Adds a row: its window and its encoded partial.
    pub(super) fn push(&mut self, window: Window, body: &[u8]) -> Result<(), RowError> {
        let (start_ms, end_ms) = (window.start().as_millis(), window.end().as_millis());
        let segments = &self.cuts.segments;
        let Some((mut from, mut to)) = segments.get(self.at).copied() else { return Ok(()) };
        if start_ms >= to || start_ms < from {
            self.leave();
            self.at = segments.partition_point(|(_, to)| *to <= start_ms);
            let Some(found) = segments.get(self.at) else { return Ok(()) };
            (from, to) = *found;
        }
        if start_ms < from && end_ms <= from {
            return Ok(());
        }
        if start_ms < from || end_ms > to {
            return Err(RowError::Across(window.width()));
        }
        if self.wanted == Wanted::LastWindow && self.open.is_some_and(|(_, end)| start_ms >= end) {
            (self.open, _) = (None, self.partial.clear());
        }
        match self.wanted {
            Wanted::Figures(columns) if columns.counter => self.add_ordered(window, body)?,
            _ => self.partial.merge_encoded_across_series(body, window.start())?,
        }
        let (start, end) = self.open.unwrap_or((start_ms, end_ms));
        self.open = Some((start.min(start_ms), end.max(end_ms)));
        Ok(())
    }

    fn add_ordered(&mut self, window: Window, body: &[u8]) -> Result<(), DecodeError> {
        let partial = Partial::decode(body, window.start())?;
        self.counter.order.push(window, &partial);
        if !self.wanted.is_only_counter() {
            self.partial.merge_across_series(&partial);
            return Ok(());
        }
        // First and last reading, and the number of all.
        let columns = Columns::default();
        let Some(new) = figures::of_partial(&partial, columns) else { return Ok(()) };
        match &mut self.counter.figures {
            Some(own) => _ = figures::add(own, &new, columns),
            none => *none = Some(new),
        }
        Ok(())
    }

    /// The segment at hand has no more rows.
    fn leave(&mut self) {
        let Some((start_ms, end_ms)) = self.open.take() else { return };
        let segment = self.at;
        match (&mut self.panes, self.wanted) {
            (PaneList::Figures(panes), Wanted::Figures(columns)) => {
                let mut figures = match self.wanted.is_only_counter() {
                    true => self.counter.figures.take(),
                    false => figures::of_partial(&self.partial, columns),
                };
                if columns.counter {
                    let counter = self.counter.order.take_counter();
                    figures.iter_mut().for_each(|figures| figures::set_counter(figures, counter));
                }
                let pane = figures.map(|of| Pane { segment, start_ms, end_ms, of });
                self.bytes += pane.as_ref().map_or(0, size_of_val);
                panes.extend(pane);
                self.partial.clear();
            }
            (PaneList::Windows(panes), _) if self.partial.count() > 0 => {
                let of = Arc::new(std::mem::take(&mut self.partial));
                self.bytes += size_of::<Pane<Arc<Partial>>>() + of.memory();
                panes.push(Pane { segment, start_ms, end_ms, of });
            }
            _ => self.partial.clear(),
        }
    }

    /// Approximate memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.partial.memory() + self.counter.order.memory()
    }

    /// The panes of all rows, and their memory in bytes. Panes without numbers are left out.
    pub(super) fn finish(mut self) -> (PaneList, usize) {
        self.leave();
        (self.panes, self.bytes)
    }
}

impl PaneList {
    /// Number of panes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Figures(panes) => panes.len(),
            Self::Windows(panes) => panes.len(),
        }
    }

    /// Approximate memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Figures(panes) => size_of_val(panes.as_slice()),
            Self::Windows(panes) => {
                size_of_val(panes.as_slice()) + panes.iter().map(|pane| pane.of.memory()).sum::<usize>()
            }
        }
    }

    /// Adds the panes of another series. Returns whether both are a counter at the same time.
    pub(super) fn add(&mut self, other: Self, wanted: Wanted) -> bool {
        match (self, other) {
            (Self::Figures(own), Self::Figures(other)) => {
                let columns = match wanted {
                    Wanted::Figures(columns) => columns,
                    Wanted::Windows | Wanted::LastWindow => Columns::default(),
                };
                let mut overlap = false;
                merge(own, other, |own, other| overlap |= figures::add(&mut own.of, &other.of, columns));
                overlap
            }
            (Self::Windows(own), Self::Windows(other)) => {
                merge(own, other, |own, other| add_window(own, other, wanted));
                false
            }
            (Self::Figures(_), Self::Windows(_)) | (Self::Windows(_), Self::Figures(_)) => false,
        }
    }
}

fn add_window(own: &mut Pane<Arc<Partial>>, other: Pane<Arc<Partial>>, wanted: Wanted) {
    if wanted == Wanted::LastWindow {
        if other.start_ms >= own.end_ms {
            *own = other;
            return;
        }
        if own.start_ms >= other.end_ms {
            return;
        }
    }
    Arc::make_mut(&mut own.of).merge_across_series(&other.of);
}

/// Merges panes in order of their segments; `add` takes two of one segment together.
fn merge<T>(own: &mut Vec<Pane<T>>, other: Vec<Pane<T>>, mut add: impl FnMut(&mut Pane<T>, Pane<T>)) {
    if own.last().zip(other.first()).is_none_or(|(last, first)| last.segment < first.segment) {
        own.extend(other);
        return;
    }
    let mut before = std::mem::take(own).into_iter().peekable();
    own.reserve(before.len() + other.len());
    for pane in other {
        while let Some(earlier) = before.next_if(|own| own.segment < pane.segment) {
            own.push(earlier);
        }
        match before.next_if(|own| own.segment == pane.segment) {
            Some(mut same) => {
                let (start_ms, end_ms) = (same.start_ms.min(pane.start_ms), same.end_ms.max(pane.end_ms));
                add(&mut same, pane);
                (same.start_ms, same.end_ms) = (start_ms, end_ms);
                own.push(same);
            }
            None => own.push(pane),
        }
    }
    own.extend(before);
}

#[cfg(test)]
mod tests {
    use catchment_partial::Timestamp;
    use catchment_promql::{FetchRange, Grid};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::partial;

    const ALL: Columns = Columns {
        sum: true,
        deviations: true,
        extent: true,
        counter: true,
        sketch: false,
        single_windows: false,
    };

    /// Rows of windows of so many milliseconds.
    fn rows(readings: &[(i64, f64)], width_ms: u32) -> Vec<(Window, Vec<u8>)> {
        let width = Width::from_millis(width_ms).unwrap();
        let of = |(ms, _): &(i64, f64)| Window::containing(Timestamp::from_millis(*ms).unwrap(), width);
        let windows = readings.chunk_by(|a, b| of(a) == of(b));
        let encoded = windows.map(|readings| {
            let (window, mut body) = (of(&readings[0]), Vec::new());
            partial(readings).encode(window.start(), &mut body);
            (window, body)
        });
        encoded.collect()
    }

    fn folded(cuts: &Cuts, wanted: Wanted, rows: &[(Window, Vec<u8>)]) -> PaneList {
        let mut fold = Fold::new(cuts, wanted);
        rows.iter().for_each(|(window, body)| fold.push(*window, body).unwrap());
        fold.finish().0
    }

    proptest! {
        #[test]
        fn panes_hold_exactly_the_readings_of_their_segments(
            mut readings in prop::collection::vec((0_i64..2_000, -9_i32..9), 0..120),
            start in 0_i64..1_500, step in 1_i64..400, count in 1_usize..9, range in 1_i64..500,
            width in prop_oneof![Just(1_u32), Just(10), Just(70)],
        ) {
            readings.sort_unstable();
            readings.dedup_by_key(|(ms, _)| *ms);
            let readings: Vec<_> = readings.into_iter().map(|(ms, value)| (ms, f64::from(value))).collect();
            let grid = Grid { start_ms: start, step_ms: step, count };
            let cuts = Cuts::new(grid, FetchRange::Ms(range), i64::from(width));
            let PaneList::Figures(panes) = folded(&cuts, Wanted::Figures(ALL), &rows(&readings, width)) else {
                panic!("figures")
            };
            let mut found = panes.iter();
            for (segment, (from, to)) in cuts.segments.iter().enumerate() {
                let inside: Vec<_> = readings.iter().filter(|(ms, _)| (*from..*to).contains(ms)).collect();
                if inside.is_empty() {
                    continue;
                }
                let Pane { segment: at, start_ms, end_ms, of } = found.next().unwrap();
                prop_assert_eq!(*at, segment);
                prop_assert!(from <= start_ms && start_ms <= &inside[0].0 && end_ms <= to);
                prop_assert_eq!(of.count as usize, inside.len());
                prop_assert_eq!(of.sum, inside.iter().map(|(_, value)| value).sum::<f64>());
                let last = inside[inside.len() - 1];
                prop_assert_eq!((of.last.value, of.last.sample_ms), (last.1, last.0 + 1));
                let pairs = inside.windows(2).map(|pair| (pair[0].1, pair[1].1));
                let resets: Vec<f64> = pairs.clone().filter(|(a, b)| b < a).map(|(a, _)| a).collect();
                prop_assert_eq!(of.correction, resets.iter().sum::<f64>());
                prop_assert_eq!(of.resets as usize, resets.len());
                prop_assert_eq!(of.changes as usize, pairs.filter(|(a, b)| a != b).count());
            }
            prop_assert_eq!(found.next(), None);
            let only = Columns { counter: true, ..Columns::default() };
            let PaneList::Figures(light) = folded(&cuts, Wanted::Figures(only), &rows(&readings, width)) else {
                panic!("figures")
            };
            let counter = |pane: &Pane<Figures>| {
                let Figures { count, first, last, correction, resets, changes, .. } = pane.of;
                (pane.segment, count, first, last, correction, resets, changes)
            };
            prop_assert_eq!(light.iter().map(counter).collect::<Vec<_>>(), panes.iter().map(counter).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_window_across_a_border_is_said_and_one_beside_the_ranges_is_left_out() {
        let grid = Grid { start_ms: 100, step_ms: 1_000, count: 2 };
        let cuts = Cuts::new(grid, FetchRange::Ms(50), 10);
        assert_eq!(*cuts.segments, [(50, 100), (1_050, 1_100)]);
        let mut fold = Fold::new(&cuts, Wanted::Windows);
        for (ms, width_ms, expected) in
            [(10, 10, true), (60, 30, false), (300, 70, true), (1_040, 20, true), (1_040, 60, false)]
        {
            let rows = rows(&[(ms, 1.0)], width_ms);
            assert_eq!(fold.push(rows[0].0, &rows[0].1).is_ok(), expected, "{ms} {width_ms}");
        }
        assert_eq!(fold.finish().0.len(), 0);
    }

    #[test]
    fn of_the_last_windows_of_two_gateways_the_later_one_counts_and_one_window_is_merged() {
        let cuts = Cuts::new(Grid::instant(300_000), FetchRange::Lookback, 10_000);
        let of = |readings: &[(i64, f64)]| folded(&cuts, Wanted::LastWindow, &rows(readings, 10_000));
        let counts = |list: &PaneList| match list {
            PaneList::Windows(panes) => {
                panes.iter().map(|pane| (pane.start_ms, pane.of.count(), pane.of.sum())).collect::<Vec<_>>()
            }
            PaneList::Figures(_) => panic!("windows"),
        };
        let (early, late) =
            (of(&[(5_000, 1.0), (11_000, 2.0)]), of(&[(13_000, 4.0), (20_000, 8.0), (21_000, 16.0)]));
        assert_eq!(counts(&early), [(10_000, 1, 2.0)]);
        for (mut own, other) in [(early.clone(), late.clone()), (late.clone(), early.clone())] {
            assert!(!own.add(other, Wanted::LastWindow));
            assert_eq!(counts(&own), [(20_000, 2, 24.0)]);
        }
        let mut own = early.clone();
        own.add(early, Wanted::LastWindow);
        assert_eq!(counts(&own), [(10_000, 2, 4.0)]);
    }
}
