//! Changes the root of an installation while it runs.
//!
//! `prepare` makes a new root and puts it into every `ca.pem` beside the old one. Once all peers have that, `switch` lets
//! the new root issue, and everything is renewed. `retire` then takes the old root out. The ledger is the same
//! throughout, and a list of the new root revokes also what the old one issued.

use std::{fs, path::Path};

use super::{
    AnchorsReport, Authority, AuthorityError, CA_FILE, CA_KEY_FILE, CRL_DAYS, CRL_FILE, Entry, History,
    InitOptions, Issued, IssuerMade, LEDGER_FILE, Ledger, NEXT_KEY_FILE, Passphrases,
    anchors::{write_anchors, write_lists},
    copies::Outgoing,
    key,
    lists::{ListTrust, Lists},
    now,
    open::{is_key_of, new_root, with},
    spread::{add_sites, site_dirs, spread},
};
use crate::{
    Identity, Serial,
    files::{self, FileError, PRIVATE},
};

/// The key of the root before, until that is retired.
const PREVIOUS_KEY_FILE: &str = "previous.key";

impl Authority {
    /// Makes a new root, which issues nothing yet, and adds it to every `ca.pem` below the PKI folder. Its key is
    /// encrypted if a passphrase is given, or else as the present one is. `passphrases` is asked for the key of an
    /// interrupted run.
    ///
    /// # Errors
    /// This is no root, the root before is not retired yet, or files cannot be written. A root that is prepared already is
    /// no error: its copies are completed.
    pub fn prepare_root(
        &self,
        options: &InitOptions,
        passphrases: Passphrases<'_>,
    ) -> Result<AnchorsReport, AuthorityError> {
        self.check_root("a new root")?;
        let _lock = self.lock()?;
        let path = self.dir.join(NEXT_KEY_FILE);
        if !path.exists() && self.is_switched() {
            let reason = "a new root issues already, and the one before is not retired yet: renew sites and identities, \
                          then run `catchment-certs root retire`, before another root is prepared"
                .to_owned();
            return Err(AuthorityError::Content { path: self.dir.join(PREVIOUS_KEY_FILE), reason });
        }
        if path.exists() {
            let next = key::read(&path, passphrases)?;
            if self.anchors.iter().any(|anchor| is_key_of(&next.key, anchor)) {
                // Completes an interrupted run, too.
                let copies = write_anchors(&self.dir, &self.anchors)?;
                return Ok(AnchorsReport { roots: self.anchors.len(), changed: 0, copies });
            }
        }
        let (key, root) = new_root(&self.trust_domain, options.days, options.key)?;
        let passphrase = options.passphrase.as_ref().or(self.passphrase.as_ref());
        // Without its certificate a key has signed nothing, so that of an interrupted run is replaced.
        files::replace_file(&path, key::to_pem(&key, passphrase)?.as_bytes(), PRIVATE)?;
        let mut anchors = self.anchors.clone();
        anchors.push(root);
        let copies = write_anchors(&self.dir, &anchors)?;
        Ok(AnchorsReport { roots: anchors.len(), changed: 1, copies })
    }

    /// Whether a prepared root issues already, and the one before is not retired yet.
    pub fn is_switched(&self) -> bool {
        let exists = |file: &str| self.dir.join(file).exists();
        self.site.is_none() && !exists(NEXT_KEY_FILE) && exists(PREVIOUS_KEY_FILE)
    }

    /// Lets the prepared root issue from now on, with a revocation list of its own. The old key stays in `previous.key`.
    /// If it issues already, completes what an interrupted run left, or changes nothing.
    ///
    /// # Errors
    /// No root is prepared, an older one is not retired, or files cannot be written.
    pub fn switch_root(
        self,
        passphrases: Passphrases<'_>,
        note: &mut dyn FnMut(String),
    ) -> Result<Self, AuthorityError> {
        self.check_root("a new root")?;
        let dir = self.dir.clone();
        let lock = self.lock()?;
        let [key_path, next_path, previous_path] =
            [CA_KEY_FILE, NEXT_KEY_FILE, PREVIOUS_KEY_FILE].map(|file| dir.join(file));
        let refuse = |path: &Path, reason: &str| AuthorityError::Content {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if self.is_switched() {
            drop(lock);
            return self.finish_switch(note);
        }
        if !next_path.exists() {
            return Err(refuse(
                &next_path,
                "missing: make a new root first, with `catchment-certs root prepare`",
            ));
        }
        let next = key::read(&next_path, &mut *passphrases)?;
        let Some(root) = self.anchors.iter().find(|anchor| is_key_of(&next.key, anchor)) else {
            return Err(refuse(
                &next_path,
                "its root is not in ca.pem; run `catchment-certs root prepare` again",
            ));
        };
        let serial = with(root, |root| Serial::from_bytes(root.raw_serial()).ok())
            .flatten()
            .ok_or_else(|| refuse(&dir.join(CA_FILE), "the new root has no valid serial number"))?;
        match fs::hard_link(&key_path, &previous_path) {
            Ok(()) => {}
            Err(_) if is_same_file(&key_path, &previous_path) => {}
            Err(error) if previous_path.exists() => {
                drop(error);
                let reason = "the root before is not retired yet: run `catchment-certs root retire` first";
                return Err(refuse(&previous_path, reason));
            }
            Err(error) => return Err(FileError::at("write", &previous_path)(error).into()),
        }
        files::sync(&dir)?;
        self.ledger()?.append(&[Entry::Root { time: now(), serial }], note)?;
        fs::rename(&next_path, &key_path).map_err(FileError::at("write", &key_path))?;
        files::sync(&dir)?;
        drop(lock);
        let known = next.passphrase;
        let mut asked = |path: &Path| known.clone().map_or_else(|| passphrases(path), Ok);
        let authority = Self::open_with(&dir, &mut asked)?;
        authority.finish_switch(note)
    }

    /// Brings the present root to the front of every `ca.pem`, and makes its first revocation list if it has none.
    fn finish_switch(self, note: &mut dyn FnMut(String)) -> Result<Self, AuthorityError> {
        let lock = self.lock()?;
        // Its own root comes first, for versions that read one only.
        write_anchors(&self.dir, &self.anchors)?;
        drop(lock);
        let lists = Lists::read(&self.dir.join(CRL_FILE)).unwrap_or_default();
        if !lists.has_list_of(&self.certificate) {
            self.refresh_crl(CRL_DAYS, note)?;
        }
        Ok(self)
    }

    /// Takes all roots but the present one out of every `ca.pem` below the PKI folder, and deletes the key before.
    /// Refuses while a certificate of the old root is in force, unless `force`. If there is no other root, completes what
    /// an interrupted run left, or changes nothing.
    ///
    /// # Errors
    /// A root is prepared but does not issue, certificates are left, or files cannot be written.
    pub fn retire_roots(
        &self,
        force: bool,
        note: &mut dyn FnMut(String),
    ) -> Result<AnchorsReport, AuthorityError> {
        self.check_root("retiring a root")?;
        let lock = self.lock()?;
        let refuse =
            |file: &str, reason: String| AuthorityError::Content { path: self.dir.join(file), reason };
        if self.dir.join(NEXT_KEY_FILE).exists() {
            let reason = "a new root is prepared: run `catchment-certs root switch` first".to_owned();
            return Err(refuse(NEXT_KEY_FILE, reason));
        }
        let history = self.known(&mut self.ledger()?, note)?;
        // Once the old root is out of ca.pem, nothing is left to protect: an interrupted run goes on.
        let is_out = self.anchors.len() == 1;
        let left = if is_out { Vec::new() } else { self.left_of_old_root(&history)? };
        if let Some(first) = left.first().filter(|_| !force) {
            let reason = format!(
                "{} certificates that need the old root are in force, such as that of {first}: renew them first, or give --force",
                left.len()
            );
            return Err(refuse(CA_FILE, reason));
        }
        let own = std::slice::from_ref(&self.certificate);
        // The lists first: one of the old root would count for nobody beside the new ca.pem.
        let trust = ListTrust { anchors: own, domain: &self.trust_domain };
        let crl_path = self.dir.join(CRL_FILE);
        let lists = Lists::read(&crl_path).map_err(|reason| refuse(CRL_FILE, reason))?;
        spread(&self.dir, lists, &trust, &history, &mut |_| ())?;
        if let Some(outgoing) = Outgoing::read(&self.dir, trust)? {
            write_lists(&self.dir, &outgoing, note)?;
        }
        let copies = write_anchors(&self.dir, own)?;
        let previous = self.dir.join(PREVIOUS_KEY_FILE);
        if previous.exists() {
            fs::remove_file(&previous).map_err(FileError::at("remove", &previous))?;
            files::sync(&self.dir)?;
        }
        drop(lock);
        let changed = self.anchors.len().saturating_sub(1);
        Ok(AnchorsReport { roots: 1, changed, copies })
    }

    /// Whose certificates in force come from before the present root, by the ledgers.
    fn left_of_old_root(&self, history: &History) -> Result<Vec<String>, AuthorityError> {
        let Some(change) = history.root_since else { return Ok(Vec::new()) };
        let mut all = history.clone();
        add_sites(&self.dir, &mut all, &mut |_| ())?;
        // The order of the ledger counts, not the time: a clock may be set back, and a second holds many certificates.
        let mut left = in_force(history.issued.iter().take(change.issued), &all);
        let time = now();
        for (site, dir) in site_dirs(&self.dir)? {
            let of_site = |issuer: &IssuerMade| issuer.site == site;
            let Some((place, newest)) =
                history.issuers.iter().enumerate().rev().find(|(_, issuer)| of_site(issuer))
            else {
                continue;
            };
            let is_old = place < change.issuers;
            if is_old && newest.not_after >= time && history.revoked_at(&newest.serial).is_none() {
                left.push(format!("the issuer of site {site}"));
            }
            // All that a site issues whose first issuing certificate the present root signed.
            if !history.issuers.iter().take(change.issuers).any(of_site) {
                continue;
            }
            // A leaf brings its issuing certificate, so that has to be one that the present root signed. The two ledgers
            // have no common order, so one of the same second counts as older.
            let until = newest.time.max(change.time);
            let ledger = Ledger::open_to_read(&dir.join(LEDGER_FILE))?.read(&mut |_| ())?;
            left.extend(in_force(ledger.issued.iter().filter(|issued| issued.time <= until), &all));
        }
        Ok(left)
    }
}

/// Whose certificates among `issued` are by all ledgers neither expired, revoked nor replaced.
fn in_force<'a>(issued: impl Iterator<Item = &'a Issued>, all: &History) -> Vec<String> {
    let (replaced, time) = (all.replaced(), now());
    issued
        .filter(|issued| {
            issued.not_after >= time
                && all.revoked_at(&issued.serial).is_none()
                && !replaced.contains(&issued.serial)
        })
        .filter_map(|issued| Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone()))
        .map(|identity| identity.to_string())
        .collect()
}

/// Whether two names are one file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
