//! The boundary of a store: what ingest, queries and the server know of it, and all that another store implements.
//!
//! Three traits, by who uses them; a store is all three ([`Store`]):
//! - `ingest`: [`IngestStore`], for the streams of gateways;
//! - `query`: [`QueryStore`], for queries and lists;
//! - `maintenance`: [`MaintenanceStore`], for retention, operators and the server.
//!
//! Their data: `gateway` (epochs, runs, progress, losses), `series`, `page`, `selection` and `rows` (what queries read),
//! `health`, `error`.
//!
//! Which of their functions may wait: the futures of ingest do. Everything else that a stream calls, and
//! [`QueryStore::gateways_page`], answers from memory. What queries and maintenance call beyond that blocks, on threads
//! that may (`docs/decisions/0025-blocking-readers.md`).

mod changes;
mod error;
mod gateway;
mod health;
mod ingest;
mod maintenance;
mod page;
mod query;
mod rows;
pub(in crate::store) mod selection;
mod series;
mod steps;

pub use self::{
    changes::{Change, ChangeListener},
    error::StoreError,
    gateway::{
        Delivered, Gap, GatewayEntry, GatewayEpoch, PreviousRuns, ProgressReport, RunDelivered, previous_runs,
    },
    health::{Shortage, StoreFailure, StoreHealth},
    ingest::IngestStore,
    maintenance::{MaintenanceStore, Retained, RetentionRule},
    page::{Cursor, Page},
    query::QueryStore,
    rows::{Merged, ROWS_A_CALL, RowReader, RowRequest},
    selection::Selection,
    series::{SeriesEntry, SeriesId},
    steps::Steps,
};

/// Stores partials by series and window.
pub trait Store: IngestStore + QueryStore + MaintenanceStore {}

impl<S: IngestStore + QueryStore + MaintenanceStore + ?Sized> Store for S {}
