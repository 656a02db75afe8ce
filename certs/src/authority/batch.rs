//! Makes many identities in groups, on all cores, with few syncs.
//!
//! A group holds the authority's lock, and is handed out as `hand_out` says. Killed at any point, the next run finishes the
//! staged folders whose certificate is in the ledger and makes the others again. The ledger is read once; later groups read
//! only what other processes added.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Authority, AuthorityError, History, Issued, KeyKind, Ledger, PEM_BYTES_MAX,
    certified_keys::{CertifiedKeys, key_hash},
    copies::Outgoing,
    csr::read_csr,
    hand_out::{Staged, hand_out, in_parallel},
    issue::{Prepared, Signed, fingerprint, write_into},
    now,
    profile::Validity,
    unfinished::finish_folder,
};
use crate::{
    Identity, Serial, certificate,
    files::{self, StagedFolder},
    folder::{CERT_FILE, KEY_FILE},
};

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) identity: Identity,
    pub(super) lifetime: Option<Duration>,
    /// The signing request; `None`: a new key is made.
    pub(super) request: Option<PathBuf>,
    /// Kind of the new key.
    pub(super) key: KeyKind,
}

/// What became of a row.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The identity was made.
    Made(Issued),
    /// An interrupted run had made it, and this one let it appear.
    Finished,
    /// The identity existed, or an earlier row of this run names it.
    Skipped,
    /// The ledger has a valid certificate, and its folder is not below the PKI folder.
    Elsewhere(Serial),
    /// The row's signing request was refused; other rows are not affected.
    Refused(AuthorityError),
}

/// A run over many rows.
pub(super) struct Batch<'a> {
    authority: &'a Authority,
    ledger: Ledger,
    history: History,
    /// Places in the history, by identity.
    places: HashMap<Identity, Vec<usize>>,
    /// Identities of the rows before.
    seen: HashSet<Identity>,
    /// Certified keys, if rows bring keys.
    keys: Option<CertifiedKeys>,
    published: bool,
    last_note: Option<String>,
}

/// A row whose certificate is made and whose folder is staged, or whose files go into an existing folder.
struct StagedIdentity<'a> {
    authority: &'a Authority,
    outgoing: Option<&'a Outgoing<'a>>,
    prepared: Prepared,
    folder: Option<StagedFolder>,
}

impl Staged for StagedIdentity<'_> {
    fn entry(&self) -> &Issued {
        &self.prepared.signed.entry
    }

    fn publish(self) -> Result<Issued, AuthorityError> {
        let Self { authority, outgoing, prepared, folder } = self;
        match folder {
            Some(folder) => folder.publish()?,
            None => write_into(&prepared.dir, authority.contents(&prepared, outgoing), outgoing)?,
        }
        Ok(prepared.signed.entry)
    }

    fn discard(self) {
        self.folder.into_iter().for_each(StagedFolder::discard);
    }
}

impl<'a> Batch<'a> {
    /// Reads the ledger; with `requests`, also which keys are certified.
    pub(super) fn open(
        authority: &'a Authority,
        requests: bool,
        note: &mut dyn FnMut(String),
    ) -> Result<Self, AuthorityError> {
        let _lock = authority.lock()?;
        let mut ledger = authority.ledger()?;
        let history = authority.known_with_related(&mut ledger, note)?;
        let mut batch = Self {
            authority,
            ledger,
            history: History::default(),
            places: HashMap::new(),
            seen: HashSet::new(),
            keys: requests.then(|| CertifiedKeys::new(authority, &history)),
            published: false,
            last_note: None,
        };
        batch.place(&history);
        batch.history = history;
        Ok(batch)
    }

    /// Notes where the history will have the certificates of `newer`.
    fn place(&mut self, newer: &History) {
        for (place, issued) in (self.history.issued.len()..).zip(&newer.issued) {
            let identity = Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone());
            if let Some(identity) = identity {
                self.places.entry(identity).or_default().push(place);
            }
        }
    }

    /// Reads what was added to the ledger.
    fn refresh(&mut self, note: &mut dyn FnMut(String)) -> Result<(), AuthorityError> {
        let newer = self.ledger.read_on(note)?;
        self.place(&newer);
        if let Some(keys) = &mut self.keys {
            newer.issued.iter().for_each(|issued| _ = keys.add(issued));
        }
        self.history.extend(newer);
        Ok(())
    }

    /// Works on one group of rows; an outcome for each.
    ///
    /// # Errors
    /// Files cannot be read or written; the rows so far stay, and the same call on the same rows continues.
    pub(super) fn group(
        &mut self,
        group: &[Work],
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<Outcome>, AuthorityError> {
        let _lock = self.authority.lock()?;
        self.refresh(note)?;
        let keys = in_parallel(group, |work| work.request.as_deref().map(read_csr).transpose());
        let mut todo = Vec::new();
        let mut outcomes = Vec::with_capacity(group.len());
        for (work, key) in group.iter().zip(keys) {
            let outcome = match key {
                Ok(key) => match self.triage(work, key.as_ref())? {
                    Some(outcome) => Some(outcome),
                    None => {
                        todo.push((work, key, self.validity(work, note)?));
                        None
                    }
                },
                Err(error) => Some(Outcome::Refused(error)),
            };
            outcomes.push(outcome);
        }
        let mut made = self.make(&todo, note)?.into_iter();
        let outcomes = outcomes.into_iter().map(|outcome| outcome.or_else(|| made.next().map(Outcome::Made)));
        Ok(outcomes.flatten().collect())
    }

    /// Makes the published folders durable.
    pub(super) fn finish(self) -> Result<(), AuthorityError> {
        if self.published {
            files::sync_file_system(&self.authority.dir)?;
        }
        Ok(())
    }

    /// What becomes of a row for which nothing is made; `None`: it is to be made.
    fn triage(
        &mut self,
        work: &Work,
        key: Option<&SubjectPublicKeyInfo>,
    ) -> Result<Option<Outcome>, AuthorityError> {
        let identity = &work.identity;
        if !self.seen.insert(identity.clone()) {
            return Ok(Some(match &work.request {
                Some(path) => Outcome::Refused(AuthorityError::Content {
                    path: path.clone(),
                    reason: format!("another request of this run is for {identity}"),
                }),
                None => Outcome::Skipped,
            }));
        }
        let dir = self.authority.identity_dir(identity);
        let finished = finish_folder(&dir, identity, &self.history)?.is_some();
        self.published |= finished;
        let exists = |name: &str| dir.join(name).symlink_metadata().is_ok();
        if let (Some(key), Some(path)) = (key, &work.request) {
            if exists(CERT_FILE) {
                return Ok(Some(if !certifies(&dir, key) {
                    other_key(path, &dir)
                } else if finished {
                    Outcome::Finished
                } else {
                    Outcome::Skipped
                }));
            }
        } else if finished {
            return Ok(Some(Outcome::Finished));
        } else if exists(CERT_FILE) || exists(KEY_FILE) {
            return Ok(Some(Outcome::Skipped));
        }
        if let Some(serial) = self.valid(identity) {
            return Ok(Some(Outcome::Elsewhere(serial)));
        }
        let (Some(key), Some(path), Some(keys)) = (key, &work.request, &mut self.keys) else {
            return Ok(None);
        };
        let hash = key_hash(key);
        if let Err(error) = keys.check(&hash, identity, &self.history, now()) {
            let (path, reason) = (path.clone(), error.to_string());
            return Ok(Some(Outcome::Refused(AuthorityError::Content { path, reason })));
        }
        // A later row with the same key is refused, although this one is not yet in the ledger.
        keys.reserve(hash, identity);
        Ok(None)
    }

    /// A certificate of the identity that peers accept, according to the ledger.
    pub(super) fn valid(&self, identity: &Identity) -> Option<Serial> {
        let now = now();
        let places = self.places.get(identity).into_iter().flatten();
        let mut issued = places.filter_map(|place| self.history.issued.get(*place));
        issued.find(|issued| self.history.is_valid(issued, now)).map(|issued| issued.serial.clone())
    }

    /// The validity of a row's certificate; a note that all rows share is reported once.
    fn validity(&mut self, work: &Work, note: &mut dyn FnMut(String)) -> Result<Validity, AuthorityError> {
        self.authority.validity(None, work.lifetime, work.identity.role(), &mut |text| {
            if self.last_note.as_ref() != Some(&text) {
                note(text.clone());
                self.last_note = Some(text);
            }
        })
    }

    /// Makes identities: stages them, records them, lets them appear.
    fn make(
        &mut self,
        todo: &[(&Work, Option<SubjectPublicKeyInfo>, Validity)],
        note: &mut dyn FnMut(String),
    ) -> Result<Vec<Issued>, AuthorityError> {
        let (authority, outgoing) = (self.authority, self.authority.outgoing()?);
        self.published |= !todo.is_empty();
        let stage = |(work, key, validity): &(&Work, Option<SubjectPublicKeyInfo>, Validity)| {
            authority.stage(work, key.as_ref(), *validity, outgoing.as_ref())
        };
        hand_out(&authority.dir, &mut self.ledger, todo, stage, note)
    }
}

impl Authority {
    /// Makes a certificate, with a new key unless one is given, and stages its folder.
    fn stage<'a>(
        &'a self,
        Work { identity, key: kind, .. }: &Work,
        key: Option<&SubjectPublicKeyInfo>,
        validity: Validity,
        outgoing: Option<&'a Outgoing<'a>>,
    ) -> Result<StagedIdentity<'a>, AuthorityError> {
        let (signed, key_pem): (Signed, _) = match key {
            Some(key) => (self.sign_leaf(identity, &[], key, validity)?, None),
            None => {
                let key = kind.generate()?;
                (self.sign_leaf(identity, &[], &key, validity)?, Some(key.serialize_pem()))
            }
        };
        let prepared = Prepared { dir: self.identity_dir(identity), signed, key_pem };
        let folder = if files::is_occupied(&prepared.dir)? {
            None
        } else {
            Some(StagedFolder::write(&prepared.dir, &self.contents(&prepared, outgoing))?)
        };
        Ok(StagedIdentity { authority: self, outgoing, prepared, folder })
    }
}

/// Whether the certificate in a folder is for this key.
fn certifies(dir: &Path, key: &SubjectPublicKeyInfo) -> bool {
    let hash = || {
        let pem = files::read_bytes(&dir.join(CERT_FILE), PEM_BYTES_MAX).ok()?;
        let der = CertificateDer::from_pem_slice(&pem).ok()?;
        Some(fingerprint(certificate::parse(&der).ok()?.public_key().raw))
    };
    hash() == Some(key_hash(key))
}

fn other_key(path: &Path, dir: &Path) -> Outcome {
    Outcome::Refused(AuthorityError::Content {
        path: path.to_owned(),
        reason: format!(
            "{} has a certificate for another key; if the device has a new key, revoke the old certificate and move that \
             folder away",
            dir.display()
        ),
    })
}
