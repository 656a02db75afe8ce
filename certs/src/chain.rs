//! The chain rule: who may have issued a leaf.
//!
//! A leaf is issued by a root, or by the issuing certificate of its site, which a root issued. Such an issuer may issue
//! devices and gateways of its own site and nothing else. The TLS library verifies signatures, dates and path lengths;
//! this module reads from the whole chain what the issuer was allowed to certify, because a leaf alone does not show it.
//!
//! A presented chain holds the leaf and at most one issuing certificate. Some TLS libraries append the root from their
//! own store; copies of a trust anchor at the end change nothing and are ignored (`without_anchors`).

use std::time::SystemTime;

use catchment_proto::id::Name;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use crate::{
    anchors::Anchors,
    certificate::{Peer, parse, peer_from_certificate, peer_from_parsed, single_uri, system_time},
    identity::{Identity, IdentityError, Role, TrustDomain, site_from_uri},
    serial::Serial,
};

/// Maximum number of certificates in a chain, roots at its end not counted.
pub(crate) const CHAIN_MAX: usize = 2;

/// Why the issuer of a leaf was not allowed to issue it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More certificates than a leaf and its issuer.
    #[error(
        "the chain has {0} certificates, but at most a leaf and the issuing certificate of its site are allowed"
    )]
    TooLong(usize),
    /// The second certificate is no issuing certificate of a site.
    #[error("the second certificate of the chain is no issuing certificate of a site: {0}")]
    NotIssuing(String),
    /// The second certificate did not issue the leaf.
    #[error("the issuing certificate of site {0} is in the chain, but did not issue the leaf")]
    NotIssuer(Name),
    /// The root has path length 0.
    #[error(
        "the root above the issuing certificate of a site has path length 0, so that it may issue no such certificate; \
         make a new root with `catchment-certs init`"
    )]
    PathLength,
    /// The issuing certificate belongs to another trust domain.
    #[error("the issuing certificate belongs to trust domain {issuer}, but the leaf to {leaf}")]
    OtherDomain {
        /// The issuer's trust domain.
        issuer: TrustDomain,
        /// The leaf's.
        leaf: TrustDomain,
    },
    /// The issuing certificate belongs to another site.
    #[error("the issuing certificate of site {issuer} may not issue {leaf}")]
    OtherSite {
        /// The issuer's site.
        issuer: Name,
        /// The leaf's identity.
        leaf: Identity,
    },
    /// Issuing certificates of sites issue devices and gateways only.
    #[error("the issuing certificate of a site may issue devices and gateways only, not {}", .0.with_article())]
    Role(Role),
}

/// The issuing certificate of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuingCertificate {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) site: Name,
    pub(crate) serial: Serial,
    pub(crate) not_after: SystemTime,
}

impl IssuingCertificate {
    /// Reads it from a certificate. Checks neither signature nor dates.
    pub(crate) fn from_parsed(certificate: &X509Certificate<'_>) -> Result<Self, ChainError> {
        let refused = |reason: String| ChainError::NotIssuing(reason);
        let uri = single_uri(certificate).map_err(|error| refused(error.to_string()))?;
        let (trust_domain, site) = site_from_uri(uri).map_err(|error| refused(error.to_string()))?;
        let unreadable = |error: x509_parser::error::X509Error| refused(error.to_string());
        let constraints = certificate.basic_constraints().map_err(unreadable)?;
        if !constraints.is_some_and(|basic| basic.value.ca && basic.value.path_len_constraint == Some(0)) {
            return Err(refused("it is no certificate authority of path length 0".to_owned()));
        }
        let usage = certificate.key_usage().map_err(unreadable)?;
        if !usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign()) {
            return Err(refused("its key usage is not keyCertSign and cRLSign".to_owned()));
        }
        let serial =
            Serial::from_bytes(certificate.raw_serial()).map_err(|error| refused(error.to_string()))?;
        let not_after = system_time(certificate.validity().not_after);
        Ok(Self { trust_domain, site, serial, not_after })
    }

    /// Whether it may have issued a leaf.
    fn may_issue(&self, leaf: &Peer) -> Result<(), ChainError> {
        if leaf.trust_domain != self.trust_domain {
            let (issuer, leaf) = (self.trust_domain.clone(), leaf.trust_domain.clone());
            return Err(ChainError::OtherDomain { issuer, leaf });
        }
        match &leaf.identity {
            Identity::Device(_) | Identity::Gateway(_) => {}
            Identity::Aggregator(_) | Identity::Operator(_) => {
                return Err(ChainError::Role(leaf.identity.role()));
            }
        }
        if leaf.identity.site() != Some(&self.site) {
            return Err(ChainError::OtherSite { issuer: self.site.clone(), leaf: leaf.identity.clone() });
        }
        Ok(())
    }
}

/// The certificates of a chain without the trust anchors at its end. The first stays.
pub(crate) fn without_anchors<'a, 'c>(
    mut chain: &'a [CertificateDer<'c>],
    anchors: &[CertificateDer<'_>],
) -> &'a [CertificateDer<'c>] {
    while let [_, .., last] = chain
        && anchors.iter().any(|anchor| anchor.as_ref() == last.as_ref())
        && let Some((_, before)) = chain.split_last()
    {
        chain = before;
    }
    chain
}

/// Reads the peer from a chain of a leaf and at most one issuing certificate: identity, trust domain and serial number
/// of the leaf, the issuer's serial number, and the earlier end of validity.
///
/// Checks no signature and no date: the TLS library does that.
///
/// # Errors
/// As [`peer_from_certificate`]; [`IdentityError::Chain`] if the issuer was not allowed to issue this leaf.
pub fn peer_from_chain(chain: &[CertificateDer<'_>]) -> Result<Peer, IdentityError> {
    let (leaf, issuer) = match chain {
        [] => return Err(IdentityError::Certificate("there is none".to_owned())),
        [leaf] => return peer_from_certificate(leaf),
        [leaf, issuer] => (leaf, issuer),
        more => return Err(ChainError::TooLong(more.len()).into()),
    };
    let issuer = parse(issuer).map_err(|error| ChainError::NotIssuing(error.to_string()))?;
    let issuing = IssuingCertificate::from_parsed(&issuer)?;
    let leaf = parse(leaf)?;
    if leaf.issuer().as_raw() != issuer.subject().as_raw() {
        return Err(ChainError::NotIssuer(issuing.site).into());
    }
    let peer = peer_from_parsed(&leaf)?;
    issuing.may_issue(&peer)?;
    let not_after = peer.not_after.min(issuing.not_after);
    Ok(Peer { issuer: Some(issuing.serial), not_after, ..peer })
}

/// As [`peer_from_chain`], of a chain that the TLS library has verified with these anchors; also with the root that it ends
/// at.
///
/// # Errors
/// As [`peer_from_chain`], or its root is no longer in force.
pub(crate) fn peer_of_chain(chain: &[CertificateDer<'_>], anchors: &Anchors) -> Result<Peer, IdentityError> {
    let chain = without_anchors(chain, anchors.certificates());
    let peer = peer_from_chain(chain)?;
    let root = anchors.root_of(chain, SystemTime::now());
    let root = root.ok_or_else(|| IdentityError::Certificate("its root is not valid now".to_owned()))?;
    let not_after = peer.not_after.min(root.valid_until);
    Ok(Peer { root: Some(root.key.clone()), not_after, ..peer })
}

/// Refuses an issuing certificate below a root of path length 0, which the TLS library does not: it reads no constraints
/// from trust anchors.
pub(crate) fn check_path_length(
    chain: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'_>],
) -> Result<(), IdentityError> {
    let Some(issuing) = chain.get(1) else { return Ok(()) };
    let issuing = parse(issuing)?;
    let allows = |anchor: &CertificateDer<'_>| {
        parse(anchor).is_ok_and(|root| {
            let constraints = root.basic_constraints().ok().flatten();
            root.subject().as_raw() == issuing.issuer().as_raw()
                && constraints.is_none_or(|basic| basic.value.path_len_constraint != Some(0))
        })
    };
    if anchors.iter().any(allows) { Ok(()) } else { Err(ChainError::PathLength.into()) }
}
