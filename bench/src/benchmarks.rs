//! The figures: each measures the product and its reference in turn and returns rows of the report.
//!
//! `bench` is what they share, `goals` what they must reach, `run` measures those that are wanted.

mod aggregator;
mod backup;
mod bench;
mod certs;
mod crowd;
mod fairness;
mod goals;
mod growth;
mod idle;
mod latency;
mod partials;
mod query;
mod refill;
mod run;
mod sharing;
mod throughput;
mod uplink;
mod watch;

pub(crate) use self::{
    bench::Bench,
    run::{NAMES, QUERY, choices, run},
};
