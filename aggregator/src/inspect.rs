//! Output of `store verify`, `store repair` and `folder adopt`.

use std::{
    fmt::{Display, Write as _},
    path::{Path, PathBuf},
};

use catchment_certs::{FolderError, Identity, IdentityFolder, Role};
use catchment_journal::{DataDirError, FolderFacts};

use crate::store::{OpenError, RepairReport, VerifyReport, lock_existing};

/// The report as text: a summary, then the damage, one line each.
pub fn verify_text(report: &VerifyReport) -> String {
    let VerifyReport { tables, damaged_tables, blocks, damaged_blocks, .. } = report;
    let VerifyReport { partials, merged_rows, series, entries, torn_tail_bytes, .. } = report;
    let mut text = FolderFacts::owner_line(report.owner.as_deref());
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "tables: {tables} whole, {damaged_tables} damaged\n\
         blocks: {blocks} whole with {partials} windows and {merged_rows} minutes, hours and days, {damaged_blocks} damaged\n\
         catalog: {series} series\n\
         journal: {entries} whole entries, {torn_tail_bytes} bytes at the end that were never acknowledged"
    );
    if report.unnamed_files > 0 {
        let files = report.unnamed_files;
        let _ = writeln!(text, "{files} files were left by interrupted work: the next start removes them");
    }
    list("damaged", &report.findings, report.findings_unlisted, &mut text);
    list("could not be opened", &report.unopened, 0, &mut text);
    text.push_str(match (report.is_clean(), report.is_complete()) {
        (true, true) => "nothing is damaged\n",
        (true, false) => "nothing that could be read is damaged; run it again with more descriptors (`ulimit -n`) or rights\n",
        (false, _) => "the store is damaged\n",
    });
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
    list("lost", &report.lost.findings, report.lost.findings_unlisted, &mut text);
    text
}

/// Lists findings, a line each, and how many more there are.
fn list(what: &str, findings: &[impl Display], unlisted: u64, text: &mut String) {
    for finding in findings {
        let _ = writeln!(text, "{what}: {finding}");
    }
    if unlisted > 0 {
        let _ = writeln!(text, "{what}: {unlisted} more");
    }
}

/// Why a store's folder was not adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The identity cannot be loaded, or is no aggregator's.
    #[error(transparent)]
    Identity(#[from] FolderError),
    /// The folder holds no store, is in use, or cannot be read.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The new owner cannot be written.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The folder is of another trust domain.
    #[error(
        "{} belongs to {owner}, of another trust domain: its gateways and devices may be different ones with the same names; \
         use a new folder, or repeat with --force",
        data.display()
    )]
    TrustDomain {
        /// The folder.
        data: PathBuf,
        /// Whose it is.
        owner: String,
    },
}

/// Gives a store's folder to an aggregator of another identity; returns the report. Gateways check only the role, so
/// another name is harmless; a folder of another trust domain needs `force`.
///
/// # Errors
/// See [`AdoptError`].
pub fn adopt_text(data: &Path, identity: &Path, force: bool) -> Result<String, AdoptError> {
    let identity = IdentityFolder::load_of(identity, Role::Aggregator)?;
    let peer = identity.peer();
    lock_existing(data)?.change_owner(&peer.uri(), |before| {
        let foreign = Identity::from_uri(before).is_ok_and(|(domain, _)| domain != peer.trust_domain);
        if foreign && !force {
            return Err(AdoptError::TrustDomain { data: data.to_owned(), owner: before.to_owned() });
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_the_damage() {
        let mut report = VerifyReport::default();
        (report.blocks, report.entries) = (3, 7);
        assert!(verify_text(&report).ends_with("nothing is damaged\n"));
        report.unopened.push("cannot read t: too many open files".to_owned());
        let text = verify_text(&report);
        assert!(
            text.contains("could not be opened: cannot read t") && text.contains("nothing that could be"),
            "{text}"
        );
        report.findings.push("block 4: checksum".to_owned());
        report.findings_unlisted = 2;
        let text = verify_text(&report);
        assert!(text.contains("damaged: block 4: checksum\ndamaged: 2 more\n"), "{text}");
        assert!(text.ends_with("the store is damaged\n"), "{text}");
    }
}
