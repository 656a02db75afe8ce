//! The shared language of Catchment's programs.
//!
//! `wire` is what the .proto files generate; the other modules are the checked domain types into which a
//! message from outside is converted before anything else looks at it. No sockets, files or clocks.

pub mod batch;
mod delta;
pub mod frame;
pub mod history;
pub mod id;
pub mod series;
pub mod series_dictionary;
pub mod wire;

pub use batch::{Batch, BatchError, ColumnEncoder, Entry};
pub use history::{History, HistoryError, Span};
pub use id::{AggregatorId, DeviceId, GatewayId, Name, NameError, OperatorId};
pub use series::{Labels, LabelsError, MetricError, MetricName, SeriesKey};
pub use series_dictionary::{DictionaryDecoder, DictionaryEncoder, DictionaryError, SharedSeries};
