//! Messages shared by Catchment's programs.
//!
//! `wire` holds the code generated from the .proto files. The other modules define checked domain types: every message
//! from outside is converted into them before any other code sees it. No sockets, files or clocks.

pub mod batch;
pub mod capabilities;
mod delta;
pub mod frame;
pub mod history;
pub mod id;
pub mod revocations;
pub mod series;
pub mod series_dictionary;
pub mod wire;

pub use batch::{Batch, BatchError, ColumnEncoder, Entry, RefusedReadings};
pub use capabilities::Capabilities;
pub use history::{History, HistoryError, Span};
pub use id::{AggregatorId, DeviceId, GatewayId, Name, NameError, OperatorId};
pub use series::{Labels, LabelsError, MetricError, MetricName, SeriesKey};
pub use series_dictionary::{DictionaryDecoder, DictionaryEncoder, DictionaryError, SharedSeries};
