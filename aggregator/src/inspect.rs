//! Output of `store verify`, `store repair` and `folder adopt`.

use std::{fmt::Write as _, path::Path};

use anyhow::{bail, ensure};
use catchment_certs::{Identity, IdentityFolder, Role};

use crate::store::{RepairReport, VerifyReport, lock_existing};

/// The report as text: a summary, then the damage, one line each.
pub fn verify_text(report: &VerifyReport) -> String {
    let VerifyReport { blocks, partials, damaged_blocks, series, entries, torn_tail_bytes, .. } = report;
    let owner =
        report.owner.as_deref().unwrap_or("nobody yet; the next start binds it to the aggregator's identity");
    let mut text = format!(
        "the folder belongs to {owner}\n\
         blocks: {blocks} whole with {partials} partials, {damaged_blocks} damaged\n\
         catalog: {series} series\n\
         journal: {entries} whole entries, {torn_tail_bytes} bytes at the end that were never acknowledged\n"
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

/// The report of a repair as text: the actions, then the losses, one line each.
pub fn repair_text(report: &RepairReport) -> String {
    let mut text = String::new();
    for line in &report.done {
        let _ = writeln!(text, "{line}");
    }
    if report.done.is_empty() {
        text.push_str("nothing to repair\n");
    }
    for finding in &report.lost.findings {
        let _ = writeln!(text, "lost: {finding}");
    }
    if report.lost.findings_unlisted > 0 {
        let _ = writeln!(text, "lost: {} more", report.lost.findings_unlisted);
    }
    text
}

/// Gives a store's folder to an aggregator of another identity; returns the report. Gateways check only the role, so
/// another name is harmless; a folder of another trust domain needs `force`.
///
/// # Errors
/// The identity is not an aggregator's, the folder is in use or belongs to another trust domain, or an I/O error.
pub fn adopt_text(data: &Path, identity: &Path, force: bool) -> anyhow::Result<String> {
    let identity = IdentityFolder::load(identity)?;
    let peer = identity.peer();
    if peer.identity.role() != Role::Aggregator {
        bail!("{}: identity of {}, but an aggregator's is needed", identity.dir().display(), peer.identity);
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
        "{} belongs to {before}, of another trust domain: its gateways and devices may be different ones with the same names; \
         use a new folder, or repeat with --force",
        data.display()
    );
    folder.adopt(&owner)?;
    Ok(format!("{} belongs to {owner} now, previously to {before}\n", data.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_the_damage() {
        let mut report = VerifyReport { blocks: 3, entries: 7, ..VerifyReport::default() };
        assert!(verify_text(&report).ends_with("nothing is damaged\n"));
        report.findings.push("block 4: checksum".to_owned());
        report.findings_unlisted = 2;
        let text = verify_text(&report);
        assert!(text.contains("damaged: block 4: checksum\ndamaged: 2 more\n"), "{text}");
        assert!(text.ends_with("the store is damaged\n"), "{text}");
    }
}
