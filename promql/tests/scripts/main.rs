//! Prometheus' own test scripts of version 2.42, run through the evaluator.
//!
//! ```text
//! Debian's source package → fetch → script (commands) → source (samples as panes of 1 ms) → run (evals) → compare
//! ```
//!
//! The scripts are not part of this repository: the test fetches them into `target/tmp`. Their ranges are closed on the
//! left, as before Prometheus 3, which the source of this test says with [`catchment_promql::Alignment::closed_left`].
//! Each eval is equal, or refused by design (`by_design.txt`), or the test fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod by_design;
mod closed;
mod compare;
mod fetch;
mod pinned;
mod run;
mod script;
mod series;
mod source;

use std::fmt::Write as _;

use by_design::ByDesign;
use run::Counts;

/// The scripts; a new version of the package must not add one unseen.
const SCRIPTS: [&str; 11] = [
    "aggregators",
    "at_modifier",
    "collision",
    "functions",
    "histograms",
    "literals",
    "operators",
    "selectors",
    "staleness",
    "subquery",
    "trig_functions",
];

/// Evals in all scripts.
const EVALS: usize = 566;

#[tokio::test]
async fn every_eval_is_equal_or_refused_by_design() {
    let folder = fetch::scripts();
    let (mut by_design, mut wrong) = (ByDesign::load(), Vec::new());
    let mut total = Counts::default();
    let mut table =
        format!("{:<16} {:>6} {:>6} {:>10} {:>6}\n", "script", "evals", "equal", "by design", "wrong");
    for name in SCRIPTS {
        let file = format!("{name}.test");
        let text = std::fs::read_to_string(folder.join(&file)).unwrap();
        let counts = run::script(&file, &text, &mut by_design, &mut wrong).await;
        table.push_str(&counts.row(name));
        total += counts;
    }
    table.push_str(&total.row("all"));
    write!(table, "{} evaluations, with ranges and pinned times", total.evaluations).unwrap();
    println!("{table}");
    wrong.extend(by_design.unused());
    assert!(wrong.is_empty(), "{table}\n\n{}", wrong.join("\n\n"));
    assert_eq!(total.evals, EVALS, "evals in the scripts of 2.42");
    assert_eq!(total.equal + total.by_design, total.evals);
}
