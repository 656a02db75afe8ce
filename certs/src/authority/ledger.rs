//! The record of what the authority has done: an append-only text file, one JSON object per line.
//!
//! An entry is durable before its certificate is handed out, so every certificate in circulation can be revoked.
//! Writers and readers hold the authority's lock. A last line without its end was left by a crash, and its certificate
//! was never handed out: it is cut off and reported. Any other unreadable line is reported, because it might be a
//! revocation.

mod text;

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{error::AuthorityError, lists::Listed, reason::RevocationReason};
use crate::{Identity, Role, Serial, files::FileError};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// A certificate was made.
    Issued(Issued),
    /// The issuing certificate of a site was made. Earlier versions report such a line as unreadable and continue.
    Issuer(IssuerMade),
    /// From now on another root issues. Earlier versions report such a line as unreadable and continue.
    Root {
        /// When it began.
        #[serde(with = "text")]
        time: Timestamp,
        /// Serial number of the root.
        #[serde(with = "text")]
        serial: Serial,
    },
    /// A certificate was revoked.
    Revoked {
        /// When it was revoked.
        #[serde(with = "text")]
        time: Timestamp,
        /// Its serial number.
        #[serde(with = "text")]
        serial: Serial,
        /// Why; lines of earlier versions lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<RevocationReason>,
    },
    /// A revocation list was made.
    Crl {
        /// When it was made.
        #[serde(with = "text")]
        time: Timestamp,
        /// Its number; numbers rise.
        number: u64,
    },
}

/// A certificate in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// When it was made.
    #[serde(with = "text")]
    pub time: Timestamp,
    /// Its serial number.
    #[serde(with = "text")]
    pub serial: Serial,
    /// The holder's role.
    #[serde(with = "text")]
    pub role: Role,
    /// The holder's site, for the roles that have one.
    #[serde(with = "text::optional", default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Name>,
    /// The holder's name.
    #[serde(with = "text")]
    pub name: Name,
    /// Start of its validity.
    #[serde(with = "text")]
    pub not_before: Timestamp,
    /// End of its validity.
    #[serde(with = "text")]
    pub not_after: Timestamp,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo) in hexadecimal digits; lines of earlier versions lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Issued {
    /// Whether the certificate belongs to this identity.
    pub fn is_of(&self, identity: &Identity) -> bool {
        self.role == identity.role() && self.site.as_ref() == identity.site() && &self.name == identity.name()
    }
}

/// The issuing certificate of a site, in the ledger of the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerMade {
    /// When it was made.
    #[serde(with = "text")]
    pub time: Timestamp,
    /// Its serial number.
    #[serde(with = "text")]
    pub serial: Serial,
    /// Its site.
    #[serde(with = "text")]
    pub site: Name,
    /// Start of its validity.
    #[serde(with = "text")]
    pub not_before: Timestamp,
    /// End of its validity.
    #[serde(with = "text")]
    pub not_after: Timestamp,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: String,
}

/// Where in the ledger another root begins to issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootChange {
    /// When it was written.
    pub time: Timestamp,
    /// Number of certificates before it.
    pub issued: usize,
    /// Number of issuing certificates before it.
    pub issuers: usize,
}

/// Maximum number of unreadable lines reported one by one.
const NOTED_MAX: u64 = 10;

/// The combined contents of all entries.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All certificates, in the order in which they were made.
    pub issued: Vec<Issued>,
    /// Issuing certificates of sites, in the order in which they were made.
    pub issuers: Vec<IssuerMade>,
    /// When the present root began to issue, if another one did before.
    pub root_since: Option<RootChange>,
    /// The revoked ones, with the time of their first revocation.
    pub revoked: HashMap<Serial, Timestamp>,
    /// What other authorities revoke: of a site's authority the roots, of a root with its sites the sites.
    pub revoked_elsewhere: HashMap<Serial, Timestamp>,
    /// Why, for those with a reason.
    pub reasons: HashMap<Serial, RevocationReason>,
    /// Number of the newest revocation list, 0 when there is none.
    pub crl_number: u64,
    /// Number of unreadable lines. Each may be a certificate or a revocation.
    pub damaged: u64,
}

impl History {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Issued(issued) => self.issued.push(issued),
            Entry::Issuer(issuer) => self.issuers.push(issuer),
            Entry::Root { time, .. } => {
                let (issued, issuers) = (self.issued.len(), self.issuers.len());
                self.root_since = Some(RootChange { time, issued, issuers });
            }
            Entry::Revoked { time, serial, reason } => self.revoke(serial, time, reason),
            Entry::Crl { number, .. } => self.crl_number = self.crl_number.max(number),
        }
    }

    /// Notes a revocation of this authority; the first of a certificate counts.
    pub(super) fn revoke(&mut self, serial: Serial, time: Timestamp, reason: Option<RevocationReason>) {
        if !self.revoked.contains_key(&serial) {
            match reason {
                Some(reason) => self.reasons.insert(serial.clone(), reason),
                // That of another authority gives way.
                None => self.reasons.remove(&serial),
            };
            self.revoked.insert(serial, time);
        }
    }

    /// Notes a revocation of another authority.
    pub(super) fn revoke_elsewhere(&mut self, (serial, time, reason): Listed) {
        if let (None, Some(reason)) = (self.revoked_at(&serial), reason) {
            self.reasons.insert(serial.clone(), reason);
        }
        self.revoked_elsewhere.entry(serial).or_insert(time);
    }

    /// Adds what was read after it from the same ledger.
    pub(super) fn extend(&mut self, newer: Self) {
        let Self { issued, issuers, root_since, revoked, reasons, crl_number, damaged, .. } = newer;
        let newer = root_since.map(|change| RootChange {
            time: change.time,
            issued: self.issued.len() + change.issued,
            issuers: self.issuers.len() + change.issuers,
        });
        self.root_since = newer.or(self.root_since);
        self.issued.extend(issued);
        self.issuers.extend(issuers);
        for (serial, time) in revoked {
            let reason = reasons.get(&serial).copied();
            self.revoke(serial, time, reason);
        }
        self.crl_number = self.crl_number.max(crl_number);
        self.damaged += damaged;
    }

    /// Adds the certificates and revocations of another authority's ledger, after those of this one.
    pub(super) fn add_related(&mut self, other: Self) {
        let Self { issued, revoked, revoked_elsewhere, reasons, .. } = other;
        self.issued.extend(issued);
        for (serial, time) in revoked.into_iter().chain(revoked_elsewhere) {
            let reason = reasons.get(&serial).copied();
            self.revoke_elsewhere((serial, time, reason));
        }
    }

    /// When a certificate was revoked, by this authority or by another.
    pub fn revoked_at(&self, serial: &Serial) -> Option<Timestamp> {
        self.revoked.get(serial).or_else(|| self.revoked_elsewhere.get(serial)).copied()
    }

    /// Whether a certificate that is in the ledger counts until its end.
    pub(super) fn is_valid(&self, issued: &Issued, now: Timestamp) -> bool {
        issued.not_after >= now && self.revoked_at(&issued.serial).is_none()
    }

    /// The end of each certificate's validity.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&Serial, Timestamp)> {
        let leaves = self.issued.iter().map(|issued| (&issued.serial, issued.not_after));
        leaves.chain(self.issuers.iter().map(|issuer| (&issuer.serial, issuer.not_after)))
    }

    /// Serial numbers of certificates whose identity has a newer one that is not revoked.
    pub fn replaced(&self) -> HashSet<&Serial> {
        let mut newer = HashSet::new();
        let mut replaced = HashSet::new();
        for issued in self.issued.iter().rev().filter(|issued| self.revoked_at(&issued.serial).is_none()) {
            if !newer.insert((issued.role, issued.site.as_ref(), &issued.name)) {
                replaced.insert(&issued.serial);
            }
        }
        replaced
    }
}

/// The ledger's file, open for reading and appending.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    /// What was read so far, in bytes and in lines.
    read: (u64, usize),
}

impl Ledger {
    /// Opens the ledger, which must exist unless `create`. The caller holds the authority's lock.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self, FileError> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .open(path)
            .map_err(FileError::at("open", path))?;
        Ok(Self { path: path.to_owned(), file, read: (0, 0) })
    }

    /// Opens a ledger for reading only.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path).map_err(FileError::at("open", path))?;
        Ok(Self { path: path.to_owned(), file, read: (0, 0) })
    }

    /// Reads all entries. Skips a torn last line and unreadable lines and reports them to `note`: one bad line must not
    /// prevent revocations.
    pub(crate) fn read(&mut self, note: &mut dyn FnMut(String)) -> Result<History, AuthorityError> {
        self.read = (0, 0);
        Ok(self.read_on(note)?)
    }

    /// As [`Self::read`], but only the entries after those that were read before.
    pub(crate) fn read_on(&mut self, note: &mut dyn FnMut(String)) -> Result<History, FileError> {
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(self.read.0)).map_err(FileError::at("read", &self.path))?;
        self.file.read_to_end(&mut text).map_err(FileError::at("read", &self.path))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (whole, torn) = text.split_at_checked(whole).unwrap_or((&text, &[]));
        if !torn.is_empty() {
            note(self.torn_note(torn.len()));
        }
        let mut history = History::default();
        self.read.0 += whole.len() as u64;
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            self.read.1 += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(entry) => history.take(entry),
                Err(error) => {
                    history.damaged += 1;
                    if history.damaged <= NOTED_MAX {
                        note(self.damaged_note(self.read.1, &error));
                    }
                }
            }
        }
        if history.damaged > NOTED_MAX {
            note(format!("{}: {} lines in total cannot be read", self.path.display(), history.damaged));
        }
        Ok(history)
    }

    /// Appends entries and makes them durable. First cuts off a torn last line and reports it to `note`.
    pub(crate) fn append(
        &mut self,
        entries: &[Entry],
        note: &mut dyn FnMut(String),
    ) -> Result<(), FileError> {
        let (whole, torn) = self.torn_tail()?;
        let at = |action| FileError::at(action, &self.path);
        if torn > 0 {
            note(self.torn_note(torn));
            self.file.set_len(whole).map_err(at("cut"))?;
        }
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)
                .map_err(std::io::Error::from)
                .map_err(at("append to"))?;
            lines.push(b'\n');
        }
        (&self.file).write_all(&lines).and_then(|()| self.file.sync_all()).map_err(at("append to"))
    }

    /// Length of the complete lines, and of the bytes after them.
    fn torn_tail(&mut self) -> Result<(u64, usize), FileError> {
        const BLOCK: u64 = 4096;
        let at = || FileError::at("read", &self.path);
        let length = self.file.metadata().map_err(at())?.len();
        let mut start = length;
        while start > 0 {
            let block_start = start.saturating_sub(BLOCK);
            self.file.seek(SeekFrom::Start(block_start)).map_err(at())?;
            let mut block = Vec::new();
            (&self.file).take(start - block_start).read_to_end(&mut block).map_err(at())?;
            if let Some(end) = block.iter().rposition(|byte| *byte == b'\n') {
                let whole = block_start + end as u64 + 1;
                return Ok((whole, usize::try_from(length - whole).unwrap_or(usize::MAX)));
            }
            start = block_start;
        }
        Ok((0, usize::try_from(length).unwrap_or(usize::MAX)))
    }

    fn damaged_note(&self, line: usize, error: &serde_json::Error) -> String {
        format!(
            "{} line {line} cannot be read and is skipped: {error}; it may be a certificate or a revocation, so restore the \
             line from a backup; until then, certificates on crl.pem stay revoked",
            self.path.display()
        )
    }

    fn torn_note(&self, bytes: usize) -> String {
        format!(
            "{}: the last line ({bytes} bytes) was torn by a crash and is skipped; its certificate was never handed out",
            self.path.display()
        )
    }
}
