//! Signs many signing requests at once: of a folder, whose file names are the names of the devices, or of a CSV file
//! that maps files to identities.
//!
//! A request that is refused does not stop the others. A request whose identity already has a certificate for the same
//! key is skipped, so the same command resumes an interrupted run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use catchment_proto::id::Name;
use serde::{Deserialize, Serialize};

use super::{
    Authority, AuthorityError, IssuedPaths, KeyKind,
    batch::{Batch, Outcome, Work},
    bulk::read_csv,
    hand_out::GROUP,
    lifetime_of_days,
};
use crate::{Identity, Role, files::FileError};

/// Extensions of files that are taken for signing requests.
const EXTENSIONS: [&str; 6] = ["csr", "req", "p10", "pem", "der", "txt"];
/// Largest number of files in a folder.
const FILES_MAX: usize = 1_000_000;

/// A signing request and the identity that its key is certified for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRow {
    /// The file with the request, in PEM or DER.
    pub request: PathBuf,
    /// The identity; a device or an operator, because servers need hosts.
    pub identity: Identity,
    /// Validity of its certificate; `None`: the default of its role.
    pub lifetime: Option<Duration>,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The request's file.
    pub file: PathBuf,
    /// Why, with the file.
    pub error: String,
}

/// Result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignReport {
    /// Identities signed, including those that an interrupted run had signed.
    pub signed: Vec<(Identity, IssuedPaths)>,
    /// Requests that an interrupted run had signed, and whose folders this one let appear.
    pub finished: u64,
    /// Requests skipped because their identity has a certificate for the same key.
    pub skipped: u64,
    /// Requests refused.
    pub refused: Vec<Refused>,
}

impl SignReport {
    /// Adds the result of another authority.
    pub fn add(&mut self, other: Self) {
        let Self { signed, finished, skipped, refused } = other;
        self.signed.extend(signed);
        self.finished += finished;
        self.skipped += skipped;
        self.refused.extend(refused);
    }
}

/// The requests in a folder: each file with an extension of a signing request; its name before that is the name of a
/// device of `site`. Files whose name starts with a dot and other files are left, and returned as the second part.
///
/// # Errors
/// The folder cannot be read, or has too many files.
pub fn requests_in(
    dir: &Path,
    site: &Name,
    lifetime: Option<Duration>,
) -> Result<(Vec<SignRow>, Vec<Refused>), AuthorityError> {
    let read = |error| AuthorityError::from(FileError { action: "read", path: dir.to_owned(), error });
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.is_file() {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            let reason = format!("more than {FILES_MAX} files; split the folder");
            return Err(AuthorityError::Content { path: dir.to_owned(), reason });
        }
    }
    paths.sort();
    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for request in paths {
        match device_of(&request, site) {
            Ok(identity) => rows.push(SignRow { request, identity, lifetime }),
            Err(reason) => {
                let error = format!("{}: {reason}", request.display());
                refused.push(Refused { file: request, error });
            }
        }
    }
    Ok((rows, refused))
}

/// The device that a file's name names.
fn device_of(path: &Path, site: &Name) -> Result<Identity, String> {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    if !extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
        return Err(format!(
            "not taken for a signing request: its name must end in .{}",
            EXTENSIONS.join(", .")
        ));
    }
    let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("its name is not UTF-8")?;
    let name = Name::new(name)
        .map_err(|error| format!("{name:?} is not the name of a device: {error}; map it in a CSV file"))?;
    Identity::from_parts(Role::Device, Some(site.clone()), name).ok_or_else(|| "no device".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    csr: PathBuf,
    site: String,
    name: String,
    days: Option<u32>,
}

/// The requests in a CSV file with the header `csr,site,name` or `csr,site,name,days`. Paths are relative to the CSV
/// file's folder.
///
/// # Errors
/// As [`super::read_rows`].
pub fn requests_from(path: &Path, lifetime: Option<Duration>) -> Result<Vec<SignRow>, AuthorityError> {
    let base = path.parent().unwrap_or(Path::new("."));
    let mut rows = Vec::new();
    read_csv(path, &[&["csr", "name", "site"], &["csr", "days", "name", "site"]], |row: Row| {
        let name =
            |column: &str, text: &str| Name::new(text).map_err(|error| format!("{column} {text:?}: {error}"));
        let (site, name) = (name("site", &row.site)?, name("name", &row.name)?);
        let own = row.days.map(lifetime_of_days).transpose().map_err(|error| error.to_string())?;
        let identity = Identity::from_parts(Role::Device, Some(site), name).ok_or("no device")?;
        rows.push(SignRow { request: base.join(row.csr), identity, lifetime: own.or(lifetime) });
        Ok(())
    })?;
    Ok(rows)
}

impl Authority {
    /// Signs each request whose identity has no certificate for its key yet. `progress` is called with the number of
    /// rows done.
    ///
    /// # Errors
    /// Files cannot be written or the validity does not fit; the identities signed so far stay, and the same call
    /// continues from there. Requests that are refused are in the report.
    pub fn sign_rows(
        &self,
        rows: &[SignRow],
        progress: &mut dyn FnMut(u64),
        note: &mut dyn FnMut(String),
    ) -> Result<SignReport, AuthorityError> {
        let mut report = SignReport::default();
        let mut done = 0;
        let mut batch = Batch::open(self, true, note)?;
        for group in rows.chunks(GROUP) {
            let work: Vec<Work> = group
                .iter()
                .map(|row| Work {
                    identity: row.identity.clone(),
                    lifetime: row.lifetime,
                    request: Some(row.request.clone()),
                    key: KeyKind::default(),
                })
                .collect();
            for (row, outcome) in group.iter().zip(batch.group(&work, note)?) {
                self.count(&mut report, row, outcome);
            }
            done += group.len() as u64;
            progress(done);
        }
        batch.finish()?;
        Ok(report)
    }

    fn count(&self, report: &mut SignReport, row: &SignRow, outcome: Outcome) {
        let mut refuse = |error: String| report.refused.push(Refused { file: row.request.clone(), error });
        match outcome {
            Outcome::Made(issued) => {
                let dir = self.identity_dir(&row.identity);
                let paths = IssuedPaths { dir, serial: issued.serial, not_after: issued.not_after };
                report.signed.push((row.identity.clone(), paths));
            }
            Outcome::Finished => report.finished += 1,
            Outcome::Skipped => report.skipped += 1,
            Outcome::Elsewhere(serial) => refuse(format!(
                "{}: {} has the valid certificate {serial}, whose folder is not below {}; revoke it, or sign this request \
                 alone with --out",
                row.request.display(),
                row.identity,
                self.dir.display()
            )),
            Outcome::Refused(error) => refuse(error.to_string()),
        }
    }
}
