//! The read path: answers beside DuckDB over the raw readings, right after a backlog and once it is in blocks; what a
//! merge, a selector, a start and a stored window cost; and queries beside ingest.

mod beside;
mod disk;
mod growth;
mod month;
mod question;
mod selector;
mod sites;
mod start;
mod stored;
mod windows;

use std::fs;

use self::stored::Stored;
use super::Bench;
use crate::{reference::duckdb::Installation, report::Report};

/// DuckDB, or why there is none.
type Reference<'a> = Result<&'a Installation, String>;

/// A month of a few series: all that can be measured with these windows.
fn of_a_month(bench: &Bench, duckdb: Reference<'_>, report: &mut Report) -> anyhow::Result<()> {
    let mut all = vec![Stored::without_server(bench, "base", month::history(bench, 1).newest(10))?];
    all.push(month::run(bench, duckdb, report)?);
    if bench.scale > 1 {
        all.push(Stored::without_server(bench, "large", month::history(bench, bench.scale as i64))?);
    }
    start::run(bench, &all, report)?;
    growth::run(bench, &all, &month::QUESTIONS, report)?;
    let Some(month) = all.get(1) else { return Ok(()) };
    beside::run(bench, month, report)
}

/// Ten sites: answers over all of them, and over all windows.
fn of_sites(bench: &Bench, duckdb: Reference<'_>, report: &mut Report) -> anyhow::Result<()> {
    let base = Stored::without_server(bench, "sites-base", sites::history(bench, 1).newest(10))?;
    let all = [base, sites::run(bench, duckdb, report)?];
    growth::run(bench, &all, &[sites::QUESTION], report)?;
    windows::run(bench, &all, report)
}

/// All figures. Those of a part that fails are missing, with the reason; the others are measured.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let dir = bench.folder("query");
    fs::create_dir_all(&dir)?;
    let duckdb = Installation::new(&dir).map_err(|error| format!("{error:#}"));
    let duckdb = || duckdb.as_ref().map_err(Clone::clone);
    let mut part = |name: &str, run: &dyn Fn(&mut Report) -> anyhow::Result<()>| {
        if let Err(error) = run(report) {
            let error = format!("{error:#}").replace(&bench.dir.display().to_string(), "DIR");
            println!("  {name}: failed: {error}");
            report.failures.push((format!("query, {name}"), error));
        }
    };
    part("a month", &|report| of_a_month(bench, duckdb(), report));
    part("sites", &|report| of_sites(bench, duckdb(), report));
    part("selector", &|report| selector::run(bench, duckdb(), report));
    part("disk", &|report| disk::run(bench, report));
    Ok(())
}
