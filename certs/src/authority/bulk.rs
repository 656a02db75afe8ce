//! Issues many devices at once, from a CSV file with the header `site,name`.
//!
//! The whole file is checked before the first certificate is made. Rows are processed in groups. Each group holds the
//! lock, takes one ledger write and one sync of the disk, and then its folders appear. A row whose identity folder
//! exists is skipped, so the same command resumes an interrupted run.

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    time::Duration,
};

use catchment_proto::id::{DeviceId, Name};
use serde::Deserialize;

use super::{Authority, AuthorityError, IssueRequest, issue::Prepared};
use crate::{
    Identity,
    files::{self, StagedFolder},
};

/// Rows per group: enough to share syncs, few enough to let others take the lock in between and to move the progress
/// bar.
const GROUP: usize = 128;

/// Largest CSV file, in bytes: some million rows.
const CSV_BYTES_MAX: u64 = 64 << 20;

/// Result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Identities made.
    pub issued: u64,
    /// Rows skipped because their identity existed.
    pub skipped: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    site: String,
    name: String,
}

/// Reads and checks all rows.
///
/// # Errors
/// The file cannot be read, its header is not `site,name`, or a row violates the rule for names; the message
/// names file and line.
pub fn read_rows(path: &Path) -> Result<Vec<DeviceId>, AuthorityError> {
    let content = files::read_bytes(path, CSV_BYTES_MAX)?;
    let refuse = |line: Option<u64>, reason: String| AuthorityError::Content {
        path: path.to_owned(),
        reason: line.map_or_else(|| reason.clone(), |line| format!("line {line}: {reason}")),
    };
    // Spreadsheet programs put a byte order mark before the header.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let headers = reader.headers().map_err(|error| refuse(Some(1), error.to_string()))?.clone();
    let mut columns: Vec<&str> = headers.iter().collect();
    columns.sort_unstable();
    if columns != ["name", "site"] {
        return Err(refuse(Some(1), "the header must be `site,name`".to_owned()));
    }
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| {
        refuse(
            error.position().map(csv::Position::line),
            "the row does not have the two columns site and name".to_owned(),
        )
    })? {
        let line = record.position().map(csv::Position::line);
        let row: Row = record.deserialize(Some(&headers)).map_err(|error| refuse(line, error.to_string()))?;
        let name = |column: &str, text: &str| {
            Name::new(text).map_err(|error| refuse(line, format!("{column} {text:?}: {error}")))
        };
        rows.push(DeviceId { site: name("site", &row.site)?, name: name("name", &row.name)? });
    }
    Ok(rows)
}

impl Authority {
    /// Makes an identity for each device that has none yet. `progress` is called with the number of rows done.
    ///
    /// # Errors
    /// As [`Self::issue`]; the identities made so far stay, and the same call continues from there.
    pub fn issue_devices(
        &self,
        devices: &[DeviceId],
        lifetime: Option<Duration>,
        progress: &mut dyn FnMut(u64),
        note: &mut dyn FnMut(String),
    ) -> Result<BulkReport, AuthorityError> {
        let mut report = BulkReport::default();
        for group in devices.chunks(GROUP) {
            let (issued, skipped) = self.issue_group(group, lifetime, note)?;
            report.issued += issued;
            report.skipped += skipped;
            progress(report.issued + report.skipped);
        }
        Ok(report)
    }

    fn issue_group(
        &self,
        group: &[DeviceId],
        lifetime: Option<Duration>,
        note: &mut dyn FnMut(String),
    ) -> Result<(u64, u64), AuthorityError> {
        let _lock = self.lock()?;
        let mut prepared = Vec::with_capacity(group.len());
        let mut seen = HashSet::new();
        let mut skipped = 0;
        for device in group {
            if !seen.insert(device) {
                skipped += 1;
                continue;
            }
            let mut request = IssueRequest::new(Identity::Device(device.clone()));
            request.lifetime = lifetime;
            match self.prepare(&request, note) {
                Ok(one) => prepared.push(one),
                Err(AuthorityError::IdentityExists { .. }) => skipped += 1,
                Err(error) => return Err(error),
            }
        }
        self.record(&prepared, note)?;
        let issued = prepared.len() as u64;
        self.write_identities(prepared)?;
        Ok((issued, skipped))
    }

    /// Writes all folders, syncs once, and makes them appear.
    fn write_identities(&self, prepared: Vec<Prepared>) -> Result<(), AuthorityError> {
        let crl = self.crl_pem()?;
        let mut staged = Vec::with_capacity(prepared.len());
        for one in prepared {
            if files::is_occupied(&one.dir)? {
                self.write_identity(one, crl.as_deref())?;
            } else {
                staged.push(StagedFolder::write(&one.dir, &self.contents(&one, crl.as_deref()))?);
            }
        }
        if staged.is_empty() {
            return Ok(());
        }
        files::sync_file_system(&self.dir)?;
        let mut parents = BTreeSet::new();
        for folder in &staged {
            folder.publish()?;
            parents.insert(folder.parent());
        }
        parents.into_iter().try_for_each(files::sync)?;
        Ok(())
    }
}
