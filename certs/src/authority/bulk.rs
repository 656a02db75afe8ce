//! Many devices at once, from a CSV file with the header `site,name`.
//!
//! The whole file is checked before the first certificate is made. Work goes in small groups, each under the
//! lock and with one ledger write. A row whose identity folder exists is skipped, so an interrupted run is
//! resumed by the same command.

use std::{path::Path, time::Duration};

use catchment_proto::id::{DeviceId, Name};
use serde::Deserialize;

use super::{Authority, AuthorityError, IssueRequest};
use crate::{Identity, files};

/// Rows under one lock and one ledger write: long enough to share the sync, short enough for others to get
/// the lock in between.
const GROUP: usize = 32;

/// Largest CSV file, in bytes: some million rows.
const CSV_BYTES_MAX: u64 = 64 << 20;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Identities made.
    pub issued: u64,
    /// Rows whose identity existed.
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
/// The file cannot be read, its header is not `site,name`, or a row breaks the rule for names; the message
/// has file and line.
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
            "it does not have the two columns site and name".to_owned(),
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
    /// As [`Self::issue`]; what was made until then stays, and the same call goes on from there.
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
        let mut seen = std::collections::HashSet::new();
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
        let crl = self.crl_pem()?;
        let mut issued = 0;
        for one in prepared {
            self.hand_out(one, crl.as_deref())?;
            issued += 1;
        }
        Ok((issued, skipped))
    }
}
