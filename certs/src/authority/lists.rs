//! Several revocation lists in one file: those of roots, and those of sites with the issuing certificates that signed
//! them.
//!
//! In a `crl.pem` the `CERTIFICATE` block of a site's issuing certificate stands before its `X509 CRL` block. A list
//! without such a certificate is a root's. Of each signing key the list with the highest number counts.

use std::{collections::HashSet, io, path::Path, time::SystemTime};

use catchment_proto::id::Name;
use jiff::Timestamp;
use pkcs8::{LineEnding, der::pem as encoding};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
};

use super::{reason::RevocationReason, site::site_of};
use crate::{
    Serial, TrustDomain,
    certificate::{self, system_time},
    files,
    folder::CrlFile,
};

/// Maximum size of a file with lists, in bytes; as servers read it.
pub(super) const LISTS_BYTES_MAX: u64 = 16 << 20;

/// A revocation on a list.
pub(super) type Listed = (Serial, Timestamp, Option<RevocationReason>);

/// One revocation list.
#[derive(Clone, Debug)]
pub(super) struct KnownList {
    der: Vec<u8>,
    /// The site's issuing certificate; `None`: a root's list.
    issuer: Option<CertificateDer<'static>>,
    /// Identifies the key that signed it.
    signer: Vec<u8>,
    number: u64,
    next_update: Option<SystemTime>,
}

/// The lists of a file, or of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists(Vec<KnownList>);

impl KnownList {
    /// Reads a list. `issuers` are the certificates of its file.
    fn new(der: Vec<u8>, issuers: &[CertificateDer<'static>]) -> Result<Self, String> {
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|error| error.to_string())?;
        let name = list.issuer().as_raw();
        let issuer = issuers
            .iter()
            .find(|der| certificate::parse(der).is_ok_and(|issuer| issuer.subject().as_raw() == name))
            .cloned();
        let number = list.crl_number().map_or(0, |number| {
            let bytes = number.to_bytes_be();
            bytes.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add((*byte).into()))
        });
        let next_update = list.next_update().map(system_time);
        let key = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
        let signer = key.unwrap_or_else(|| name.to_vec());
        Ok(Self { issuer, signer, number, next_update, der })
    }

    /// Whether a root signed it.
    pub(super) fn is_of_root(&self) -> bool {
        self.issuer.is_none()
    }

    /// The site whose issuing certificate signed it.
    pub(super) fn site(&self, domain: &TrustDomain) -> Option<Name> {
        site_of(&certificate::parse(self.issuer.as_ref()?).ok()?, domain)
    }

    /// Whether its next update is overdue.
    pub(super) fn is_outdated(&self) -> bool {
        self.next_update.is_some_and(|end| end < SystemTime::now())
    }

    /// Whether the holder of a certificate's key signed it.
    pub(super) fn is_signed_by(&self, signer: &X509Certificate<'_>) -> Result<bool, String> {
        let (_, list) = CertificateRevocationList::from_der(&self.der).map_err(|error| error.to_string())?;
        Ok(signer.subject().as_raw() == list.issuer().as_raw()
            && list.verify_signature(signer.public_key()).is_ok())
    }

    /// The revoked serial numbers, with times and reasons.
    fn revoked(&self) -> Result<Vec<Listed>, String> {
        let (_, list) = CertificateRevocationList::from_der(&self.der).map_err(|error| error.to_string())?;
        let revoked = list.iter_revoked_certificates().map(|entry| {
            let serial = Serial::from_bytes(entry.raw_serial()).map_err(|error| error.to_string())?;
            let at = Timestamp::from_second(entry.revocation_date.timestamp());
            let reason = entry.reason_code().map(|(_, code)| RevocationReason::from_code(code));
            let reason = reason.filter(|reason| *reason != RevocationReason::Unspecified);
            Ok((serial, at.map_err(|error| error.to_string())?, reason))
        });
        revoked.collect()
    }

    /// Checks signatures and dates: signed by an anchor, or by an issuing certificate that an anchor signed and that is
    /// neither expired nor among `revoked`.
    fn check(&self, trust: &ListTrust<'_>, revoked: &HashSet<Serial>) -> Result<(), String> {
        let (_, list) = CertificateRevocationList::from_der(&self.der).map_err(|error| error.to_string())?;
        let signed_by = |signer: &X509Certificate<'_>| self.is_signed_by(signer).unwrap_or(false);
        let Some(der) = &self.issuer else {
            return match trust.anchors().any(|anchor| signed_by(&anchor)) {
                true => Ok(()),
                false => Err(format!("the list of {} is signed by no root in ca.pem", list.issuer())),
            };
        };
        let issuer = certificate::parse(der).map_err(|error| error.to_string())?;
        let refuse = |why: &str| Err(format!("the list of {}: {why}", list.issuer()));
        if !signed_by(&issuer) {
            return refuse("the issuing certificate in the same file did not sign it");
        }
        if !trust.anchors().any(|anchor| issuer.verify_signature(Some(anchor.public_key())).is_ok()) {
            return refuse("its issuing certificate is signed by no root in ca.pem");
        }
        if !issuer.is_ca() || site_of(&issuer, trust.domain).is_none() {
            return refuse("its certificate is not the issuing certificate of a site");
        }
        if system_time(issuer.validity().not_after) < SystemTime::now() {
            return refuse("its issuing certificate has expired");
        }
        match Serial::from_bytes(issuer.raw_serial()) {
            Ok(serial) if !revoked.contains(&serial) => Ok(()),
            _ => refuse("its issuing certificate is revoked"),
        }
    }
}

/// Against what lists are verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListTrust<'a> {
    pub(super) anchors: &'a [CertificateDer<'static>],
    pub(super) domain: &'a TrustDomain,
}

impl<'a> ListTrust<'a> {
    fn anchors(&self) -> impl Iterator<Item = X509Certificate<'a>> {
        self.anchors.iter().filter_map(|der| certificate::parse(der).ok())
    }
}

impl Lists {
    /// Reads the lists of a file. Empty if there is no file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        match files::read_bytes(path, LISTS_BYTES_MAX) {
            Ok(content) => Self::parse(&content),
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads the lists in PEM; at least one.
    pub(super) fn parse(content: &[u8]) -> Result<Self, String> {
        let CrlFile { lists, issuers } = CrlFile::read(content)?;
        let lists = lists.into_iter().map(|der| KnownList::new(der, &issuers));
        Ok(Self(lists.collect::<Result<_, _>>()?))
    }

    /// A new list of a root, or of a site with its issuing certificate.
    pub(super) fn of(der: Vec<u8>, issuer: Option<CertificateDer<'static>>) -> Result<Self, String> {
        Ok(Self(vec![KnownList::new(der, issuer.as_slice())?]))
    }

    /// The lists.
    pub(super) fn iter(&self) -> impl Iterator<Item = &KnownList> {
        self.0.iter()
    }

    /// The highest number among the chosen lists, 0 if there are none.
    pub(super) fn number(&self, chosen: impl Fn(&KnownList) -> bool) -> u64 {
        self.0.iter().filter(|list| chosen(list)).map(|list| list.number).max().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the lists is signed by the key of this one.
    pub(super) fn has_key_of(&self, list: &KnownList) -> bool {
        self.newest_like(list).is_some()
    }

    /// The list of the same key with the highest number.
    fn newest_like(&self, list: &KnownList) -> Option<&KnownList> {
        self.0.iter().filter(|known| known.signer == list.signer).max_by_key(|known| known.number)
    }

    /// The lists that `other` lacks: of keys that it has no list of, with a higher number, or another one with the same
    /// number.
    pub(super) fn beyond(&self, other: &Self) -> Self {
        let is_beyond = |list: &&KnownList| {
            other.newest_like(list).is_none_or(|known| {
                list.number > known.number || (list.number == known.number && list.der != known.der)
            })
        };
        Self(self.0.iter().filter(is_beyond).cloned().collect())
    }

    /// Numbers of a list here and of one in `other` that the same key signed and that is not newer, if there is one.
    pub(super) fn ahead_of(&self, other: &Self) -> Option<(u64, u64)> {
        let pairs = self.0.iter().filter_map(|list| Some((list.number, other.newest_like(list)?.number)));
        pairs.max().filter(|(list, older)| list >= older)
    }

    /// Whether the holder of a certificate's key signed one of the lists.
    pub(super) fn has_list_of(&self, signer: &CertificateDer<'_>) -> bool {
        certificate::parse(signer)
            .is_ok_and(|signer| self.0.iter().any(|list| list.is_signed_by(&signer).unwrap_or(false)))
    }

    /// All revocations of the chosen lists.
    pub(super) fn revoked(&self, chosen: impl Fn(&KnownList) -> bool) -> Result<Vec<Listed>, String> {
        let mut all = Vec::new();
        for list in self.0.iter().filter(|list| chosen(list)) {
            all.extend(list.revoked()?);
        }
        Ok(all)
    }

    /// Keeps the chosen lists.
    pub(super) fn retain(&mut self, chosen: impl Fn(&KnownList) -> bool) {
        self.0.retain(chosen);
    }

    /// Adds lists; of each signing key the one with the highest number stays. Returns the number of lists that are new.
    pub(super) fn merge(&mut self, other: Self) -> usize {
        let mut added = 0;
        for list in other.0 {
            match self.0.iter_mut().find(|known| known.signer == list.signer) {
                Some(known) if known.number >= list.number => {}
                Some(known) => {
                    *known = list;
                    added += 1;
                }
                None => {
                    self.0.push(list);
                    added += 1;
                }
            }
        }
        added
    }

    /// Drops the lists that servers would refuse, and reports each to `note`; also those whose key was replaced.
    pub(super) fn verify(&mut self, trust: &ListTrust<'_>, note: &mut dyn FnMut(String)) {
        self.keep_genuine(trust, note);
        self.drop_superseded(trust.domain);
    }

    /// Drops the lists that servers would refuse, and reports each to `note`.
    pub(super) fn keep_genuine(&mut self, trust: &ListTrust<'_>, note: &mut dyn FnMut(String)) {
        let mut genuine = |list: &KnownList, revoked: &HashSet<Serial>| match list.check(trust, revoked) {
            Ok(()) => true,
            Err(reason) => {
                note(format!("{reason}; it is left out"));
                false
            }
        };
        let none = HashSet::new();
        self.0.retain(|list| !list.is_of_root() || genuine(list, &none));
        // The lists of roots come first: they may revoke an issuing certificate.
        let by_roots = self.revoked(KnownList::is_of_root).unwrap_or_default();
        let revoked: HashSet<Serial> = by_roots.into_iter().map(|(serial, ..)| serial).collect();
        self.0.retain(|list| list.is_of_root() || genuine(list, &revoked));
    }

    /// Drops lists that are out of date if a newer list of the same site, or of a root, takes their place: their key was
    /// replaced.
    fn drop_superseded(&mut self, domain: &TrustDomain) {
        let outdated = KnownList::is_outdated;
        let current: HashSet<Option<Name>> =
            self.0.iter().filter(|list| !outdated(list)).map(|list| list.site(domain)).collect();
        self.0.retain(|list| !outdated(list) || !current.contains(&list.site(domain)));
    }

    /// The lists in PEM: roots' first, then sites', by site, each after its issuing certificate.
    pub(super) fn to_pem(&self, domain: &TrustDomain) -> Result<String, String> {
        let mut sorted: Vec<&KnownList> = self.0.iter().collect();
        sorted.sort_by_cached_key(|list| (list.site(domain), std::cmp::Reverse(list.number)));
        let mut text = String::new();
        for list in sorted {
            if let Some(issuer) = &list.issuer {
                text.push_str(&to_pem("CERTIFICATE", issuer)?);
            }
            text.push_str(&to_pem("X509 CRL", &list.der)?);
        }
        Ok(text)
    }
}

/// A PEM block.
pub(super) fn to_pem(label: &'static str, der: &[u8]) -> Result<String, String> {
    encoding::encode_string(label, LineEnding::LF, der).map_err(|error| error.to_string())
}
