//! Contents and validity of each kind of certificate. Pure: the clock is an argument.
//!
//! Certificates are made only from these profiles. Of a signing request only the public key is used, because
//! rcgen would sign whatever a request contains, even a certificate authority.

use std::{fmt, net::IpAddr, ops::Add, str::FromStr, time::Duration};

use catchment_proto::id::Name;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::ServerName;

use super::{
    error::AuthorityError,
    lifetimes::{DAY, DAYS_MAX},
};
use crate::{Identity, Role, Serial, TrustDomain, serial::hex};

/// A host that a server's certificate names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// Why a text is not a valid [`Host`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a DNS name nor an IP address (no scheme, no port)")]
pub struct HostError(String);

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        match ServerName::try_from(text) {
            Ok(ServerName::DnsName(_)) => Ok(Self::Dns(text.to_ascii_lowercase())),
            _ => Err(HostError(text.chars().take(200).collect())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Start and end of a certificate's validity, both inclusive, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    /// From `start` for `lifetime`, back-dated by `back_dated`.
    pub(crate) fn new(
        start: Timestamp,
        lifetime: Duration,
        back_dated: Duration,
    ) -> Result<Self, AuthorityError> {
        let outside = |_| AuthorityError::Days { days: lifetime.as_secs() / DAY.as_secs() };
        let whole = Timestamp::from_second(start.as_second()).map_err(outside)?;
        Ok(Self {
            not_before: whole.checked_sub(back_dated).map_err(outside)?,
            not_after: whole.checked_add(lifetime).map_err(outside)?,
        })
    }
}

/// Checks a validity in days.
///
/// # Errors
/// Zero, or more than [`DAYS_MAX`].
pub fn lifetime_of_days(days: u32) -> Result<Duration, AuthorityError> {
    if days == 0 || days > DAYS_MAX {
        return Err(AuthorityError::Days { days: days.into() });
    }
    Ok(DAY * days)
}

/// The root's own certificate: it signs leaves, issuing certificates of sites, and revocation lists.
pub(crate) fn root(
    domain: &TrustDomain,
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let name = format!("Catchment root {}", tail(serial));
    authority(name, &domain.uri(), 1, serial, validity)
}

/// The issuing certificate of a site: it signs leaves of that site, and the site's revocation lists.
pub(crate) fn issuer(
    domain: &TrustDomain,
    site: &Name,
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let name = format!("Catchment site {site} {}", tail(serial));
    let mut params = authority(name, &site_uri(domain, site), 0, serial, validity)?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The URI in the issuing certificate of a site.
pub(crate) fn site_uri(domain: &TrustDomain, site: &Name) -> String {
    format!("{}/site/{site}", domain.uri())
}

/// A certificate that signs others.
fn authority(
    name: String,
    uri: &str,
    path_length: u8,
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Catchment");
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    date(&mut params, serial, validity);
    Ok(params)
}

/// Part of a serial number in hexadecimal digits, which distinguishes successive certificates of one name.
fn tail(serial: &Serial) -> String {
    let bytes = serial.as_bytes();
    hex(bytes.get(bytes.len().saturating_sub(4)..).unwrap_or_default())
}

/// A leaf for an identity.
pub(crate) fn leaf(
    identity: &Identity,
    domain: &TrustDomain,
    hosts: &[Host],
    serial: &Serial,
    validity: Validity,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identity.name().as_str());
    params.subject_alt_names.push(SanType::URI(identity.uri(domain).try_into()?));
    for host in hosts {
        params.subject_alt_names.push(match host {
            Host::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Ip(address) => SanType::IpAddress(*address),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match identity.role() {
        Role::Device | Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        // A gateway is the server of its devices and the client of its aggregator. An aggregator is only a server; as a
        // client it is still authenticated, so that it gets a clear refusal because of its role.
        Role::Gateway | Role::Aggregator => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
    };
    params.use_authority_key_identifier_extension = true;
    date(&mut params, serial, validity);
    Ok(params)
}

/// Sets serial and dates, always both: rcgen's defaults are the key's hash, and 1975 to 4096.
fn date(params: &mut CertificateParams, serial: &Serial, validity: Validity) {
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = rcgen_time(epoch, validity.not_before);
    params.not_after = rcgen_time(epoch, validity.not_after);
}

/// A time in rcgen's type. Generic, so that this crate need not depend on the `time` crate: `epoch` is
/// `rcgen::date_time_ymd(1970, 1, 1)`. Times before 1970 become 1970.
pub(crate) fn rcgen_time<T: Add<Duration, Output = T>>(epoch: T, time: Timestamp) -> T {
    epoch + Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
}
