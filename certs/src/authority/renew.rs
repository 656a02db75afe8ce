//! Renewal: a new certificate for the same key and hosts, in place of the old one.
//!
//! The new `cert.pem` replaces the old one by a rename, so key and certificate match at every instant, and an
//! identity whose key never left its device is renewed the same way. A revoked certificate is not renewed:
//! its key must not be trusted.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::{
    Authority, AuthorityError, Entry, History, Host, IssuedPaths, KeyKind, LEDGER_FILE, PEM_BYTES_MAX,
    issue::fingerprint, key,
};
use crate::{
    Identity, IdentityError, Peer, certificate,
    files::{self, PRIVATE, PUBLIC},
    folder::{CA_FILE, CERT_FILE, CRL_FILE, KEY_FILE, pem_reason},
};

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
    /// certificate. The old certificate stays valid until its end.
    /// With `new_key`, a new key takes the place of `key.pem`, and then the certificate its own: after a crash in between,
    /// renew again.
    ///
    /// # Errors
    /// The folder has no certificate of this identity from this root, the certificate is revoked, or the validity
    /// exceeds the root's.
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
        let path = dir.join(CERT_FILE);
        let content = |reason: String| AuthorityError::Content { path: path.clone(), reason };
        let wrong = |error| AuthorityError::Identity { path: path.clone(), error };
        let old_pem = files::read_text(&path, PEM_BYTES_MAX)?;
        let der = CertificateDer::from_pem_slice(old_pem.as_bytes())
            .map_err(|error| content(format!("no certificate in PEM: {}", pem_reason(&error))))?;
        let old = certificate::parse(&der).map_err(wrong)?;
        let peer = certificate::peer_from_certificate(&der).map_err(wrong)?;
        if peer.identity != *identity {
            return Err(content(format!("the certificate belongs to {}, not to {identity}", peer.identity)));
        }
        let mut ledger = self.ledger()?;
        let mut history = self.known(&mut ledger, note)?;
        if !history.issued.iter().any(|issued| issued.serial == peer.serial) {
            // A site renews what the root issued for it, and the root what a site issued.
            for other in self.related_histories() {
                history.issued.extend(other.issued);
                history.revoked_by_root.extend(other.revoked);
            }
        }
        self.check_renewable(&der, &peer, &history, &dir)?;
        let hosts = if hosts.is_empty() { hosts_of(&old).map_err(wrong)? } else { hosts.to_vec() };
        let validity = self.validity(None, lifetime, identity.role(), note)?;
        let new_key = new_key.map(KeyKind::generate).transpose()?;
        let signed = match &new_key {
            Some(key) => self.sign_leaf(identity, &hosts, key, validity)?,
            None => {
                let key = SubjectPublicKeyInfo::from_der(old.public_key().raw)?;
                self.sign_leaf(identity, &hosts, &key, validity)?
            }
        };
        ledger.append(&[Entry::Issued(signed.entry.clone())], note)?;
        files::replace_file(&dir.join(CA_FILE), self.anchors_pem.as_bytes(), PUBLIC)?;
        if let Some(crl) = self.crl_pem()? {
            files::replace_file(&dir.join(CRL_FILE), &crl, PUBLIC)?;
        }
        if let Some(key) = &new_key {
            files::replace_file(&dir.join(KEY_FILE), key::to_pem(key, None)?.as_bytes(), PRIVATE)?;
        }
        files::replace_file(&path, signed.cert_pem.as_bytes(), PUBLIC)?;
        Ok(IssuedPaths { dir, serial: signed.entry.serial, not_after: signed.entry.not_after })
    }

    /// Refuses a certificate that this authority did not issue, or has revoked.
    fn check_renewable(
        &self,
        der: &CertificateDer<'_>,
        Peer { serial, identity, .. }: &Peer,
        history: &History,
        dir: &Path,
    ) -> Result<(), AuthorityError> {
        let fingerprint = fingerprint(der);
        if !history.issued.iter().any(|issued| issued.serial == *serial && issued.fingerprint == fingerprint)
        {
            let what = format!("of {identity} with serial number {serial} and fingerprint {fingerprint}");
            return Err(AuthorityError::Unknown { path: self.dir.join(LEDGER_FILE), what });
        }
        if history.revoked_at(serial).is_some() {
            return Err(AuthorityError::Revoked {
                serial: serial.clone(),
                identity: identity.clone(),
                dir: dir.to_owned(),
            });
        }
        Ok(())
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
