//! Answers of queries as Arrow record batches: the same columns in Flight, Parquet and Arrow streams.
//!
//! A [`Layout`] names the columns of a request, [`metadata`] is what an answer's header says, and [`Rows`] collects the
//! messages of an answer into record batches of bounded size. Pure: nothing here reads, writes or waits.

mod header;
mod layout;
mod rows;

pub use arrow_schema::{ArrowError, SchemaRef};
pub use header::{
    COMPLETE_UNTIL_KEY, CompletenessJson, GapJson, GatewayJson, HEADER_KEY, header_json, metadata, rfc3339,
};
pub use layout::{Kind, LabelColumns, Layout};
pub use rows::{BATCH_BYTES, BATCH_ROWS, Rows};
