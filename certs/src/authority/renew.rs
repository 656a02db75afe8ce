//! Renewal: a new certificate for the same key and hosts, or for a new key, in place of the old one.
//!
//! The new `cert.pem` is staged, recorded in the ledger and replaces the old one by a rename, so key and certificate
//! match at every instant, and an identity whose key never left its device is renewed the same way. A new key is staged
//! too and replaces `key.pem` right before; what a crash leaves in between, the next renewal finishes. A revoked
//! certificate is not renewed, nor one whose key has another revoked certificate: that key must not be trusted.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::{
    Authority, AuthorityError, Entry, History, Host, Issued, IssuedPaths, KeyKind, LEDGER_FILE, Ledger,
    PEM_BYTES_MAX,
    certified_keys::{CertifiedKeys, key_hash},
    copies::Outgoing,
    hand_out::Staged,
    issue::{Signed, fingerprint},
    key, now,
    profile::Validity,
    unfinished::finish_certificate,
};
use crate::{
    Identity, IdentityError, Serial, certificate,
    certificate::Peer,
    files::{self, PRIVATE, PUBLIC, StagedFile},
    folder::{CA_FILE, CERT_FILE, CRL_FILE, KEY_FILE, pem_reason},
    pem_text::{Wanted, found_instead, without_mark},
};

/// What the ledger says of certificates that are to be renewed.
pub(super) struct Known {
    pub(super) ledger: Ledger,
    pub(super) history: History,
    /// Places in the history, by serial number.
    places: HashMap<Serial, usize>,
    keys: CertifiedKeys,
}

impl Known {
    /// Reads the ledger, and those of the authorities beside it: a site renews what the root issued for it, and the root
    /// what a site issued. The caller holds the lock.
    pub(super) fn read(authority: &Authority, note: &mut dyn FnMut(String)) -> Result<Self, AuthorityError> {
        let mut ledger = authority.ledger()?;
        let history = authority.known_with_related(&mut ledger, note)?;
        let places =
            history.issued.iter().enumerate().map(|(place, issued)| (issued.serial.clone(), place)).collect();
        let keys = CertifiedKeys::new(authority, &history);
        Ok(Self { ledger, history, places, keys })
    }

    /// Reads what was added to the ledger. The caller holds the lock.
    pub(super) fn refresh(&mut self, note: &mut dyn FnMut(String)) -> Result<(), AuthorityError> {
        let newer = self.ledger.read_on(note)?;
        for (place, issued) in (self.history.issued.len()..).zip(&newer.issued) {
            self.places.insert(issued.serial.clone(), place);
            self.keys.add(issued);
        }
        self.history.extend(newer);
        Ok(())
    }

    /// Refuses a certificate that was not issued here or is revoked.
    fn check(
        &self,
        authority: &Authority,
        der: &CertificateDer<'_>,
        Peer { serial, identity, .. }: &Peer,
        dir: &Path,
    ) -> Result<(), AuthorityError> {
        let fingerprint = fingerprint(der);
        let issued = self.places.get(serial).and_then(|place| self.history.issued.get(*place));
        if issued.is_none_or(|issued| issued.fingerprint != fingerprint) {
            let what = format!("of {identity} with serial number {serial} and fingerprint {fingerprint}");
            return Err(AuthorityError::Unknown { path: authority.dir.join(LEDGER_FILE), what });
        }
        if self.history.revoked_at(serial).is_some() {
            return Err(AuthorityError::Revoked {
                serial: serial.clone(),
                identity: identity.clone(),
                dir: dir.to_owned(),
            });
        }
        Ok(())
    }
}

/// The certificate to be renewed, checked.
pub(super) struct Old {
    pub(super) peer: Peer,
    hosts: Vec<Host>,
    key: SubjectPublicKeyInfo,
    /// Kind of the key that takes the place of `key`.
    new_key: Option<KeyKind>,
}

impl Old {
    /// Reads the certificate of an identity in `dir` and checks that it may be renewed, and that its key may be certified
    /// again unless there will be a new one.
    pub(super) fn read(
        authority: &Authority,
        identity: &Identity,
        dir: &Path,
        new_key: Option<KeyKind>,
        known: &Known,
    ) -> Result<Self, AuthorityError> {
        let path = dir.join(CERT_FILE);
        let content = |reason: String| AuthorityError::Content { path: path.clone(), reason };
        let wrong = |error| AuthorityError::Identity { path: path.clone(), error };
        let pem = files::read_bytes(&path, PEM_BYTES_MAX)?;
        let der = CertificateDer::from_pem_slice(without_mark(&pem)).map_err(|error| {
            let found = found_instead(&pem, Wanted::Certificate).unwrap_or_else(|| pem_reason(&error));
            content(format!("no certificate in PEM: {found}"))
        })?;
        let old = certificate::parse(&der).map_err(wrong)?;
        let peer = certificate::peer_from_certificate(&der).map_err(wrong)?;
        if peer.identity != *identity {
            return Err(content(format!("the certificate belongs to {}, not to {identity}", peer.identity)));
        }
        let key = SubjectPublicKeyInfo::from_der(old.public_key().raw)?;
        known.check(authority, &der, &peer, dir)?;
        if new_key.is_none() {
            known.keys.check(&key_hash(&key), identity, &known.history, now())?;
        }
        let hosts = hosts_of(&old).map_err(wrong)?;
        Ok(Self { peer, hosts, key, new_key })
    }
}

/// A renewed certificate whose files are staged.
pub(super) struct Renewed {
    signed: Signed,
    dir: PathBuf,
    /// A new `key.pem` and then `cert.pem` last.
    files: Vec<StagedFile>,
}

impl Renewed {
    /// Makes the staged files durable.
    fn sync(&self) -> Result<(), AuthorityError> {
        self.files.iter().try_for_each(|file| files::sync(file.path()))?;
        Ok(files::sync(&self.dir)?)
    }
}

impl Staged for Renewed {
    fn entry(&self) -> &Issued {
        &self.signed.entry
    }

    fn publish(self) -> Result<Issued, AuthorityError> {
        self.files.iter().try_for_each(StagedFile::publish)?;
        Ok(self.signed.entry)
    }

    fn discard(self) {
        self.files.into_iter().for_each(StagedFile::discard);
    }
}

impl Authority {
    /// Renews the identity in `dir` with its key; see [`Self::renew_with`].
    ///
    /// # Errors
    /// As [`Self::renew_with`].
    pub fn renew(
        &self,
        identity: &Identity,
        dir: Option<PathBuf>,
        hosts: &[Host],
        lifetime: Option<Duration>,
        note: &mut dyn FnMut(String),
    ) -> Result<IssuedPaths, AuthorityError> {
        self.renew_with(identity, dir, hosts, lifetime, None, note)
    }

    /// Renews the identity in `dir`, by default its default folder. `hosts`, unless empty, replaces the hosts of its
    /// certificate. With `new_key`, a new key takes the place of its own. The old certificate stays valid until its end.
    ///
    /// # Errors
    /// The folder has no certificate of this identity from this authority or a related one, a certificate of its key is
    /// revoked, or the validity exceeds the issuer's.
    pub fn renew_with(
        &self,
        identity: &Identity,
        dir: Option<PathBuf>,
        hosts: &[Host],
        lifetime: Option<Duration>,
        new_key: Option<KeyKind>,
        note: &mut dyn FnMut(String),
    ) -> Result<IssuedPaths, AuthorityError> {
        if !identity.role().is_server() && !hosts.is_empty() {
            return Err(AuthorityError::Hosts(identity.clone()));
        }
        let _lock = self.lock()?;
        let dir = dir.unwrap_or_else(|| self.identity_dir(identity));
        let mut known = Known::read(self, note)?;
        if finish_certificate(&dir, identity, &known.history)?.is_some() {
            note(format!("a renewal of {identity} was interrupted; it is finished, and followed by another"));
        }
        let mut old = Old::read(self, identity, &dir, new_key, &known)?;
        if !hosts.is_empty() {
            old.hosts = hosts.to_vec();
        }
        let validity = self.validity(None, lifetime, identity.role(), note)?;
        let outgoing = self.outgoing()?;
        let warning = outgoing.as_ref().and_then(|outgoing| outgoing.warning(&dir.join(CRL_FILE)));
        let renewed = self.stage_renewal(&old, &dir, validity, outgoing.as_ref())?;
        renewed.sync()?;
        known.ledger.append(&[Entry::Issued(renewed.signed.entry.clone())], note)?;
        let Issued { serial, not_after, .. } = renewed.publish()?;
        files::sync(&dir)?;
        warning.into_iter().for_each(note);
        Ok(IssuedPaths { dir, serial, not_after })
    }

    /// Makes the new certificate, and a new key if one is wanted, and stages them, with `ca.pem` and `crl.pem` if they
    /// differ.
    pub(super) fn stage_renewal(
        &self,
        old: &Old,
        dir: &Path,
        validity: Validity,
        outgoing: Option<&Outgoing<'_>>,
    ) -> Result<Renewed, AuthorityError> {
        let (identity, hosts) = (&old.peer.identity, &old.hosts);
        let new_key = old.new_key.map(KeyKind::generate).transpose()?;
        let signed = match &new_key {
            Some(key) => self.sign_leaf(identity, hosts, key, validity)?,
            None => self.sign_leaf(identity, hosts, &old.key, validity)?,
        };
        let mut staged = Vec::new();
        let crl = outgoing.map(|outgoing| outgoing.for_copy(&dir.join(CRL_FILE))).transpose()?;
        for (name, content) in [(CA_FILE, Some(self.anchors_pem.as_bytes())), (CRL_FILE, crl.as_deref())] {
            let path = dir.join(name);
            let Some(content) = content else { continue };
            if !files::has_content(&path, content) {
                staged.push(StagedFile::write(&path, content, PUBLIC)?);
            }
        }
        let key_path = dir.join(KEY_FILE);
        match &new_key {
            Some(key) => {
                staged.push(StagedFile::write(&key_path, key::to_pem(key, None)?.as_bytes(), PRIVATE)?);
            }
            // Its certificate is not in the ledger, so it is nobody's.
            None => StagedFile::discard_left_over(&key_path)?,
        }
        staged.push(StagedFile::write(&dir.join(CERT_FILE), signed.cert_pem.as_bytes(), PUBLIC)?);
        Ok(Renewed { signed, dir: dir.to_owned(), files: staged })
    }
}

/// The hosts that a certificate names.
fn hosts_of(certificate: &X509Certificate<'_>) -> Result<Vec<Host>, IdentityError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| IdentityError::Certificate(error.to_string()))?;
    let names = names.map(|names| names.value.general_names.iter()).into_iter().flatten();
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Host::Dns((*name).to_owned())),
            GeneralName::IPAddress(bytes) => ip_address(bytes).map(Host::Ip),
            _ => None,
        })
        .collect())
}

/// An IP address from 4 or 16 bytes.
pub(super) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
