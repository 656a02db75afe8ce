//! What the evaluator needs of the store of readings.

use std::sync::Arc;

use catchment_partial::Partial;
use futures_util::future::BoxFuture;

use crate::{
    error::PromqlError,
    figures::Figures,
    grid::Grid,
    labels::Labels,
    plan::{Grouping, Matcher},
};

/// Holds readings, and bounds time and memory of a query.
pub trait Source: Send + Sync {
    /// Begins to read.
    ///
    /// # Errors
    /// [`PromqlError::Source`]; [`PromqlError::Execution`] where it would be too much, said in words before reading.
    fn fetch<'a>(&'a self, fetch: &'a Fetch) -> BoxFuture<'a, Result<Box<dyn Batches + 'a>, PromqlError>>;

    /// Lets others work; called after every bounded piece of work (some thousand values).
    ///
    /// # Errors
    /// The time is over, or the caller is gone.
    fn yield_point(&self) -> BoxFuture<'_, Result<(), PromqlError>>;

    /// Sets how much memory the evaluation holds now, bytes, without what batches hold that were not taken yet.
    ///
    /// # Errors
    /// It may not have that much.
    fn set_memory(&self, bytes: usize) -> Result<(), PromqlError>;

    /// Whether ranges include their left end, as before Prometheus 3. For comparisons only; agrees with
    /// [`Alignment::closed_left`].
    fn closed_left(&self) -> bool {
        false
    }
}

/// What to read: at each time `t` of the grid, the readings in a range that ends there.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// Select the series, the metric's name among them. The source knows which names are of windows.
    pub matchers: Arc<[Matcher]>,
    /// Times `t`, after `@` and `offset`.
    pub grid: Grid,
    /// How far each range reaches back.
    pub range: FetchRange,
    /// What is wanted of series of numbers.
    pub columns: Columns,
    /// Series may be merged as their sum over these labels: only a hint, the evaluator merges what comes.
    pub group: Option<Grouping>,
}

/// How far a range reaches back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchRange {
    /// To the last reading, within the source's lookback. Panes of windows are then single windows.
    Lookback,
    /// So many milliseconds, at least 1.
    Ms(i64),
}

/// Fields of [`Figures`] that are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Columns {
    /// `sum`.
    pub sum: bool,
    /// `sum` and `deviations`.
    pub deviations: bool,
    /// `min`, `max`, `first` and `last`.
    pub extent: bool,
    /// `first`, `last`, `correction`, `resets` and `changes`.
    pub counter: bool,
    /// The partials, for quantiles: panes are then [`Panes::Windows`] for series of numbers too.
    pub sketch: bool,
    /// Panes of series of windows are single windows, as with [`FetchRange::Lookback`]: of each stretch at least the first
    /// and the last, which are what is wanted.
    pub single_windows: bool,
}

/// How a source cuts time for a fetch: at time `t` the answer is of the panes in `[T − R, T)`, where `T` is `t` rounded down
/// to a multiple of `width_ms` and R is `range_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Width of the widest windows of the selected series, at least 1.
    pub width_ms: i64,
    /// The range: what was asked for rounded up to a multiple of the width, or the lookback.
    pub range_ms: i64,
    /// A pane that ends at `T − R` belongs to the range too: as before Prometheus 3. For comparisons only.
    pub closed_left: bool,
}

/// The series of a fetch, in the order of their labels.
pub trait Batches: Send {
    /// How time is cut.
    fn alignment(&self) -> Alignment;

    /// The next series, at most some 64; `None`: no more.
    ///
    /// # Errors
    /// As [`Source::fetch`].
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<FetchedSeries>>, PromqlError>>;
}

/// A series and its readings.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedSeries {
    /// Its labels, with the name of the metric. Of merged series, those that they agree in.
    pub labels: Labels,
    /// Whether it is a series of windows (native histograms); otherwise of numbers.
    pub is_windows: bool,
    /// Its panes.
    pub panes: Panes,
}

/// Readings in panes: stretches of time in order, each wholly within or without the range of each time of the grid. Panes
/// without readings are left out. Each has the start of its first window, Unix milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Panes {
    /// Figures of the readings.
    Figures(Vec<(i64, Figures)>),
    /// Partials of the readings.
    Windows(Vec<(i64, Arc<Partial>)>),
}
