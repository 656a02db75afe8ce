//! Windows of the past, delivered as a backlog by a gateway of one shard.
//!
//! [`Formula`]: values that another store can compute too. [`Recorded`]: values and names as gateways deliver them.
//! [`Population`]: many series with one window each. Each is an iterator of batches, which [`deliver()`] sends.

mod columns;
mod deliver;
mod formula;
mod population;
mod recorded;

pub(crate) use self::{deliver::deliver, formula::Formula, population::Population, recorded::Recorded};

/// Unix milliseconds of the last midnight (UTC) minus some days. Recent, so that no default retention removes what is
/// stored from there on.
pub(crate) fn days_ago(days: i64) -> i64 {
    (super::now_ns() / 1_000_000 / DAY_MS - days) * DAY_MS
}

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// An hour, milliseconds.
pub(crate) const HOUR_MS: i64 = DAY_MS / 24;
