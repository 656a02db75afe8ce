//! PromQL over partials: parses an expression, plans it on a grid of steps, and evaluates the plan over what a
//! [`Source`] fetches.
//!
//! ```text
//! text → guard → parse → plan → evaluate (fetch, ranges, functions, operators, aggregations) → Answer
//! ```
//!
//! Pure but for the source: no clock, no sockets, no disks. Semantics are those of Prometheus 3: ranges are open on
//! the left, `(t − range, t]`, and a reading at `u` counts as a sample at `u + 1 ms`, so a range is the union of the
//! windows `[t − range, t)`.

mod annotations;
mod error;
mod evaluate;
mod figures;
mod format;
mod function;
mod grid;
mod guard;
mod labels;
mod parse;
mod plan;
mod source;
mod steps;
mod value;

pub use annotations::Annotations;
pub use error::{PromqlError, Span};
pub use evaluate::{Answer, evaluate};
pub use figures::{Figures, Stamp};
pub use format::{format, with_exponent};
pub use function::{Advice, Function};
pub use grid::Grid;
pub use guard::{name_as_matcher, without_raw_strings};
pub use labels::{Labels, METRIC_NAME};
pub use parse::{Expression, parse, parse_matchers};
pub use plan::{
    Aggregation, AggregationOperator, Binary, BinaryOperator, Cardinality, Fill, Grouping, Kind, Matcher,
    Matching, Node, Operation, Over, Plan, Range, Selector, Test,
};
pub use source::{Alignment, Batches, Columns, Fetch, FetchRange, FetchedSeries, Panes, Source};
pub use value::{Column, Samples, Series, Value};
