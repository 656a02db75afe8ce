//! Takes in revocation lists from elsewhere: those of a site at the centre, those of the centre at a site.
//!
//! A key may be in two folders, whose ledgers lack each other's revocations. So a list never takes the place of another
//! without a look at its names. A folder with the issuer's key takes them into its own ledger, and signs a list of all
//! unless the newest one has them all; a folder without the key refuses a list that would drop names of the present one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use catchment_proto::id::Name;
use jiff::Timestamp;

use super::{
    Authority, AuthorityError, CA_FILE, CA_KEY_FILE, CRL_DAYS, CRL_FILE, Entry, ISSUER_FILE, ISSUER_KEY_FILE,
    LEDGER_FILE, Ledger, Passphrases, RevokeReport,
    lists::{KnownList, ListTrust, Lists},
    lock, now,
    open::read_anchors,
    revoke::known,
    site_dir,
    spread::{site_dirs, site_of_folder, spread, write},
};
use crate::Serial;

/// Most serial numbers that a message names.
const NAMED_MAX: usize = 5;

/// Result of taking over lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedLists {
    /// Lists that were new.
    pub added: usize,
    /// Lists that were known, or older than a known one.
    pub known: usize,
    /// Identity folders whose copy was updated.
    pub copies: usize,
    /// Revocations taken into ledgers of this folder, whose keys are here.
    pub taken: usize,
    /// Numbers of the lists that were signed with these.
    pub signed: Vec<u64>,
    /// Lists that would have dropped revocations, and what to do.
    pub refused: Vec<String>,
}

/// Takes the lists of a file into the `crl.pem` of an authority's folder and into its copies. Reports lists that servers
/// would refuse to `note`.
///
/// Of an issuer whose key is in the folder, or in that of a site below it, the names are taken into its ledger; if the
/// list with the higher number lacks names of the other, a new list of all is signed, with a number above both: only then
/// `passphrases` is asked. A newer list of another issuer that lacks names of the present one is refused unless `force`; certificates
/// that have expired by the ledgers here do not count.
///
/// # Errors
/// The file holds no list that counts, a key cannot be read, or files cannot be read or written.
pub fn add_lists(
    dir: &Path,
    file: &Path,
    force: bool,
    passphrases: Passphrases<'_>,
    note: &mut dyn FnMut(String),
) -> Result<AddedLists, AuthorityError> {
    let content = |path: &Path, reason| AuthorityError::Content { path: path.to_owned(), reason };
    let (anchors, domain) = read_anchors(&dir.join(CA_FILE))?;
    let trust = ListTrust { anchors: &anchors, domain: &domain };
    let mut new = Lists::read(file).map_err(|reason| content(file, reason))?;
    new.verify(&trust, note);
    let found = new.iter().count();
    if found == 0 {
        return Err(content(file, "it holds no revocation list that a root in ca.pem stands for".to_owned()));
    }
    let mut report = AddedLists::default();
    let issuers: BTreeSet<Option<Name>> = new.iter().map(|list| list.site(&domain)).collect();
    for issuer in &issuers {
        if let Some(folder) = folder_with_key(dir, issuer.as_ref()) {
            take_over(&folder, issuer.as_ref(), &new, &trust, &mut *passphrases, &mut report, note)?;
        }
    }
    let _lock = lock(dir)?;
    let path = dir.join(CRL_FILE);
    let mut lists = Lists::read(&path).map_err(|reason| content(&path, reason))?;
    if !force {
        let held = with_sites(dir, &lists);
        for issuer in &issuers {
            refuse_loss(dir, issuer.as_ref(), &held, &mut new, &trust, &mut report.refused, note)
                .map_err(|reason| content(file, reason))?;
        }
    }
    report.added = lists.merge(new);
    report.known = found.saturating_sub(report.added + report.refused.len());
    let history = Ledger::open_to_read(&dir.join(LEDGER_FILE))?.read(note)?;
    report.copies = match site_of_folder(dir) {
        Some(site) => {
            lists.retain(|list| list.is_of_root() || list.site(&domain).as_ref() == Some(&site));
            write(dir, &lists, &trust, &history, note)?
        }
        None => spread(dir, lists, &trust, &history, note)?,
    };
    Ok(report)
}

/// The folder with the key of a root (`None`) or of a site, if it is `dir` or below it.
fn folder_with_key(dir: &Path, issuer: Option<&Name>) -> Option<PathBuf> {
    let of_site = dir.join(ISSUER_FILE).exists();
    let (folder, key) = match issuer {
        None if of_site => return None,
        None => (dir.to_owned(), CA_KEY_FILE),
        Some(site) if of_site => {
            (site_of_folder(dir).as_ref() == Some(site)).then(|| (dir.to_owned(), ISSUER_KEY_FILE))?
        }
        Some(site) => (site_dir(dir, site), ISSUER_KEY_FILE),
    };
    folder.join(key).exists().then_some(folder)
}

/// The lists of a folder and those of the sites below it.
fn with_sites(dir: &Path, lists: &Lists) -> Lists {
    let mut all = lists.clone();
    for (_, site) in site_dirs(dir).unwrap_or_default() {
        all.merge(Lists::read(&site.join(CRL_FILE)).unwrap_or_default());
    }
    all
}

/// Takes the names on an issuer's lists into the ledger of the folder with its key, and signs a list of all, unless the
/// newest list has them all.
fn take_over(
    folder: &Path,
    issuer: Option<&Name>,
    new: &Lists,
    trust: &ListTrust<'_>,
    passphrases: Passphrases<'_>,
    report: &mut AddedLists,
    note: &mut dyn FnMut(String),
) -> Result<(), AuthorityError> {
    let content = |reason| AuthorityError::Content { path: folder.join(CRL_FILE), reason };
    let own = |list: &KnownList| list.site(trust.domain).as_ref() == issuer;
    let is_needed = {
        let _lock = lock(folder)?;
        let mut ledger = Ledger::open(&folder.join(LEDGER_FILE), false)?;
        let history = known(folder, &mut ledger, &mut |_| ())?;
        let listed = new.revoked(own).map_err(content)?;
        let fresh = listed.into_iter().filter(|(serial, ..)| !history.revoked.contains_key(serial));
        let entries: Vec<Entry> =
            fresh.map(|(serial, time, reason)| Entry::Revoked { time, serial, reason }).collect();
        ledger.append(&entries, note)?;
        report.taken += entries.len();
        let held = Lists::read(&folder.join(CRL_FILE)).unwrap_or_default();
        let missing = Missing::new(&held, new, own, &ends(folder)).map_err(content)?;
        !missing.of_held.is_empty() || !missing.of_new.is_empty()
    };
    if is_needed {
        let authority = Authority::open_with(folder, passphrases)?;
        report.signed.push(authority.sign_above(new.number(own), note)?.crl_number);
    }
    Ok(())
}

/// Takes an issuer's lists out of `new` if they would drop names of the present ones. Reports names that an older list
/// has and the present one lacks to `note`.
fn refuse_loss(
    dir: &Path,
    issuer: Option<&Name>,
    held: &Lists,
    new: &mut Lists,
    trust: &ListTrust<'_>,
    refused: &mut Vec<String>,
    note: &mut dyn FnMut(String),
) -> Result<(), String> {
    let own = |list: &KnownList| list.site(trust.domain).as_ref() == issuer;
    let whose = issuer.map_or_else(|| "the root".to_owned(), |site| format!("site {site}"));
    let crl = dir.join(CRL_FILE);
    let Missing { of_held, of_new } = Missing::new(held, new, own, &ends(dir))?;
    if !of_held.is_empty() {
        refused.push(format!(
            "list {} of {whose} is left out: it lacks {}, which {2} has and whose certificates have not expired as far \
             as the ledgers here know; the key is used in two folders, so take {2} in with `catchment-certs crl --add` \
             where the key is, and then the list made there here; or give --force if these certificates have expired",
            new.number(own),
            serials(&of_held),
            crl.display()
        ));
        new.retain(|list| !own(list));
    } else if !of_new.is_empty() {
        note(format!(
            "list {} of {whose} is not newer than list {} here, but names {}, which that lacks: servers will not take \
             them; take both lists in with `catchment-certs crl --add` where the key is",
            new.number(own),
            held.number(own),
            serials(&of_new)
        ));
    }
    Ok(())
}

/// Serial numbers of an issuer that its lists would no longer name once `new` is merged into the present ones, because of
/// each key only the list with the highest number stays. Those of certificates that have ended do not matter.
struct Missing {
    /// On the present lists.
    of_held: Vec<Serial>,
    /// On the new ones.
    of_new: Vec<Serial>,
}

impl Missing {
    fn new(
        held: &Lists,
        new: &Lists,
        own: impl Fn(&KnownList) -> bool,
        ends: &HashMap<Serial, Timestamp>,
    ) -> Result<Self, String> {
        let mut merged = held.clone();
        merged.merge(new.clone());
        let names: HashSet<Serial> = serials_on(&merged, &own)?.into_iter().collect();
        let missing = |lists: &Lists| {
            let missing = serials_on(lists, &own)?.into_iter();
            let missing = missing.filter(|serial| !names.contains(serial) && !has_ended(serial, ends));
            Ok::<_, String>(missing.collect())
        };
        Ok(Self { of_held: missing(held)?, of_new: missing(new)? })
    }
}

fn serials_on(lists: &Lists, own: impl Fn(&KnownList) -> bool) -> Result<BTreeSet<Serial>, String> {
    Ok(lists.revoked(own)?.into_iter().map(|(serial, ..)| serial).collect())
}

/// Whether a ledger has the certificate, and it has ended.
fn has_ended(serial: &Serial, ends: &HashMap<Serial, Timestamp>) -> bool {
    ends.get(serial).is_some_and(|end| *end < now())
}

/// When certificates end, by the ledgers of a folder and of the sites below it. Unreadable ones are reported elsewhere.
fn ends(dir: &Path) -> HashMap<Serial, Timestamp> {
    let sites = site_dirs(dir).unwrap_or_default().into_iter().map(|(_, site)| site);
    let read = |dir: PathBuf| Ledger::open_to_read(&dir.join(LEDGER_FILE)).ok()?.read(&mut |_| ()).ok();
    let histories: Vec<_> = sites.chain([dir.to_owned()]).filter_map(read).collect();
    histories.iter().flat_map(|history| history.ends()).map(|(serial, end)| (serial.clone(), end)).collect()
}

/// How many serial numbers, and the first of them.
fn serials(serials: &[Serial]) -> String {
    let named: Vec<String> = serials.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = if serials.len() > NAMED_MAX { ", …" } else { "" };
    format!("{} revoked serial numbers ({}{more})", serials.len(), named.join(", "))
}

impl Authority {
    /// Writes a new list with a number above `number`.
    fn sign_above(&self, number: u64, note: &mut dyn FnMut(String)) -> Result<RevokeReport, AuthorityError> {
        let lock = self.lock()?;
        let mut ledger = self.ledger()?;
        let mut history = self.known(&mut ledger, note)?;
        history.crl_number = history.crl_number.max(number);
        let report = self.write_crl(&mut ledger, &history, CRL_DAYS, note)?;
        drop(lock);
        self.spread_from_site(note)?;
        Ok(report)
    }
}
