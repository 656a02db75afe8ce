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
    /// The first window and the last one.
    EndWindows,
}

impl Wanted {
    /// Whether rows must be windows where these are stored: the order of readings counts, or single windows.
    pub(super) fn needs_windows(self) -> bool {
        match self {
            Self::Figures(columns) => columns.counter,
            Self::Windows => false,
            Self::LastWindow | Self::EndWindows => true,
        }
    }

    /// Whether windows stay as they are.
    pub(super) fn is_single(self) -> bool {
        matches!(self, Self::LastWindow | Self::EndWindows)
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
    /// Number of the segment; of [`Wanted::EndWindows`], twice that for the first window, and one more for the last.
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
    /// Whether the order of the readings of some counter is not known.
    pub(super) is_order_unknown: bool,
    /// Whether some readings are states, which are no numbers.
    pub(super) has_states: bool,
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
            Wanted::Windows | Wanted::LastWindow | Wanted::EndWindows => PaneList::Windows(Vec::new()),
        };
        let (partial, counter) = (Partial::empty(), Counter::default());
        Self {
            cuts,
            wanted,
            at: 0,
            open: None,
            partial,
            counter,
            panes,
            bytes: 0,
            is_order_unknown: false,
            has_states: false,
        }
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
        if self.wanted.is_single() && self.open.is_some_and(|(_, end)| start_ms >= end) {
            self.end_window();
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
        self.has_states |= partial.states_alone() > 0;
        let Some(new) = figures::of_partial(&partial, columns) else { return Ok(()) };
        match &mut self.counter.figures {
            Some(own) => _ = figures::add(own, &new, columns),
            none => *none = Some(new),
        }
        Ok(())
    }

    /// The window at hand, of [`Wanted::is_single`], is not the last one of its segment.
    fn end_window(&mut self) {
        let Some((start_ms, end_ms)) = self.open.take() else { return };
        let segment = 2 * self.at;
        match &mut self.panes {
            PaneList::Windows(panes)
                if self.wanted == Wanted::EndWindows
                    && self.partial.count() > 0
                    && panes.last().is_none_or(|last| last.segment < segment) =>
            {
                let of = Arc::new(std::mem::take(&mut self.partial));
                self.bytes += size_of::<Pane<Arc<Partial>>>() + of.memory();
                panes.push(Pane { segment, start_ms, end_ms, of });
            }
            _ => self.partial.clear(),
        }
    }

    /// The segment at hand has no more rows.
    fn leave(&mut self) {
        let Some((start_ms, end_ms)) = self.open.take() else { return };
        self.has_states |= self.partial.states_alone() > 0;
        let segment = self.at;
        match (&mut self.panes, self.wanted) {
            (PaneList::Figures(panes), Wanted::Figures(columns)) => {
                let mut figures = match self.wanted.is_only_counter() {
                    true => self.counter.figures.take(),
                    false => figures::of_partial(&self.partial, columns),
                };
                if columns.counter {
                    let counter = self.counter.order.take_counter();
                    self.is_order_unknown |= counter.is_none() && figures.is_some();
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
                if self.wanted != Wanted::EndWindows {
                    return panes.push(Pane { segment, start_ms, end_ms, of });
                }
                if panes.last().is_none_or(|last| last.segment < 2 * segment) {
                    panes.push(Pane { segment: 2 * segment, start_ms, end_ms, of: Arc::clone(&of) });
                }
                panes.push(Pane { segment: 2 * segment + 1, start_ms, end_ms, of });
            }
            _ => self.partial.clear(),
        }
    }

    /// Approximate memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.partial.memory() + self.counter.order.memory()
    }

    /// The panes of all rows, and their memory in bytes. Panes without numbers are left out.
    pub(super) fn finish(self) -> (PaneList, usize) {
        (self.panes, self.bytes)
    }

    /// Call after the last row.
    pub(super) fn end(&mut self) {
        self.leave();
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
                    Wanted::Windows | Wanted::LastWindow | Wanted::EndWindows => Columns::default(),
                };
                let mut overlap = false;
                merge(own, other, |own, other| {
                    overlap |= figures::add(&mut own.of, &other.of, columns);
                    (own.start_ms, own.end_ms) =
                        (own.start_ms.min(other.start_ms), own.end_ms.max(other.end_ms));
                });
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
    let (precedes, follows) = (other.end_ms <= own.start_ms, own.end_ms <= other.start_ms);
    if wanted.is_single() && (precedes || follows) {
        let first = wanted == Wanted::EndWindows && own.segment.is_multiple_of(2);
        if first == precedes {
            *own = other;
        }
        return;
    }
    (own.start_ms, own.end_ms) = (own.start_ms.min(other.start_ms), own.end_ms.max(other.end_ms));
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
                add(&mut same, pane);
                own.push(same);
            }
            None => own.push(pane),
        }
    }
    own.extend(before);
}

#[cfg(test)]
mod tests;
