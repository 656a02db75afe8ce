//! Takes in revocation lists from elsewhere: those of a site at the centre, those of the centre at a site.
//!
//! A key may be in two folders, whose ledgers lack each other's revocations. So a list never takes the place of another
//! without a look at its names. A folder with the issuer's key takes them into its own ledger, and signs a list of all
//! that the ledger knows unless the present list of that key will have them all; a folder without the key refuses a list
//! that would drop names that count now.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use catchment_proto::id::Name;
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;

use super::{
    Authority, AuthorityError, CA_FILE, CA_KEY_FILE, CRL_DAYS, CRL_FILE, Entry, ISSUER_FILE, ISSUER_KEY_FILE,
    LEDGER_FILE, Ledger, Passphrases, RevokeReport,
    lists::{KnownList, ListTrust, Lists},
    lock, now,
    open::{read_anchors, read_certificate, with},
    revoke::{known, to_list},
    site_dir,
    spread::{related_histories, site_dirs, site_of_folder, spread, write},
};
use crate::Serial;

/// Most serial numbers that a message names.
const NAMED_MAX: usize = 5;

/// Result of taking over lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedLists {
    /// Lists that were new.
    pub added: usize,
    /// Lists that were known, or older than a known one, or out of date.
    pub known: usize,
    /// Identity folders whose copy was updated.
    pub copies: usize,
    /// Revocations taken into ledgers of this folder, whose keys are here.
    pub taken: usize,
    /// Numbers of the lists that were signed with these.
    pub signed: Vec<u64>,
    /// Lists that would have dropped revocations or need another that cannot be signed, and what to do.
    pub refused: Vec<String>,
}

/// Takes the lists of a file into the `crl.pem` of an authority's folder and into its copies. Reports lists that servers
/// would refuse to `note`.
///
/// Of an issuer whose key is in the folder, or in that of a site below it, the names are taken into its ledger; if the
/// list of that key would lack revocations of the ledger, a new list of all is signed, with a number above all: only then
/// `passphrases` is asked. If that fails, the lists of this issuer are refused, and the others continue. A newer list of another
/// issuer that lacks names of the present one is refused, with `force` only if a ledger here knows one of them as a
/// certificate that has not ended; certificates that have ended by the ledgers here do not count.
///
/// # Errors
/// The file holds no list that counts, or files cannot be read or written.
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
    // An outdated list of a former key counts here: its names must not be lost.
    new.keep_genuine(&trust, note);
    let found = new.iter().count();
    if found == 0 {
        return Err(content(file, "it holds no revocation list that a root in ca.pem stands for".to_owned()));
    }
    let mut report = AddedLists::default();
    let issuers: BTreeSet<Option<Name>> = new.iter().map(|list| list.site(&domain)).collect();
    for issuer in &issuers {
        let Some(folder) = folder_with_key(dir, issuer.as_ref()) else { continue };
        let taken = take_over(&folder, issuer.as_ref(), &new, &trust, &mut *passphrases, &mut report, note);
        if let Err(error) = taken {
            report.refused.push(left_out(issuer.as_ref(), &error));
            new.retain(|list| list.site(&domain).as_ref() != issuer.as_ref());
        }
    }
    let _lock = lock(dir)?;
    let path = dir.join(CRL_FILE);
    let mut lists = Lists::read(&path).map_err(|reason| content(&path, reason))?;
    let check = Check { dir, held: with_sites(dir, &lists), ends: ends(dir), trust: &trust, force };
    for issuer in &issuers {
        check
            .refuse_loss(issuer.as_ref(), &mut new, &mut report.refused, note)
            .map_err(|reason| content(file, reason))?;
    }
    let held = lists.clone();
    lists.merge(new);
    report.added = counting(&lists, &trust).beyond(&held).iter().count();
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

/// Why an issuer's lists are left out although its key is here.
fn left_out(issuer: Option<&Name>, error: &AuthorityError) -> String {
    format!(
        "the lists of {} are left out, since a new one could not be signed: {error}; what was taken into its ledger stays \
         there, so run the same command again once its key can be read",
        whose(issuer)
    )
}

fn whose(issuer: Option<&Name>) -> String {
    issuer.map_or_else(|| "the root".to_owned(), |site| format!("site {site}"))
}

/// The lists that count among these.
fn counting(lists: &Lists, trust: &ListTrust<'_>) -> Lists {
    let mut counting = lists.clone();
    counting.verify(trust, &mut |_| ());
    counting
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

/// Takes the names on an issuer's lists into the ledger of the folder with its key, and signs a list of all that the
/// ledger knows, unless the list of this key that counts afterwards has them all. A list of a former key does not do: once
/// it is out of date, it goes.
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
        let mut history = known(folder, &mut ledger, &mut |_| ())?;
        let mut entries = Vec::new();
        for (serial, time, reason) in new.revoked(own).map_err(content)? {
            if !history.revoked.contains_key(&serial) {
                history.revoke(serial.clone(), time, reason);
                entries.push(Entry::Revoked { time, serial, reason });
            }
        }
        ledger.append(&entries, note)?;
        report.taken += entries.len();
        let mut lists = Lists::read(&folder.join(CRL_FILE)).unwrap_or_default();
        lists.merge(new.clone());
        let names = named_by_key_of(folder, &counting(&lists, trust)).map_err(content)?;
        let wanted = to_list(&history, &related_histories(folder), now());
        wanted.iter().any(|(serial, _)| !names.contains(*serial))
    };
    if is_needed {
        let authority = Authority::open_with(folder, passphrases)?;
        report.signed.push(authority.sign_above(new.number(own), note)?.crl_number);
    }
    Ok(())
}

/// The names on those lists that the present key of an authority's folder signed.
fn named_by_key_of(folder: &Path, lists: &Lists) -> Result<BTreeSet<Serial>, String> {
    let of_site = folder.join(ISSUER_FILE);
    // A root's own certificate is the first in ca.pem.
    let path = if of_site.exists() { of_site } else { folder.join(CA_FILE) };
    let certificate = read_certificate(&path).map_err(|error| error.to_string())?;
    let names =
        |signer: &X509Certificate<'_>| serials_on(lists, |list| list.is_signed_by(signer).unwrap_or(false));
    with(&certificate, names).unwrap_or_else(|| Err("a certificate cannot be read".to_owned()))
}

/// What new lists may drop.
struct Check<'a> {
    dir: &'a Path,
    /// The present lists.
    held: Lists,
    /// When certificates end, by the ledgers here.
    ends: HashMap<Serial, Timestamp>,
    trust: &'a ListTrust<'a>,
    force: bool,
}

impl Check<'_> {
    /// Takes an issuer's lists out of `new` if names that count now would count no longer. Reports to `note` what is dropped
    /// by force, and names that a list has and that do not count afterwards.
    fn refuse_loss(
        &self,
        issuer: Option<&Name>,
        new: &mut Lists,
        refused: &mut Vec<String>,
        note: &mut dyn FnMut(String),
    ) -> Result<(), String> {
        let own = |list: &KnownList| list.site(self.trust.domain).as_ref() == issuer;
        let whose = whose(issuer);
        let Missing { of_held, of_new } = self.missing(new, own)?;
        let number = new.number(own);
        let in_force: Vec<Serial> =
            of_held.iter().filter(|serial| self.ends.contains_key(*serial)).cloned().collect();
        if !of_held.is_empty() && (!self.force || !in_force.is_empty()) {
            refused.push(self.refusal(&format!("list {number} of {whose}"), &of_held, &in_force));
            new.retain(|list| !own(list));
        } else if !of_held.is_empty() {
            note(format!("list {number} of {whose} is taken by force and drops {}", serials(&of_held)));
        } else if !of_new.is_empty() {
            note(format!(
                "list {number} of {whose} is not newer than list {} here, or the key that signed it was replaced, but it \
                 names {}, which no list here does: servers will not take them; take both lists in with \
                 `catchment-certs crl --add` where the key is",
                self.held.number(own),
                serials(&of_new)
            ));
        }
        Ok(())
    }

    /// Why a list is refused, and what to do.
    fn refusal(&self, list: &str, lost: &[Serial], in_force: &[Serial]) -> String {
        let crl = self.dir.join(CRL_FILE);
        let force = match in_force {
            [] => ", or give --force if these certificates have expired".to_owned(),
            in_force => {
                format!("; not even --force drops {}, which are in the ledgers here", serials(in_force))
            }
        };
        format!(
            "{list} is left out: it lacks {}, which {1} has and whose certificates have not expired as far as the ledgers \
             here know; the key is used in two folders, so take {1} in with `catchment-certs crl --add` where the key is, \
             and then the list made there here{force}",
            serials(lost),
            crl.display()
        )
    }

    /// Serial numbers of an issuer that its lists would not name once `new` is merged into the present ones, because of each
    /// key only the list with the highest number stays, and none of a former key that is out of date. Those of certificates
    /// that have ended do not matter.
    fn missing(&self, new: &Lists, own: impl Fn(&KnownList) -> bool) -> Result<Missing, String> {
        let mut merged = self.held.clone();
        merged.merge(new.clone());
        let names = serials_on(&counting(&merged, self.trust), &own)?;
        let missing = |lists: &Lists| {
            let missing = serials_on(lists, &own)?.into_iter();
            let missing = missing.filter(|serial| !names.contains(serial) && !self.has_ended(serial));
            Ok::<_, String>(missing.collect())
        };
        Ok(Missing { of_held: missing(&counting(&self.held, self.trust))?, of_new: missing(new)? })
    }

    /// Whether a ledger has the certificate, and it has ended.
    fn has_ended(&self, serial: &Serial) -> bool {
        self.ends.get(serial).is_some_and(|end| *end < now())
    }
}

/// See [`Check::missing`].
struct Missing {
    /// On the present lists.
    of_held: Vec<Serial>,
    /// On the new ones.
    of_new: Vec<Serial>,
}

fn serials_on(lists: &Lists, own: impl Fn(&KnownList) -> bool) -> Result<BTreeSet<Serial>, String> {
    Ok(lists.revoked(own)?.into_iter().map(|(serial, ..)| serial).collect())
}

/// When certificates end, by the ledger of a folder and the related ones. Unreadable ones are reported elsewhere.
fn ends(dir: &Path) -> HashMap<Serial, Timestamp> {
    let own = Ledger::open_to_read(&dir.join(LEDGER_FILE)).ok();
    let own = own.and_then(|mut ledger| ledger.read(&mut |_| ()).ok());
    let histories: Vec<_> = related_histories(dir).into_iter().chain(own).collect();
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
