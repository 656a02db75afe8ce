//! Questions to both sides.

use anyhow::ensure;
use catchment_proto::wire::AggregateRequest;

use super::stored::operator;
use crate::{
    benchmarks::{Bench, goals::at_most_times},
    load::{history::Formula, operator::Answer},
    process::Server,
    reference::duckdb::{self, DuckDb},
    report::{Measurement, Reference},
};

/// A quantile may be off by this share; a mean only by rounding.
pub(super) const QUANTILE_ERROR: f64 = 0.01;
pub(super) const MEAN_ERROR: f64 = 1e-9;

/// A question about all windows that a history has.
pub(super) struct Question {
    /// In words; `RANGE` stands for the range.
    pub(super) what: &'static str,
    pub(super) selector: &'static str,
    pub(super) by: &'static [&'static str],
    /// Width of the points, milliseconds; 0: one point.
    pub(super) step_ms: i64,
    pub(super) aggregates: &'static [&'static str],
    pub(super) sql: &'static str,
    pub(super) error: f64,
    /// Times of DuckDB's.
    pub(super) floor: f64,
    pub(super) aim: f64,
}

/// One point of the p99 over the windows of a history, which are all read.
pub(super) fn everything(selector: &str, history: &Formula) -> AggregateRequest {
    AggregateRequest { aggregates: vec!["p99".to_owned()], from_windows: true, ..over(selector, history) }
}

/// A query over the windows of a history that are not left out.
fn over(selector: &str, history: &Formula) -> AggregateRequest {
    AggregateRequest {
        selector: selector.to_owned(),
        from_ms: history.first_ms(),
        to_ms: history.end_ms(),
        ..AggregateRequest::default()
    }
}

impl Question {
    /// The question in words.
    pub(super) fn what(&self, range: &str) -> String {
        self.what.replace("RANGE", range)
    }

    /// The query, about the windows of a history that are not left out.
    pub(super) fn request(&self, history: &Formula) -> AggregateRequest {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        AggregateRequest {
            step_ms: self.step_ms,
            by: texts(self.by),
            aggregates: texts(self.aggregates),
            ..over(self.selector, history)
        }
    }

    fn compare(&self, ours: &Answer, theirs: &duckdb::Answer) -> anyhow::Result<()> {
        let Self { what, error, .. } = self;
        ensure!(ours.points as f64 == theirs.rows, "{what}: {} points, {} rows", ours.points, theirs.rows);
        let off = (ours.sum - theirs.sum).abs() / theirs.sum.abs();
        ensure!(off <= *error, "{what}: {} where DuckDB has {}", ours.sum, theirs.sum);
        Ok(())
    }

    /// Asks both sides; ours may take some times as long as in [`Self::floor`] and [`Self::aim`].
    pub(super) fn ask(
        &self,
        bench: &Bench,
        (server, history): (&Server, &Formula),
        duckdb: Result<&DuckDb<'_>, String>,
        what: String,
        times: f64,
    ) -> anyhow::Result<Measurement> {
        let (operator, request) = (operator(bench, server)?, self.request(history));
        // As often as DuckDB: the first answer is that of cold caches on both sides.
        let ours = operator.quickest(&request, bench.repeat.max(duckdb::REPEAT))?;
        let fine = operator.query(AggregateRequest { from_windows: true, ..request })?;
        ensure!(ours.is_equal(&fine), "{what}: {ours:?}, but {fine:?} from windows");
        let theirs = duckdb.and_then(|duckdb| {
            let theirs = duckdb.query(self.sql).map_err(|error| format!("{error:#}"))?;
            self.compare(&ours, &theirs).map_err(|error| format!("{error:#}"))?;
            Ok(theirs.seconds * 1e3)
        });
        Ok(Measurement {
            what,
            unit: "ms",
            ours: ours.seconds * 1e3,
            reference: Reference { name: "DuckDB over the raw readings".to_owned(), value: theirs },
            goal: at_most_times(self.floor * times, self.aim * times),
        })
    }
}
