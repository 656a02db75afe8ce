//! Revocation lists: read, verified, and asked by serial number.
//!
//! Serial numbers are random and at least 16 bytes long, so a serial number names a certificate within the trust domain.
//! A list of a root therefore counts for every certificate below any root of `ca.pem`; a list of a site's issuing
//! certificate counts for that site's leaves only. The lists of an issuer (told apart by its public key) carry numbers
//! that only rise: the highest one counts, a lower one is refused.

mod check;
mod list;
mod merge;
mod signer;

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use catchment_proto::id::Name;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

pub(crate) use check::{NoRevocationList, RevocationCheck};
pub(crate) use merge::Merged;

use crate::{
    certificate::Peer,
    folder::CrlFile,
    serial::{Serial, SerialKey},
};

/// Maximum number of lists, one of each issuer.
pub const LISTS_MAX: usize = 4_096;
/// Maximum size of all lists together in bytes. The sets of serial numbers take up to twice as much again.
pub const LISTS_BYTES_MAX: usize = 64 << 20;

/// The revocation lists that count: of each issuer the one with the highest number. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The roots' lists first.
    lists: Vec<RevocationList>,
    /// Number of lists that roots signed.
    roots: usize,
    /// The other lists, by the site of the issuing certificate that signed them.
    sites: HashMap<Name, Vec<usize>>,
    /// When the last of the roots' lists is out of date.
    ends: Option<SystemTime>,
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
    /// The signer's public key, DER.
    key: Arc<[u8]>,
    /// Site and serial number of the issuing certificate of a site.
    site: Option<(Name, Serial)>,
    /// End of the signer's validity, after which nothing that it issued counts.
    signer_ends: SystemTime,
    serials: Arc<HashSet<SerialKey>>,
}

impl RevocationList {
    /// Number of listed certificates.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether it lists no certificate.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }

    /// The site whose issuing certificate signed it; `None`: a root did.
    pub fn site(&self) -> Option<&Name> {
        self.site.as_ref().map(|(site, _)| site)
    }
}

/// A list that does not count, since another one of its issuer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// [`RevocationError::RolledBack`] or [`RevocationError::SameNumber`].
    pub(crate) why: RevocationError,
    /// Number of certificates that it names and no list that counts does.
    pub(crate) uncounted: usize,
}

/// Why a list does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It cannot be read.
    #[error("the revocation list cannot be read: {0}")]
    Content(String),
    /// No root, and no issuing certificate of a site, signed it.
    #[error(
        "the revocation list is signed by nobody in ca.pem, and by no issuing certificate of a site beside it"
    )]
    Signature,
    /// A higher number of the same issuer is known.
    #[error(
        "the revocation list has number {found}, but number {known} is known: a list never goes back; if it is the later \
         one, its key is used in two places, so take list {known} in with `catchment-certs crl --add` where it was made"
    )]
    RolledBack {
        /// The number of the list that counts.
        known: u64,
        /// The number of the refused list.
        found: u64,
    },
    /// Another list of the same issuer has the same number: its key is used in two copies of a PKI folder.
    #[error(
        "another revocation list of the same issuer has number {number}: its key is used in two places, whose lists \
         lack each other's revocations; take the list of one in with `catchment-certs crl --add` at the other"
    )]
    SameNumber {
        /// The number of both.
        number: u64,
    },
    /// There are too many lists, or they are too large together.
    #[error("more than {LISTS_MAX} revocation lists, or more than 64 MiB of them: the list is left out")]
    TooMany,
}

impl Revocations {
    /// The lists: those of roots first.
    pub fn lists(&self) -> &[RevocationList] {
        &self.inner.lists
    }

    /// Whether there is a list of a root.
    pub fn has_root_list(&self) -> bool {
        self.inner.roots > 0
    }

    /// When the last of the roots' lists is out of date; `None` without such a list.
    pub fn ends(&self) -> Option<SystemTime> {
        self.inner.ends
    }

    /// The roots' list that stays up to date longest.
    pub fn root_list(&self) -> Option<&RevocationList> {
        self.root_lists().max_by_key(|list| list.next_update)
    }

    /// Whether a list names the peer's certificate, or that of its issuer: a list of a root, or one of the issuing
    /// certificates of its site if such a one issued its certificate.
    pub fn names(&self, peer: &Peer) -> bool {
        let (serial, issuer) = ((&peer.serial).into(), peer.issuer.as_ref().map(SerialKey::from));
        self.root_names(serial)
            || issuer.is_some_and(|issuer| {
                self.root_names(issuer)
                    || peer.identity.site().is_some_and(|site| self.site_names(site, serial))
            })
    }

    /// Of the sites' lists the one that is out of date first. Lists of issuing certificates that have ended by `now` are left
    /// out: nobody makes or misses a newer one.
    pub fn site_list(&self, now: SystemTime) -> Option<&RevocationList> {
        let sites = self.inner.lists.iter().skip(self.inner.roots);
        sites.filter(|list| list.signer_ends >= now).min_by_key(|list| list.next_update)
    }

    /// Those of these lists that do not count beside `counting`, which has another one of their issuer: with a higher
    /// number, or with the same number and other names.
    pub(crate) fn behind(&self, counting: &Self) -> Vec<Behind> {
        let counting_of: HashMap<&[u8], &RevocationList> =
            counting.lists().iter().map(|list| (&*list.key, list)).collect();
        let behind = |list: &RevocationList| {
            let known = counting_of.get(&*list.key).filter(|known| known.der != list.der)?;
            let why = match known.number.cmp(&list.number) {
                Ordering::Greater => RevocationError::RolledBack { known: known.number, found: list.number },
                Ordering::Equal if !list.serials.is_subset(&known.serials) => {
                    RevocationError::SameNumber { number: list.number }
                }
                _ => return None,
            };
            let counts = |serial: SerialKey| {
                counting.root_names(serial)
                    || list.site().is_some_and(|site| counting.site_names(site, serial))
            };
            let uncounted = list.serials.iter().filter(|serial| !counts(**serial)).count();
            Some(Behind { why, uncounted })
        };
        self.lists().iter().filter_map(behind).collect()
    }

    fn root_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.inner.lists.iter().take(self.inner.roots)
    }

    fn root_names(&self, serial: SerialKey) -> bool {
        self.root_lists().any(|list| list.serials.contains(&serial))
    }

    fn site_names(&self, site: &Name, serial: SerialKey) -> bool {
        let lists = self.inner.sites.get(site).into_iter().flatten();
        lists.filter_map(|index| self.inner.lists.get(*index)).any(|list| list.serials.contains(&serial))
    }

    fn new(mut lists: Vec<RevocationList>) -> Self {
        lists.sort_by(|one, other| {
            let order = |list: &RevocationList| (list.site.is_some(), list.site.clone(), list.number);
            order(one).cmp(&order(other)).then_with(|| one.key.cmp(&other.key))
        });
        let roots = lists.iter().filter(|list| list.site.is_none()).count();
        let mut sites: HashMap<Name, Vec<usize>> = HashMap::new();
        for (index, list) in lists.iter().enumerate() {
            if let Some((site, _)) = &list.site {
                sites.entry(site.clone()).or_default().push(index);
            }
        }
        let ends = lists.iter().take(roots).map(|list| list.next_update).max();
        Self { inner: Arc::new(Inner { lists, roots, sites, ends }) }
    }
}

/// Number of a list (DER) and of its entries, read without verifying anything: for tools and fuzzing.
///
/// # Errors
/// It cannot be read.
pub fn read_unverified(der: &[u8]) -> Result<(u64, usize), RevocationError> {
    let list = list::UnverifiedList::read(der)?;
    Ok((list.number, list.serials()?.len()))
}

/// The same for each list of a `crl.pem`.
///
/// # Errors
/// The file has no list, or one cannot be read.
pub fn read_unverified_pem(pem: &[u8]) -> Result<Vec<(u64, usize)>, RevocationError> {
    let file = CrlFile::read(pem).map_err(RevocationError::Content)?;
    file.lists.iter().map(|der| read_unverified(der)).collect()
}

#[cfg(test)]
mod tests;
