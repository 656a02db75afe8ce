//! Who may sign revocation lists: the roots, and the issuing certificates of sites that a root issued.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use super::list::UnverifiedList;
use crate::{
    certificate::{parse, system_time},
    chain::IssuingCertificate,
};

/// A certificate that may sign lists.
#[derive(Debug)]
pub(super) struct Signer<'a> {
    certificate: X509Certificate<'a>,
    der: &'a [u8],
    /// `None` for a root.
    issuing: Option<IssuingCertificate>,
}

impl<'a> Signer<'a> {
    /// The roots among the trust anchors. Others have been refused when `ca.pem` was loaded.
    pub(super) fn roots(anchors: &'a [CertificateDer<'_>]) -> Vec<Self> {
        let signer = |der: &'a CertificateDer<'_>| {
            Some(Self { certificate: parse(der).ok()?, der: der.as_ref(), issuing: None })
        };
        anchors.iter().filter_map(signer).collect()
    }

    /// An issuing certificate of a site, if one of the roots issued it. Its dates do not matter: a list of an expired
    /// one names leaves that have ended, too.
    pub(super) fn of_site(der: &'a CertificateDer<'_>, roots: &[Signer<'_>]) -> Option<Self> {
        let certificate = parse(der).ok()?;
        let issuing = IssuingCertificate::from_parsed(&certificate).ok()?;
        let issued = roots.iter().any(|root| {
            root.certificate.subject().as_raw() == certificate.issuer().as_raw()
                && certificate.verify_signature(Some(root.certificate.public_key())).is_ok()
        });
        issued.then_some(Self { certificate, der: der.as_ref(), issuing: Some(issuing) })
    }

    pub(super) fn signed(&self, list: &UnverifiedList<'_>) -> bool {
        self.certificate.subject().as_raw() == list.issuer && list.is_signed_by(self.certificate.public_key())
    }

    /// What tells signers apart: the public key, DER.
    pub(super) fn key(&self) -> &[u8] {
        self.certificate.public_key().raw
    }

    /// End of its validity.
    pub(super) fn ends(&self) -> SystemTime {
        system_time(self.certificate.validity().not_after)
    }

    pub(super) fn der(&self) -> &'a [u8] {
        self.der
    }

    pub(super) fn issuing(&self) -> Option<&IssuingCertificate> {
        self.issuing.as_ref()
    }
}
