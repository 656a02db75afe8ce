//! Chooses between the authority of a root and those of its sites.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use catchment_proto::id::{DeviceId, Name};

use super::{ISSUER_FILE, ISSUER_KEY_FILE, LEDGER_FILE, Ledger, now, site_dir};
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

/// Which authorities revoke an identity: those whose ledger has a certificate of it that has not expired. A root may have
/// issued before its site could. If no ledger has any, the authority for its site.
pub fn holders(dir: &Path, identity: &Identity) -> Vec<PathBuf> {
    let of_site = authority_dir(dir, identity.site());
    let holds = |dir: &PathBuf| {
        let history = Ledger::open_to_read(&dir.join(LEDGER_FILE)).ok()?.read(&mut |_| ()).ok()?;
        let time = now();
        history.issued.iter().any(|issued| issued.is_of(identity) && issued.not_after >= time).then_some(())
    };
    let mut dirs = vec![of_site.clone(), dir.to_owned()];
    dirs.dedup();
    dirs.retain(|dir| holds(dir).is_some());
    if dirs.is_empty() { vec![of_site] } else { dirs }
}

/// Sorts devices by the authority that issues for their site; the order within one stays.
pub fn by_authority(dir: &Path, devices: Vec<DeviceId>) -> Vec<(PathBuf, Vec<DeviceId>)> {
    let mut by_site: BTreeMap<Name, PathBuf> = BTreeMap::new();
    let mut groups: BTreeMap<PathBuf, Vec<DeviceId>> = BTreeMap::new();
    for device in devices {
        let authority =
            by_site.entry(device.site.clone()).or_insert_with(|| authority_dir(dir, Some(&device.site)));
        groups.entry(authority.clone()).or_default().push(device);
    }
    groups.into_iter().collect()
}
