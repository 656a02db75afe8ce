//! Which keys are certified, and for whom: a key whose certificate was revoked, or that belongs to another identity, is
//! not certified again.
//!
//! The ledger has the SHA-256 of each certified key since it records it. Of older lines the key is known only while the
//! certificate is in its folder below the PKI folder.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rcgen::PublicKeyData;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    Authority, AuthorityError, History, Issued, PEM_BYTES_MAX, RevocationReason, issue::fingerprint,
};
use crate::{Identity, Serial, certificate, files, folder::CERT_FILE, pem_text::without_mark};

/// The SHA-256 of a public key (its SubjectPublicKeyInfo), in hexadecimal digits.
pub(super) fn key_hash(key: &impl PublicKeyData) -> String {
    fingerprint(&key.subject_public_key_info())
}

/// A certificate of a key.
#[derive(Debug)]
struct Use {
    identity: Identity,
    /// `None`: not yet made.
    serial: Option<Serial>,
    not_after: Timestamp,
}

/// All certified keys.
#[derive(Debug, Default)]
pub(super) struct CertifiedKeys {
    uses: HashMap<String, Vec<Use>>,
}

impl CertifiedKeys {
    /// The keys of a ledger, and of the folders of its older lines.
    pub(super) fn new(authority: &Authority, history: &History) -> Self {
        let mut keys = Self::default();
        let mut older = HashSet::new();
        for issued in &history.issued {
            if !keys.add(issued) {
                older.extend(Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone()));
            }
        }
        for (key, one) in older.iter().filter_map(|identity| authority.key_in_folder(identity)) {
            keys.insert(key, one);
        }
        keys
    }

    /// Adds a line of the ledger; false if it lacks its key.
    pub(super) fn add(&mut self, issued: &Issued) -> bool {
        let Some(key) = &issued.key else { return false };
        if let Some(identity) = Identity::from_parts(issued.role, issued.site.clone(), issued.name.clone()) {
            let (serial, not_after) = (Some(issued.serial.clone()), issued.not_after);
            self.insert(key.clone(), Use { identity, serial, not_after });
        }
        true
    }

    /// Adds a key that is about to be certified.
    pub(super) fn reserve(&mut self, key: String, identity: &Identity) {
        self.insert(key, Use { identity: identity.clone(), serial: None, not_after: Timestamp::MAX });
    }

    fn insert(&mut self, key: String, one: Use) {
        self.uses.entry(key).or_default().push(one);
    }

    /// Checks that a key may be certified for an identity.
    ///
    /// # Errors
    /// A certificate of the key was revoked, or one of another identity is still valid at `now`. A certificate of the
    /// same identity that was only superseded does not count: nothing is wrong with its key.
    pub(super) fn check(
        &self,
        key: &str,
        identity: &Identity,
        history: &History,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        for one in self.uses.get(key).into_iter().flatten() {
            let holder = one.identity.clone();
            if let Some(serial) = one.serial.clone()
                && history.revoked_at(&serial).is_some()
            {
                let reason = history.reasons.get(&serial).copied().unwrap_or_default();
                if reason != RevocationReason::Superseded || holder != *identity {
                    return Err(AuthorityError::KeyRevoked { serial, holder, reason });
                }
            }
            if holder != *identity && one.not_after >= now {
                return Err(AuthorityError::KeyTaken { holder });
            }
        }
        Ok(())
    }
}

impl Authority {
    /// The key in an identity's default folder, and its certificate.
    fn key_in_folder(&self, identity: &Identity) -> Option<(String, Use)> {
        let pem = files::read_bytes(&self.identity_dir(identity).join(CERT_FILE), PEM_BYTES_MAX).ok()?;
        let der = CertificateDer::from_pem_slice(without_mark(&pem)).ok()?;
        let peer = certificate::peer_from_certificate(&der).ok()?;
        let key = fingerprint(certificate::parse(&der).ok()?.public_key().raw);
        let not_after = super::timestamp(peer.not_after);
        Some((key, Use { identity: peer.identity, serial: Some(peer.serial), not_after }))
    }
}
