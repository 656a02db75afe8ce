//! Infrastructure shared by both servers: layered settings, environment variables, conditions, logging and its limits,
//! output, signals, exit status, completions and man pages, priority of threads, supervision of tasks, connection
//! slots, token buckets, descriptors, the wait for disk space at the start, and the plain HTTP endpoint for probes and
//! metrics.
//!
//! Nothing here depends on what a gateway or an aggregator does.

mod conditions;
pub mod connection_slots;
pub mod descriptors;
mod disk_space;
pub mod exit;
mod flag;
pub mod generated;
pub mod http;
mod layer;
pub mod log_limit;
pub mod logging;
pub mod offline;
mod outage_log;
pub mod output;
pub mod priority;
mod signal;
pub mod supervise;
pub mod text;
pub mod token_bucket;
mod units;
mod variables;

pub use conditions::{Conditions, KnownCondition, Severity};
pub use disk_space::wait_for_space;
pub use flag::when_set;
pub use layer::{SettingsError, check_names, layered};
pub use outage_log::{OutageLog, OutageSummary};
pub use signal::shutdown_signal;
pub use units::{ByteSize, HumanDuration, UnitError, parse_duration};
pub use variables::{Sources, parse};
