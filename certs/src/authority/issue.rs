//! Issues identities: with a new key, or for the public key of a signing request.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer as _, public_key::PublicKey,
};

use super::{
    Authority, AuthorityError, Entry, Host, Issued, KeyKind, PEM_BYTES_MAX, now, profile, profile::Validity,
};
use crate::{
    Identity, Serial,
    files::{self, NewFile, PRIVATE, PUBLIC},
    folder::{CA_FILE, CERT_FILE, CRL_FILE, KEY_FILE},
    provider::sha256,
    serial::hex,
};

/// Minimum length of a certified RSA key, in bits; the TLS library refuses shorter ones.
const RSA_BITS_MIN: usize = 2048;

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
        let prepared = self.prepare(request, note)?;
        self.record(std::slice::from_ref(&prepared), note)?;
        self.write_identity(prepared, self.crl_pem()?.as_deref())
    }

    /// Issues an identity without a private key, for the public key of a signing request in PEM or DER. Checks the
    /// request's signature, which proves possession of the key, and ignores everything else in the request.
    ///
    /// # Errors
    /// As [`Self::issue`]; also if the request is malformed, not signed by its key, or has a weak key.
    pub fn sign(
        &self,
        csr: &Path,
        request: &IssueRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<IssuedPaths, AuthorityError> {
        request.check()?;
        let key = read_csr(csr)?;
        let _lock = self.lock()?;
        let dir = self.free_dir(request, &[CERT_FILE])?;
        let validity = self.validity(request.start, request.lifetime, request.identity.role(), note)?;
        let signed = self.sign_leaf(&request.identity, &request.hosts, &key, validity)?;
        let prepared = Prepared { dir, signed, key_pem: None };
        self.record(std::slice::from_ref(&prepared), note)?;
        self.write_identity(prepared, self.crl_pem()?.as_deref())
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
        };
        let issuer = self.site.as_ref().map_or("", |site| &site.pem);
        Ok(Signed { entry, cert_pem: certificate.pem() + issuer })
    }

    /// Records certificates in the ledger, durably; must precede [`Self::write_identity`]. The caller holds the lock.
    pub(super) fn record(
        &self,
        prepared: &[Prepared],
        note: &mut dyn FnMut(String),
    ) -> Result<(), AuthorityError> {
        let entries: Vec<Entry> =
            prepared.iter().map(|one| Entry::Issued(one.signed.entry.clone())).collect();
        Ok(self.ledger()?.append(&entries, note)?)
    }

    /// Writes an identity that is in the ledger: a complete folder, or, if the user's folder already holds other files,
    /// the identity's files into it, the certificate last. The caller holds the lock.
    pub(super) fn write_identity(
        &self,
        prepared: Prepared,
        crl: Option<&[u8]>,
    ) -> Result<IssuedPaths, AuthorityError> {
        let contents = self.contents(&prepared, crl);
        let dir = prepared.dir.clone();
        if files::is_occupied(&dir)? {
            for NewFile { name, content, mode } in contents {
                let path = dir.join(name);
                match name {
                    CA_FILE | CRL_FILE => files::replace_file(&path, content, mode)?,
                    _ => files::create_file(&path, content, mode)?,
                }
            }
        } else {
            files::create_folder(&dir, &contents)?;
        }
        let Issued { serial, not_after, .. } = prepared.signed.entry;
        Ok(IssuedPaths { dir, serial, not_after })
    }

    /// The files of an identity, in the order in which they are written.
    pub(super) fn contents<'a>(&'a self, prepared: &'a Prepared, crl: Option<&'a [u8]>) -> Vec<NewFile<'a>> {
        let new = |name, content, mode| NewFile { name, content, mode };
        let mut contents = vec![new(CA_FILE, self.anchors_pem.as_bytes(), PUBLIC)];
        contents.extend(crl.map(|crl| new(CRL_FILE, crl, PUBLIC)));
        contents.extend(prepared.key_pem.as_deref().map(|key| new(KEY_FILE, key.as_bytes(), PRIVATE)));
        contents.push(new(CERT_FILE, prepared.signed.cert_pem.as_bytes(), PUBLIC));
        contents
    }

    /// The folder for the request, if it contains none of the files `taken`.
    fn free_dir(&self, request: &IssueRequest, taken: &[&str]) -> Result<PathBuf, AuthorityError> {
        let dir = request.out.clone().unwrap_or_else(|| self.identity_dir(&request.identity));
        match taken.iter().map(|name| dir.join(name)).find(|path| path.symlink_metadata().is_ok()) {
            Some(path) => Err(AuthorityError::IdentityExists { path }),
            None => Ok(dir),
        }
    }
}

/// SHA-256 of a certificate in hexadecimal digits. Every provider has that hash: TLS 1.3 requires it.
pub(super) fn fingerprint(der: &[u8]) -> String {
    sha256(der).map(|hash| hex(&hash)).unwrap_or_default()
}

/// The public key of a signing request, after checks.
fn read_csr(path: &Path) -> Result<SubjectPublicKeyInfo, AuthorityError> {
    let refuse = |reason: String| AuthorityError::Content { path: path.to_owned(), reason };
    let content = files::read_bytes(path, PEM_BYTES_MAX)?;
    let der = match x509_parser::pem::parse_x509_pem(&content) {
        Ok((_, pem)) if matches!(pem.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
            pem.contents
        }
        Ok((_, pem)) => return Err(refuse(format!("a {}, not a signing request", pem.label))),
        Err(_) => content,
    };
    let (rest, csr) = X509CertificationRequest::from_der(&der)
        .map_err(|_| refuse("not a signing request (PKCS#10) in PEM or DER".into()))?;
    if !rest.is_empty() {
        return Err(refuse("bytes follow the signing request".into()));
    }
    csr.verify_signature()
        .map_err(|_| refuse("the request is not signed by the key to be certified".into()))?;
    let key = &csr.certification_request_info.subject_pki;
    if let Ok(PublicKey::RSA(rsa)) = key.parsed()
        && rsa.key_size() < RSA_BITS_MIN
    {
        return Err(refuse(format!(
            "an RSA key of {} bits; use {RSA_BITS_MIN} or ECDSA P-256",
            rsa.key_size()
        )));
    }
    SubjectPublicKeyInfo::from_der(key.raw)
        .map_err(|_| refuse("a key of an unsupported kind; use ECDSA P-256".into()))
}
