//! Reads a [`Peer`] from a verified leaf certificate.
//!
//! The TLS library has already checked chain, dates and revocation; this module reads the one URI subject alternative
//! name. A certificate with none or several is refused, so that no two readers can disagree about its holder.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time,
};

use crate::{
    anchors::RootKey,
    identity::{Identity, IdentityError, TrustDomain},
    serial::Serial,
};

/// The other end of a connection, according to its verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its identity.
    pub identity: Identity,
    /// The trust domain of its certificate.
    pub trust_domain: TrustDomain,
    /// Serial number of its certificate.
    pub serial: Serial,
    /// Serial number of the issuing certificate of its site, if that issued its certificate; `None`: a root did.
    pub issuer: Option<Serial>,
    /// The root that its verified chain ends at; `None`: the chain was not verified.
    pub root: Option<RootKey>,
    /// End of its certificate's validity, or of its issuing certificate's or root's if that is earlier.
    pub not_after: SystemTime,
}

impl Peer {
    /// The URI of its certificate, with trust domain, role, site and name.
    pub fn uri(&self) -> String {
        self.identity.uri(&self.trust_domain)
    }

    /// Returns the peer if it belongs to the trust domain `expected`.
    pub(crate) fn of_domain(self, expected: &TrustDomain) -> Result<Self, IdentityError> {
        if self.trust_domain == *expected {
            return Ok(self);
        }
        Err(IdentityError::OtherTrustDomain { expected: expected.clone(), found: self.trust_domain })
    }
}

/// Reads identity, trust domain, serial number and end of validity from a leaf certificate that a root issued; for a
/// chain see [`crate::peer_from_chain`].
///
/// Checks no signature and no date: the TLS library does that.
///
/// # Errors
/// The certificate cannot be parsed, does not have exactly one URI subject alternative name, or its URI is not one of
/// the four forms of [`Identity::uri`].
pub fn peer_from_certificate(der: &CertificateDer<'_>) -> Result<Peer, IdentityError> {
    peer_from_parsed(&parse(der)?)
}

/// As [`peer_from_certificate`].
pub(crate) fn peer_from_parsed(certificate: &X509Certificate<'_>) -> Result<Peer, IdentityError> {
    let (trust_domain, identity) = Identity::from_uri(single_uri(certificate)?)?;
    let serial = Serial::from_bytes(certificate.raw_serial())?;
    let not_after = system_time(certificate.validity().not_after);
    Ok(Peer { identity, trust_domain, serial, issuer: None, root: None, not_after })
}

/// Parses a certificate in DER, refusing trailing bytes.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(IdentityError::Certificate("bytes follow the certificate".to_owned())),
        Err(error) => Err(IdentityError::Certificate(error.to_string())),
    }
}

/// The one URI among the subject alternative names.
pub(crate) fn single_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    // Refuses a certificate that carries the extension twice.
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| IdentityError::Certificate(error.to_string()))?
        .ok_or(IdentityError::NoUri)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Ok(*uri)),
        // Context tag 6 is uniformResourceIdentifier: a URI that is not an IA5String counts too.
        GeneralName::Invalid(tag, _) if tag.0 == 6 => Some(Err(())),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (None, _) => Err(IdentityError::NoUri),
        (Some(Ok(uri)), None) => Ok(uri),
        (Some(Err(())), None) => Err(IdentityError::Certificate("its URI is not ASCII".to_owned())),
        (Some(_), Some(_)) => Err(IdentityError::ManyUris(uris.count().saturating_add(2))),
    }
}

/// A certificate's time as system time; times before 1970 become 1970.
pub(crate) fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
