//! Chooses between the authority of a root and those of its sites.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use catchment_proto::id::Name;

use super::{ISSUER_FILE, ISSUER_KEY_FILE, LEDGER_FILE, Ledger, RevokeWhat, now, site_dir};
use crate::Identity;

/// Where the authority for a site is: in the folder of the site if that has an issuing certificate and its key, else in
/// `dir` itself.
pub fn authority_dir(dir: &Path, site: Option<&Name>) -> PathBuf {
    let of_site = site.map(|site| site_dir(dir, site)).filter(|of_site| {
        !dir.join(ISSUER_FILE).exists()
            && of_site.join(ISSUER_FILE).exists()
            && of_site.join(ISSUER_KEY_FILE).exists()
    });
    of_site.unwrap_or_else(|| dir.to_owned())
}

/// Sorts what is to be revoked by the authorities that revoke it. For an identity these are those whose ledger has a
/// certificate of it that has not expired: a root may have issued before its site could. If no ledger has any, it is the
/// authority for its site. Serial numbers are for the authority of `site`, or for the root; issuing certificates for the
/// root. The order within an authority stays.
pub fn by_holder(dir: &Path, what: Vec<RevokeWhat>, site: Option<&Name>) -> Vec<(PathBuf, Vec<RevokeWhat>)> {
    let of_serials = authority_dir(dir, site);
    let mut ledgers: HashMap<PathBuf, HashSet<Identity>> = HashMap::new();
    let mut groups: BTreeMap<PathBuf, Vec<RevokeWhat>> = BTreeMap::new();
    for one in what {
        let dirs = match &one {
            RevokeWhat::Serial(_) | RevokeWhat::Unknown(_) => vec![of_serials.clone()],
            RevokeWhat::Issuer(_) => vec![dir.to_owned()],
            RevokeWhat::Identity(identity) => {
                let of_site = authority_dir(dir, identity.site());
                let mut dirs = vec![of_site.clone(), dir.to_owned()];
                dirs.dedup();
                dirs.retain(|dir| ledgers.entry(dir.clone()).or_insert_with(|| held(dir)).contains(identity));
                if dirs.is_empty() { vec![of_site] } else { dirs }
            }
        };
        for dir in dirs {
            groups.entry(dir).or_default().push(one.clone());
        }
    }
    groups.into_iter().collect()
}

/// The identities of which a ledger has a certificate that has not expired; none if it cannot be read.
fn held(dir: &Path) -> HashSet<Identity> {
    let read = || Ledger::open_to_read(&dir.join(LEDGER_FILE)).ok()?.read(&mut |_| ()).ok();
    let (issued, time) = (read().unwrap_or_default().issued, now());
    let unexpired = issued.into_iter().filter(|issued| issued.not_after >= time);
    unexpired.filter_map(|issued| Identity::from_parts(issued.role, issued.site, issued.name)).collect()
}

/// Sorts rows by the authority that issues for their site; the order within one stays.
pub fn by_authority<T>(
    dir: &Path,
    rows: Vec<T>,
    site: impl Fn(&T) -> Option<&Name>,
) -> Vec<(PathBuf, Vec<T>)> {
    let mut by_site: BTreeMap<Option<Name>, PathBuf> = BTreeMap::new();
    let mut groups: BTreeMap<PathBuf, Vec<T>> = BTreeMap::new();
    for row in rows {
        let site = site(&row);
        let authority = by_site.entry(site.cloned()).or_insert_with(|| authority_dir(dir, site));
        groups.entry(authority.clone()).or_default().push(row);
    }
    groups.into_iter().collect()
}
