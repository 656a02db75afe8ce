//! What `store verify` and `store repair` print.

use std::fmt::Write as _;

use crate::store::{RepairReport, VerifyReport};

/// The report as text: what there is, then what is damaged, a line each.
pub fn verify_text(report: &VerifyReport) -> String {
    let VerifyReport { packs, partials, damaged_packs, series, entries, torn_tail_bytes, .. } = report;
    let mut text = format!(
        "packs: {packs} whole with {partials} partials, {damaged_packs} damaged\n\
         catalog: {series} series\n\
         journal: {entries} entries whole, {torn_tail_bytes} bytes at its end were never acknowledged\n"
    );
    for finding in &report.findings {
        // Writing to a String does not fail.
        let _ = writeln!(text, "damaged: {finding}");
    }
    if report.findings_unlisted > 0 {
        let _ = writeln!(text, "damaged: {} more", report.findings_unlisted);
    }
    text.push_str(if report.is_clean() { "nothing is damaged\n" } else { "the store is damaged\n" });
    text
}

/// The report of a repair as text: what was done, then what is lost, a line each.
pub fn repair_text(report: &RepairReport) -> String {
    let mut text = String::new();
    for line in &report.done {
        let _ = writeln!(text, "{line}");
    }
    if report.done.is_empty() {
        text.push_str("nothing was to be repaired\n");
    }
    for finding in &report.lost.findings {
        let _ = writeln!(text, "lost: {finding}");
    }
    if report.lost.findings_unlisted > 0 {
        let _ = writeln!(text, "lost: {} more", report.lost.findings_unlisted);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_is_damaged() {
        let mut report = VerifyReport { packs: 3, entries: 7, ..VerifyReport::default() };
        assert!(verify_text(&report).ends_with("nothing is damaged\n"));
        report.findings.push("pack 4: checksum".to_owned());
        report.findings_unlisted = 2;
        let text = verify_text(&report);
        assert!(text.contains("damaged: pack 4: checksum\ndamaged: 2 more\n"), "{text}");
        assert!(text.ends_with("the store is damaged\n"), "{text}");
    }
}
