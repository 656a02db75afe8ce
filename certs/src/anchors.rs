//! The trust anchors of `ca.pem`: which certificates may be there, and which of them a chain ends at.
//!
//! The TLS library reads nothing from an anchor but its name and its key: it would take a device's certificate as one, and
//! an expired root. So each certificate is checked when it is loaded, and each verified chain is asked for its root:
//! a root outside its dates does not count, and a session ends when its root is removed.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, x509::SubjectPublicKeyInfo};

use crate::{
    certificate::{parse, single_uri, system_time},
    identity::{IdentityError, SCHEME, TrustDomain, site_from_uri},
};

/// The public key of a root, DER. A root that is renewed with its key is the same root.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RootKey(Arc<[u8]>);

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey").field("bytes", &self.0.len()).finish_non_exhaustive()
    }
}

/// A root in `ca.pem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its subject, for people.
    pub name: String,
    /// Its public key.
    pub key: RootKey,
    /// Start of its validity.
    pub valid_from: SystemTime,
    /// End of its validity.
    pub valid_until: SystemTime,
    /// Its subject, DER.
    subject: Arc<[u8]>,
}

impl Root {
    /// Whether it counts at `now`.
    pub fn is_in_force(&self, now: SystemTime) -> bool {
        self.valid_from <= now && now <= self.valid_until
    }

    /// Why it does not count at `now`, in words for people; `None`: it does.
    pub(crate) fn defect(&self, now: SystemTime) -> Option<String> {
        let time = humantime::format_rfc3339_seconds;
        if now < self.valid_from {
            let start = time(self.valid_from);
            return Some(format!("root {} is not valid before {start}; compare the clocks", self.name));
        }
        let end = time(self.valid_until);
        (now > self.valid_until).then(|| format!("root {} was valid until {end}", self.name))
    }

    fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        *self.subject == *certificate.issuer().as_raw()
            && SubjectPublicKeyInfo::from_der(&self.key.0)
                .is_ok_and(|(_, key)| certificate.verify_signature(Some(&key)).is_ok())
    }
}

/// The trust anchors of an identity. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Anchors {
    certificates: Arc<[CertificateDer<'static>]>,
    roots: Arc<[Root]>,
}

/// A certificate that may not be a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnchorError {
    /// Its subject.
    pub(crate) subject: String,
    /// What is wrong, and what to do.
    pub(crate) reason: String,
}

impl Anchors {
    /// Checks that each certificate may be an anchor of an identity of this trust domain. Dates are not checked: they
    /// are compared whenever a chain is verified.
    pub(crate) fn read(
        certificates: Vec<CertificateDer<'static>>,
        domain: Option<&TrustDomain>,
    ) -> Result<Self, AnchorError> {
        let root = |der: &CertificateDer<'_>| {
            let refused = |subject: &str, reason| AnchorError { subject: subject.to_owned(), reason };
            let certificate = parse(der).map_err(|error| refused("a certificate", error.to_string()))?;
            let name = certificate.subject().to_string();
            check_anchor(&certificate, domain).map_err(|reason| refused(&name, reason))?;
            Ok(Root {
                name,
                key: RootKey(certificate.public_key().raw.into()),
                valid_from: system_time(certificate.validity().not_before),
                valid_until: system_time(certificate.validity().not_after),
                subject: certificate.subject().as_raw().into(),
            })
        };
        let roots = certificates.iter().map(root).collect::<Result<_, _>>()?;
        Ok(Self { certificates: certificates.into(), roots })
    }

    /// The certificates.
    pub(crate) fn certificates(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.certificates
    }

    /// What was read from them, in their order.
    pub(crate) fn roots(&self) -> &Arc<[Root]> {
        &self.roots
    }

    /// The root that a chain ends at, among those in force at `now`. The TLS library has verified the chain with these
    /// anchors, so a signature is verified again only where roots with different keys have the same name.
    pub(crate) fn root_of(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Option<&Root> {
        let last = parse(chain.last()?).ok()?;
        let named = || self.roots.iter().filter(|root| *root.subject == *last.issuer().as_raw());
        let first = named().next()?;
        let is_certain = named().all(|root| root.key == first.key);
        named()
            .filter(|root| root.is_in_force(now) && (is_certain || root.signed(&last)))
            .max_by_key(|root| root.valid_until)
    }

    /// The root that signed the last certificate of a chain, whatever the dates: the one with the latest end.
    pub(crate) fn signer_of(&self, chain: &[CertificateDer<'_>]) -> Option<&Root> {
        let last = parse(chain.last()?).ok()?;
        self.roots.iter().filter(|root| root.signed(&last)).max_by_key(|root| root.valid_until)
    }
}

/// Why a certificate may not be the trust anchor of an identity of this trust domain: it must be a root. Otherwise the
/// holder of any certificate in the file could issue every identity.
pub(crate) fn check_anchor(
    certificate: &X509Certificate<'_>,
    domain: Option<&TrustDomain>,
) -> Result<(), String> {
    check_name(certificate, domain)?;
    let unreadable = |error: x509_parser::error::X509Error| error.to_string();
    if !certificate.basic_constraints().map_err(unreadable)?.is_some_and(|basic| basic.value.ca) {
        return Err("it is no certificate authority (CA:TRUE is missing); remove it, and put the root that \
                    issued it there"
            .to_owned());
    }
    if certificate.key_usage().map_err(unreadable)?.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err("its key may not sign certificates (key usage without keyCertSign); remove it".to_owned());
    }
    if certificate.verify_signature(None).is_err() {
        return Err(format!(
            "it is not signed by its own key, so it is no root: {} issued it; remove it, and put that root there",
            certificate.issuer()
        ));
    }
    Ok(())
}

/// Refuses the issuing certificate of a site, which may issue for its site only, and roots of other trust domains.
fn check_name(certificate: &X509Certificate<'_>, domain: Option<&TrustDomain>) -> Result<(), String> {
    let uri = match single_uri(certificate) {
        Ok(uri) => uri,
        // Roots that other tools made name no URI, or one that means nothing here.
        Err(IdentityError::NoUri) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    match (TrustDomain::from_uri(uri), domain) {
        (Ok(found), Some(expected)) if found != *expected => Err(format!(
            "it is a root of trust domain {found}, but this identity is of {expected}; remove it"
        )),
        (Ok(_), _) => Ok(()),
        (Err(_), _) if !uri.starts_with(SCHEME) => Ok(()),
        (Err(_), _) => Err(match site_from_uri(uri) {
            Ok((_, site)) => format!(
                "this is the issuing certificate of site {site}; only roots belong here, and the issuing certificate \
                 after the leaf in cert.pem"
            ),
            Err(_) => "its URI is not that of a root, spiffe://TRUST-DOMAIN; remove it".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
