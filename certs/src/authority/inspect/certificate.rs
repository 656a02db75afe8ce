//! Describes a certificate: whose it is, how long it is valid, who signed it.

use catchment_proto::id::Name;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    der_parser::Oid,
    extensions::{ExtendedKeyUsage, GeneralName},
    prelude::FromDer as _,
};

use super::{
    super::{
        issue::fingerprint,
        now,
        public_key::{key_kind, signature_kind},
        renew::ip_address,
        timestamp,
    },
    block::{Block, Field},
    words,
};
use crate::{
    Peer, TrustDomain,
    certificate::{peer_from_certificate, single_uri, system_time},
    serial::hex,
};

/// Whose a certificate is.
enum Holder {
    /// An identity.
    Peer(Peer),
    /// The root of a trust domain.
    Root(TrustDomain),
    /// The issuing certificate of a site.
    Site(TrustDomain, Name),
    /// Another authority, or a certificate without identity and why.
    Other(Option<String>),
}

/// Describes a certificate. `others`: the other blocks of its file with their places from 0; `anchors`: the roots next
/// to it.
pub(super) fn describe(
    der: &[u8],
    others: &[(usize, &[u8])],
    anchors: &[CertificateDer<'static>],
) -> Option<Block> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let holder = holder(der, &certificate);
    let start = timestamp(system_time(certificate.validity().not_before));
    let end = timestamp(system_time(certificate.validity().not_after));
    let summary = format!("{}, {}.", summary(&holder, &certificate), expiry(start, end, now()));
    let mut block = Block::new(if certificate.is_ca() { "authority" } else { "certificate" }, summary);
    block.text("subject", certificate.subject());
    name(&holder, &mut block);
    block.text("serial", words::serial(certificate.raw_serial()));
    block.text("not before", start);
    block.text("not after", end);
    block.field("days left", Field::Number((end.as_second() - now().as_second()).div_euclid(86_400)));
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        block.field("alt name", Field::List(names.value.general_names.iter().map(general_name).collect()));
    }
    if let Ok(Some(usage)) = certificate.key_usage() {
        block.text("key usage", usage.value);
    }
    if let Ok(Some(usage)) = certificate.extended_key_usage() {
        block.text("ext key usage", extended_key_usage(usage.value));
    }
    block.text("issuer", certificate.issuer());
    if let Some(signed_by) = signed_by(&certificate, others, anchors) {
        block.text("signed by", signed_by);
    }
    block.text("key", key_kind(certificate.public_key()));
    block.text("signature", signature_kind(&certificate.signature_algorithm.algorithm.to_id_string()));
    block.text("sha256", fingerprint(der));
    block.text("key sha256", fingerprint(certificate.public_key().raw));
    Some(block)
}

fn holder(der: &[u8], certificate: &X509Certificate<'_>) -> Holder {
    if !certificate.is_ca() {
        return match peer_from_certificate(&CertificateDer::from(der)) {
            Ok(peer) => Holder::Peer(peer),
            Err(error) => Holder::Other(Some(error.to_string())),
        };
    }
    let Ok(uri) = single_uri(certificate) else { return Holder::Other(None) };
    if let Ok(domain) = TrustDomain::from_uri(uri) {
        return Holder::Root(domain);
    }
    let site = || {
        let (domain, site) = uri.split_once("/site/")?;
        Some(Holder::Site(TrustDomain::from_uri(domain).ok()?, Name::new(site).ok()?))
    };
    site().unwrap_or(Holder::Other(None))
}

/// Whose the certificate is, in words.
fn summary(holder: &Holder, certificate: &X509Certificate<'_>) -> String {
    match holder {
        Holder::Peer(Peer { identity, trust_domain, .. }) => {
            let site = identity.site().map(|site| format!(" of site {site}")).unwrap_or_default();
            format!("The {} {}{site} in trust domain {trust_domain}", identity.role(), identity.name())
        }
        Holder::Root(domain) => format!("The root of trust domain {domain}"),
        Holder::Site(domain, site) => {
            format!("The issuing certificate of site {site} in trust domain {domain}")
        }
        Holder::Other(None) => "An authority that is not of Catchment".to_owned(),
        Holder::Other(Some(_)) => format!("A certificate of {} without an identity", certificate.subject()),
    }
}

/// The holder's fields.
fn name(holder: &Holder, block: &mut Block) {
    match holder {
        Holder::Peer(Peer { identity, trust_domain, .. }) => {
            block.text("role", identity.role());
            if let Some(site) = identity.site() {
                block.text("site", site);
            }
            block.text("name", identity.name());
            block.text("trust domain", trust_domain);
        }
        Holder::Root(domain) => block.text("trust domain", domain),
        Holder::Site(domain, site) => {
            block.text("site", site);
            block.text("trust domain", domain);
        }
        Holder::Other(None) => {}
        Holder::Other(Some(error)) => block.text("identity", format!("none: {error}")),
    }
}

/// How long it is valid, in words.
fn expiry(start: Timestamp, end: Timestamp, now: Timestamp) -> String {
    if now < start {
        format!("not valid yet, starts in {}", words::span(now, start))
    } else if now > end {
        format!("expired {} ago", words::span(end, now))
    } else {
        format!("expires in {}", words::span(now, end))
    }
}

/// Which certificate at hand signed this one.
fn signed_by(
    certificate: &X509Certificate<'_>,
    others: &[(usize, &[u8])],
    anchors: &[CertificateDer<'static>],
) -> Option<String> {
    let signs = |issuer: &[u8]| match X509Certificate::from_der(issuer) {
        Ok((_, issuer)) => {
            issuer.subject() == certificate.issuer()
                && certificate.verify_signature(Some(issuer.public_key())).is_ok()
        }
        Err(_) => false,
    };
    if certificate.subject() == certificate.issuer() && certificate.verify_signature(None).is_ok() {
        return Some("itself".to_owned());
    }
    if let Some((place, _)) = others.iter().find(|(_, der)| signs(der)) {
        return Some(format!("block {}", place + 1));
    }
    if anchors.is_empty() {
        return None;
    }
    Some(match anchors.iter().any(|anchor| signs(anchor)) {
        true => "a root in ca.pem".to_owned(),
        false => "no root in ca.pem: peers refuse it".to_owned(),
    })
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI {uri}"),
        GeneralName::DNSName(name) => format!("DNS {name}"),
        GeneralName::IPAddress(bytes) => {
            ip_address(bytes).map_or_else(|| format!("IP {}", hex(bytes)), |address| format!("IP {address}"))
        }
        other => other.to_string(),
    }
}

fn extended_key_usage(usage: &ExtendedKeyUsage<'_>) -> String {
    let mut names = Vec::new();
    names.extend(usage.server_auth.then(|| "serverAuth".to_owned()));
    names.extend(usage.client_auth.then(|| "clientAuth".to_owned()));
    names.extend(usage.any.then(|| "any".to_owned()));
    names.extend(usage.other.iter().map(Oid::to_id_string));
    names.join(", ")
}
