//! The read path: answers beside DuckDB and Prometheus over the raw readings, right after a backlog and once it is in blocks; what a
//! merge, a selector, a start and a stored window cost; and queries beside ingest.

mod beside;
mod disk;
mod growth;
mod month;
mod promql;
mod question;
mod selector;
mod sites;
mod start;
mod stored;
mod windows;

use self::stored::Stored;
use super::Bench;
use crate::report::Report;

/// A month of a few series: all that is measured with these windows.
pub(super) fn of_a_month(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut all = vec![Stored::without_server(bench, "base", month::history(bench, 1).newest(10))?];
    all.push(month::run(bench, report)?);
    if bench.scale > 1 {
        all.push(Stored::without_server(bench, "large", month::history(bench, bench.scale as i64))?);
    }
    start::after_backlog(bench, &all, report)?;
    growth::run(bench, &all, &month::QUESTIONS, report)?;
    start::by_stored_windows(bench, &all, report)?;
    let Some(month) = all.get(1) else { return Ok(()) };
    beside::run(bench, month, report)
}

/// Ten sites: answers over all of them, and over all windows.
pub(super) fn of_sites(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let base = Stored::without_server(bench, "sites-base", sites::history(bench, 1).newest(10))?;
    let all = [base, sites::run(bench, report)?];
    growth::run(bench, &all, &[sites::QUESTION], report)?;
    windows::run(bench, &all, report)
}

/// Series by their names.
pub(super) fn by_names(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    selector::run(bench, report)
}

/// Bytes of a stored window.
pub(super) fn bytes_on_disk(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    disk::run(bench, report)
}

/// Expressions of PromQL.
pub(super) fn by_promql(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    promql::run(bench, report)
}
