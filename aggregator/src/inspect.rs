//! What `store verify`, `store repair` and `folder adopt` print.

use std::{fmt::Write as _, path::Path};

use anyhow::{bail, ensure};
use catchment_certs::{Identity, IdentityFolder, Role};

use crate::store::{RepairReport, VerifyReport, lock_existing};

/// The report as text: what there is, then what is damaged, a line each.
pub fn verify_text(report: &VerifyReport) -> String {
    let VerifyReport { blocks, partials, damaged_blocks, series, entries, torn_tail_bytes, .. } = report;
    let owner = report.owner.as_deref().unwrap_or("nobody yet; the next start binds it to its identity");
    let mut text = format!(
        "the folder belongs to {owner}\n\
         blocks: {blocks} whole with {partials} partials, {damaged_blocks} damaged\n\
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

/// Gives a store's folder to an aggregator of another identity: what was done. Gateways ask for the role alone, so
/// another name is harmless; what was stored under another trust domain is given only by force.
///
/// # Errors
/// The identity is no aggregator's, the folder is in use or of another trust domain, or reading or writing failed.
pub fn adopt_text(data: &Path, identity: &Path, force: bool) -> anyhow::Result<String> {
    let identity = IdentityFolder::load(identity)?;
    let peer = identity.peer();
    if peer.identity.role() != Role::Aggregator {
        bail!(
            "{}: this is the identity of {}, not of an aggregator",
            identity.dir().display(),
            peer.identity
        );
    }
    let mut folder = lock_existing(data)?;
    let before = folder.owner().unwrap_or("nobody").to_owned();
    let owner = peer.uri();
    if before == owner {
        return Ok(format!("{} belongs to {owner} already\n", data.display()));
    }
    let foreign = Identity::from_uri(&before).is_ok_and(|(domain, _)| domain != peer.trust_domain);
    ensure!(
        force || !foreign,
        "{} belongs to {before}, of another trust domain: its gateways and devices may be others of the same names; \
         use a new folder, or repeat this with --force",
        data.display()
    );
    folder.adopt(&owner)?;
    Ok(format!("{} belongs to {owner} now, before it was of {before}\n", data.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_is_damaged() {
        let mut report = VerifyReport { blocks: 3, entries: 7, ..VerifyReport::default() };
        assert!(verify_text(&report).ends_with("nothing is damaged\n"));
        report.findings.push("block 4: checksum".to_owned());
        report.findings_unlisted = 2;
        let text = verify_text(&report);
        assert!(text.contains("damaged: block 4: checksum\ndamaged: 2 more\n"), "{text}");
        assert!(text.ends_with("the store is damaged\n"), "{text}");
    }
}
