//! Issues many devices at once, from a CSV file with the header `site,name` or `site,name,days`.
//!
//! The whole file is checked before the first certificate is made. A row whose identity folder exists is skipped, so
//! the same command resumes an interrupted run. A row whose certificate is valid although its folder is not below the
//! PKI folder (moved to its device, say) gets no second one.

use std::{path::Path, time::Duration};

use catchment_proto::id::{DeviceId, Name};
use serde::{Deserialize, Serialize};

use super::{
    Authority, AuthorityError, KeyKind, RevokeWhat,
    batch::{Batch, Outcome, Work},
    hand_out::GROUP,
    lifetime_of_days,
};
use crate::{
    Identity, files,
    folder::{CERT_FILE, KEY_FILE},
    pem_text::without_mark,
};

/// Largest CSV file, in bytes: some million rows.
const CSV_BYTES_MAX: u64 = 64 << 20;
/// Most rows without a folder that are named one by one.
const NAMED_MAX: u64 = 10;

/// One device of a CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its site and name.
    pub device: DeviceId,
    /// Validity of its certificate; `None`: that of the run.
    pub lifetime: Option<Duration>,
}

/// Result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BulkReport {
    /// Identities made.
    pub issued: u64,
    /// Identities that an interrupted run had made, and that this one let appear.
    pub finished: u64,
    /// Rows skipped because their identity existed.
    pub skipped: u64,
    /// Rows skipped because the ledger has a valid certificate whose folder is not below the PKI folder.
    pub elsewhere: u64,
}

impl BulkReport {
    /// Adds the result of another authority.
    pub fn add(&mut self, other: Self) {
        let Self { issued, finished, skipped, elsewhere } = other;
        self.issued += issued;
        self.finished += finished;
        self.skipped += skipped;
        self.elsewhere += elsewhere;
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    site: String,
    name: String,
    days: Option<u32>,
}

/// Reads and checks all rows.
///
/// # Errors
/// The file cannot be read, its header is neither `site,name` nor `site,name,days`, or a row violates the rule for
/// names or days; the message names file and line.
pub fn read_rows(path: &Path) -> Result<Vec<DeviceRow>, AuthorityError> {
    let mut rows = Vec::new();
    read_csv(path, &[&["name", "site"], &["days", "name", "site"]], |row: Row| {
        let name =
            |column: &str, text: &str| Name::new(text).map_err(|error| format!("{column} {text:?}: {error}"));
        let device = DeviceId { site: name("site", &row.site)?, name: name("name", &row.name)? };
        let lifetime = row.days.map(lifetime_of_days).transpose().map_err(|error| error.to_string())?;
        rows.push(DeviceRow { device, lifetime });
        Ok(())
    })?;
    Ok(rows)
}

/// Reads a CSV file with one of these headers (sorted), a row at a time.
pub(super) fn read_csv<T: for<'de> Deserialize<'de>>(
    path: &Path,
    headers: &[&[&str]],
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), AuthorityError> {
    let content = files::read_bytes(path, CSV_BYTES_MAX)?;
    let refuse = |line: Option<u64>, reason: String| AuthorityError::Content {
        path: path.to_owned(),
        reason: line.map_or_else(|| reason.clone(), |line| format!("line {line}: {reason}")),
    };
    // Spreadsheet programs put a byte order mark before the header.
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(without_mark(&content));
    let found = reader.headers().map_err(|error| refuse(Some(1), error.to_string()))?.clone();
    let mut columns: Vec<&str> = found.iter().collect();
    columns.sort_unstable();
    if !headers.contains(&columns.as_slice()) {
        let allowed: Vec<String> = headers.iter().map(|header| format!("`{}`", header.join(","))).collect();
        let allowed = allowed.join(" or ");
        return Err(refuse(Some(1), format!("the header must be {allowed}, in any order")));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| {
        let line = error.position().map(csv::Position::line);
        refuse(line, format!("the row does not have the columns {}", columns.join(" and ")))
    })? {
        let line = record.position().map(csv::Position::line);
        let row = record.deserialize(Some(&found)).map_err(|error| {
            let reason = match error.kind() {
                csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
                _ => error.to_string(),
            };
            refuse(line, reason)
        })?;
        take(row).map_err(|reason| refuse(line, reason))?;
    }
    Ok(())
}

impl Authority {
    /// Makes an identity with a P-256 key for each device that has none yet, as [`Self::issue_rows`].
    ///
    /// # Errors
    /// As [`Self::issue_rows`].
    pub fn issue_devices(
        &self,
        devices: &[DeviceId],
        lifetime: Option<Duration>,
        progress: &mut dyn FnMut(u64),
        note: &mut dyn FnMut(String),
    ) -> Result<BulkReport, AuthorityError> {
        let rows: Vec<DeviceRow> =
            devices.iter().map(|device| DeviceRow { device: device.clone(), lifetime }).collect();
        self.issue_rows(&rows, KeyKind::default(), progress, note)
    }

    /// Makes an identity with a key of a kind for each row that has none yet. `progress` is called with the number of rows done.
    ///
    /// # Errors
    /// As [`Self::issue`]; the identities made so far stay, and the same call continues from there.
    pub fn issue_rows(
        &self,
        rows: &[DeviceRow],
        key: KeyKind,
        progress: &mut dyn FnMut(u64),
        note: &mut dyn FnMut(String),
    ) -> Result<BulkReport, AuthorityError> {
        let mut report = BulkReport::default();
        let mut done = 0;
        let mut batch = Batch::open(self, false, note)?;
        for group in rows.chunks(GROUP) {
            let work: Vec<Work> = group.iter().map(|row| work(row, key)).collect();
            for (row, outcome) in group.iter().zip(batch.group(&work, note)?) {
                match outcome {
                    Outcome::Made(_) => report.issued += 1,
                    Outcome::Finished => report.finished += 1,
                    Outcome::Skipped => report.skipped += 1,
                    Outcome::Elsewhere(serial) => {
                        report.elsewhere += 1;
                        if report.elsewhere <= NAMED_MAX {
                            note(format!(
                                "{} has the valid certificate {serial}, whose folder is not below {}; skipped",
                                row.device,
                                self.dir.display()
                            ));
                        }
                    }
                    Outcome::Refused(error) => return Err(error),
                }
            }
            done += group.len() as u64;
            progress(done);
        }
        batch.finish()?;
        Ok(report)
    }

    /// Revokes the valid certificates of rows that have no identity folder below the PKI folder, and writes a new list,
    /// so that these rows can be issued again. Returns the number of certificates.
    ///
    /// # Errors
    /// As [`Self::revoke`].
    pub fn revoke_missing(
        &self,
        rows: &[DeviceRow],
        note: &mut dyn FnMut(String),
    ) -> Result<usize, AuthorityError> {
        let batch = Batch::open(self, false, note)?;
        let missing: Vec<RevokeWhat> = rows
            .iter()
            .map(|row| Identity::Device(row.device.clone()))
            .filter(|identity| batch.valid(identity).is_some() && !self.has_folder(identity))
            .map(RevokeWhat::Identity)
            .collect();
        drop(batch);
        if missing.is_empty() {
            return Ok(0);
        }
        let report = self.revoke_all(&missing, None, note)?;
        if let Some(first) = report.unknown.first() {
            // The root issued them, before the site could: the list of the site does not count for them.
            let (count, first) = (report.unknown.len(), self.unknown(first));
            note(format!(
                "{count} missing certificates are of the root, and the root has to revoke them: {first}"
            ));
        }
        Ok(report.revoked.len())
    }

    /// Whether an identity has its folder below the PKI folder, or a staged one.
    fn has_folder(&self, identity: &Identity) -> bool {
        let dir = self.identity_dir(identity);
        let there = |name: &str| dir.join(name).symlink_metadata().is_ok();
        there(CERT_FILE) || there(KEY_FILE) || files::StagedFolder::left_over(&dir).is_some()
    }
}

fn work(row: &DeviceRow, key: KeyKind) -> Work {
    Work { identity: Identity::Device(row.device.clone()), lifetime: row.lifetime, request: None, key }
}
