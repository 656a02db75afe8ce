//! Issues identities: with a new key, or for the public key of a signing request.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rcgen::PublicKeyData;

use super::{
    Authority, AuthorityError, Entry, Host, Issued, KeyKind,
    certified_keys::{CertifiedKeys, key_hash},
    copies::Outgoing,
    csr::read_csr,
    now, profile,
    profile::Validity,
};
use crate::{
    Identity, Serial,
    files::{self, NewFile, PRIVATE, PUBLIC, StagedFolder},
    folder::{CA_FILE, CERT_FILE, CRL_FILE, KEY_FILE},
    provider::sha256,
    serial::hex,
};

/// Parameters of an identity to issue.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// The identity that the certificate names.
    pub identity: Identity,
    /// Hosts that its certificate names: at least one for gateways and aggregators, none for other roles.
    pub hosts: Vec<Host>,
    /// Validity; default: [`super::default_days`].
    pub lifetime: Option<Duration>,
    /// Start of the validity; default: five minutes ago.
    pub start: Option<SystemTime>,
    /// The identity's folder; default: [`Authority::identity_dir`].
    pub out: Option<PathBuf>,
    /// Kind of its key, if one is made.
    pub key: KeyKind,
}

impl IssueRequest {
    /// An identity without hosts, with default validity, in its default folder.
    pub fn new(identity: Identity) -> Self {
        Self { identity, hosts: Vec::new(), lifetime: None, start: None, out: None, key: KeyKind::default() }
    }

    fn check(&self) -> Result<(), AuthorityError> {
        match (self.identity.role().is_server(), self.hosts.is_empty()) {
            (true, true) => Err(AuthorityError::NoHost(self.identity.clone())),
            (false, false) => Err(AuthorityError::Hosts(self.identity.clone())),
            _ => Ok(()),
        }
    }
}

/// An issued identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedPaths {
    /// The identity's folder.
    pub dir: PathBuf,
    /// Serial number of its certificate.
    pub serial: Serial,
    /// End of its certificate's validity.
    pub not_after: Timestamp,
}

/// A signed certificate that is not yet in the ledger.
pub(super) struct Signed {
    pub(super) entry: Issued,
    pub(super) cert_pem: String,
}

/// An identity that is ready to be written.
pub(super) struct Prepared {
    pub(super) dir: PathBuf,
    pub(super) signed: Signed,
    pub(super) key_pem: Option<String>,
}

impl Authority {
    /// Issues an identity with a new key. Reports warnings to `note`.
    ///
    /// # Errors
    /// Hosts or validity do not fit the role or the root, the folder is occupied, or files cannot be written.
    pub fn issue(
        &self,
        request: &IssueRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<IssuedPaths, AuthorityError> {
        request.check()?;
        let _lock = self.lock()?;
        if let Some(finished) = self.finish_one(request, note)? {
            return Ok(finished);
        }
        let prepared = self.prepare(request, note)?;
        self.hand_out(prepared, note)
    }

    /// Issues an identity without a private key, for the public key of a signing request in PEM or DER. Checks the
    /// request's signature, which proves possession of the key, and ignores everything else in the request.
    ///
    /// # Errors
    /// As [`Self::issue`]; also if the request is malformed or not signed by its key, or if its key is weak, belongs to
    /// another identity or to a revoked certificate.
    pub fn sign(
        &self,
        csr: &Path,
        request: &IssueRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<IssuedPaths, AuthorityError> {
        request.check()?;
        let key = read_csr(csr)?;
        let _lock = self.lock()?;
        let history = self.known_with_related(&mut self.ledger()?, note)?;
        let hash = key_hash(&key);
        if let Some(finished) = self.finish_one(request, note)?
            && history
                .issued
                .iter()
                .any(|one| one.serial == finished.serial && one.key.as_ref() == Some(&hash))
        {
            return Ok(finished);
        }
        let dir = self.free_dir(request, &[CERT_FILE])?;
        CertifiedKeys::new(self, &history).check(&hash, &request.identity, &history, now())?;
        let validity = self.validity(request.start, request.lifetime, request.identity.role(), note)?;
        let signed = self.sign_leaf(&request.identity, &request.hosts, &key, validity)?;
        self.hand_out(Prepared { dir, signed, key_pem: None }, note)
    }

    /// Makes key and certificate in memory. The caller holds the lock.
    pub(super) fn prepare(
        &self,
        request: &IssueRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<Prepared, AuthorityError> {
        let dir = self.free_dir(request, &[CERT_FILE, KEY_FILE])?;
        let validity = self.validity(request.start, request.lifetime, request.identity.role(), note)?;
        let key = request.key.generate()?;
        let signed = self.sign_leaf(&request.identity, &request.hosts, &key, validity)?;
        Ok(Prepared { dir, signed, key_pem: Some(key.serialize_pem()) })
    }

    /// Signs a leaf from the role's profile.
    pub(super) fn sign_leaf(
        &self,
        identity: &Identity,
        hosts: &[Host],
        key: &impl PublicKeyData,
        validity: Validity,
    ) -> Result<Signed, AuthorityError> {
        self.check_site(identity)?;
        let serial = Serial::random();
        let params = profile::leaf(identity, &self.trust_domain, hosts, &serial, validity)?;
        let certificate = params.signed_by(key, &self.issuer)?;
        let entry = Issued {
            time: now(),
            serial,
            role: identity.role(),
            site: identity.site().cloned(),
            name: identity.name().clone(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            fingerprint: fingerprint(certificate.der()),
            key: Some(key_hash(key)),
        };
        let issuer = self.site.as_ref().map_or("", |site| &site.pem);
        Ok(Signed { entry, cert_pem: certificate.pem() + issuer })
    }

    /// Writes an identity: stages its complete folder, records the certificate, and makes the folder appear. A crash in
    /// between leaves a staged folder whose certificate is in the ledger, which the next attempt finishes. If the
    /// user's folder already holds other files, the certificate is recorded first and the files follow, the
    /// certificate last. The caller holds the lock.
    fn hand_out(
        &self,
        prepared: Prepared,
        note: &mut dyn FnMut(String),
    ) -> Result<IssuedPaths, AuthorityError> {
        let outgoing = self.outgoing()?;
        let contents = self.contents(&prepared, outgoing.as_ref());
        let dir = prepared.dir.clone();
        let entry = [Entry::Issued(prepared.signed.entry.clone())];
        if files::is_occupied(&dir)? {
            self.ledger()?.append(&entry, note)?;
            let warning = outgoing.as_ref().and_then(|outgoing| outgoing.warning(&dir.join(CRL_FILE)));
            write_into(&dir, contents, outgoing.as_ref())?;
            warning.into_iter().for_each(note);
        } else {
            let staged = StagedFolder::write(&dir, &contents)?;
            if let Err(error) = staged.sync(&contents) {
                staged.discard();
                return Err(error.into());
            }
            self.ledger()?.append(&entry, note)?;
            staged.publish()?;
            files::sync(staged.parent())?;
        }
        let Issued { serial, not_after, .. } = prepared.signed.entry;
        Ok(IssuedPaths { dir, serial, not_after })
    }

    /// The files of an identity, in the order in which they are written.
    pub(super) fn contents<'a>(
        &'a self,
        prepared: &'a Prepared,
        outgoing: Option<&'a Outgoing<'_>>,
    ) -> Vec<NewFile<'a>> {
        let new = |name, content, mode| NewFile { name, content, mode };
        let mut contents = vec![new(CA_FILE, self.anchors_pem.as_bytes(), PUBLIC)];
        contents.extend(outgoing.map(|outgoing| new(CRL_FILE, outgoing.text(), PUBLIC)));
        contents.extend(prepared.key_pem.as_deref().map(|key| new(KEY_FILE, key.as_bytes(), PRIVATE)));
        contents.push(new(CERT_FILE, prepared.signed.cert_pem.as_bytes(), PUBLIC));
        contents
    }

    /// The folder for the request.
    pub(super) fn dir_for(&self, request: &IssueRequest) -> PathBuf {
        request.out.clone().unwrap_or_else(|| self.identity_dir(&request.identity))
    }

    /// The folder for the request, if it contains none of the files `taken`.
    fn free_dir(&self, request: &IssueRequest, taken: &[&str]) -> Result<PathBuf, AuthorityError> {
        let dir = self.dir_for(request);
        match taken.iter().map(|name| dir.join(name)).find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(AuthorityError::IdentityExists { path }),
            None => Ok(dir),
        }
    }
}

/// Writes an identity's files into a folder that holds other files.
pub(super) fn write_into(
    dir: &Path,
    contents: Vec<NewFile<'_>>,
    outgoing: Option<&Outgoing<'_>>,
) -> Result<(), AuthorityError> {
    for NewFile { name, content, mode } in contents {
        let path = dir.join(name);
        match (name, outgoing) {
            (CRL_FILE, Some(outgoing)) => files::replace_file(&path, &outgoing.for_copy(&path)?, mode)?,
            (CA_FILE | CRL_FILE, _) => files::replace_file(&path, content, mode)?,
            _ => files::create_file(&path, content, mode)?,
        }
    }
    Ok(())
}

/// SHA-256 of a certificate in hexadecimal digits. Every provider has that hash: TLS 1.3 requires it.
pub(super) fn fingerprint(der: &[u8]) -> String {
    sha256(der).map(|hash| hex(&hash)).unwrap_or_default()
}
