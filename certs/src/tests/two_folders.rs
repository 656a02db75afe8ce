//! One key in two folders: no revocation of either is lost. And the lists of all authorities are renewed at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    batch::DAY,
    sites::{add, device, no_passphrase, site_request},
    support::{Pki, no_note},
};
use crate::{
    Role, Serial,
    authority::{AddedLists, Authority, RevokeWhat, add_lists, inspect, renew_lists},
};

/// The files that make a folder an authority, in a new folder.
pub(super) fn copied(dir: &Path, to: &Path) -> Authority {
    fs::create_dir(to).unwrap();
    for file in ["ca.pem", "ca.key", "crl.pem", "issuer.key", "issuer.pem", "ledger.jsonl"] {
        if dir.join(file).exists() {
            fs::copy(dir.join(file), to.join(file)).unwrap();
        }
    }
    Authority::open(to).unwrap()
}

pub(super) fn revoke(authority: &Authority, serials: &[&Serial]) -> u64 {
    let what: Vec<RevokeWhat> = serials.iter().map(|serial| RevokeWhat::Serial((*serial).clone())).collect();
    authority.revoke_all(&what, None, &mut no_note).unwrap().crl_number
}

pub(super) fn names(file: &Path, serials: &[&Serial]) -> bool {
    let text = inspect(file).unwrap().to_string();
    serials.iter().all(|serial| text.contains(&serial.to_string()))
}

pub(super) fn take(dir: &Path, file: &Path, force: bool) -> (AddedLists, Vec<String>) {
    let mut notes = Vec::new();
    let added = add_lists(dir, file, force, &mut no_passphrase, &mut |text| notes.push(text)).unwrap();
    (added, notes)
}

/// A root in two folders, the second of which has a newer list without the first one's revocations: a and b are revoked
/// in the first, c in the second.
pub(super) struct Split {
    pub(super) pki: Pki,
    pub(super) first: PathBuf,
    pub(super) second: Authority,
    pub(super) aggregator: PathBuf,
    pub(super) serials: [Serial; 3],
}

impl Split {
    pub(super) fn new() -> Self {
        let pki = Pki::new();
        let first = pki.authority.dir().to_owned();
        let aggregator = pki.issue(Role::Aggregator, "centre").dir;
        let serials = ["a", "b", "c"].map(|name| pki.issue(Role::Device, name).serial);
        let second = copied(&first, &pki.dir.path().join("second"));
        revoke(&pki.authority, &[&serials[0], &serials[1]]);
        second.refresh_crl(5, &mut no_note).unwrap();
        assert_eq!(revoke(&second, &[&serials[2]]), 3);
        Self { pki, first, second, aggregator, serials }
    }

    pub(super) fn all(&self) -> [&Serial; 3] {
        self.serials.each_ref()
    }
}

#[test]
fn a_list_of_the_same_key_adds_to_the_ledger_and_drops_nothing() {
    let split = Split::new();
    let (first, second) = (split.first.join("crl.pem"), split.second.dir().join("crl.pem"));
    let added = add(&split.first, &second);
    assert_eq!((added.taken, added.signed.as_slice(), added.copies), (1, &[4][..], 1));
    for file in [&first, &split.aggregator.join("crl.pem")] {
        assert!(names(file, &split.all()), "{}", file.display());
    }
    // The ledger has it, not the list alone.
    let ledger = fs::read_to_string(split.first.join("ledger.jsonl")).unwrap();
    assert_eq!(ledger.matches("\"revoked\"").count(), 3, "{ledger}");
    // The other folder learns, and then both agree.
    let added = add(split.second.dir(), &first);
    assert_eq!((added.added, added.taken, added.signed.len()), (1, 2, 0));
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let added = add(&split.first, &second);
    assert_eq!((added.added, added.taken, added.signed.len()), (0, 0, 0));
    let ledger = fs::read_to_string(split.second.dir().join("ledger.jsonl")).unwrap();
    assert_eq!(ledger.matches("\"revoked\"").count(), 3, "{ledger}");
}

#[test]
fn an_older_list_of_the_same_key_adds_too() {
    let split = Split::new();
    let added = add(split.second.dir(), &split.first.join("crl.pem"));
    assert_eq!((added.taken, added.signed.as_slice()), (2, &[4][..]));
    assert!(names(&split.second.dir().join("crl.pem"), &split.all()));
}

#[test]
fn without_the_key_a_list_that_drops_revocations_is_refused() {
    let split = Split::new();
    fs::remove_file(split.first.join("ca.key")).unwrap();
    let (first, second) = (split.first.join("crl.pem"), split.second.dir().join("crl.pem"));
    let before = fs::read(&first).unwrap();
    let (added, _) = take(&split.first, &second, false);
    assert_eq!((added.added, added.refused.len()), (0, 1));
    let [a, b, c] = split.all();
    let refused = &added.refused[0];
    assert!(refused.contains(&a.to_string()) && refused.contains(&b.to_string()), "{refused}");
    assert!(!refused.contains(&c.to_string()) && refused.contains("crl --add"), "{refused}");
    assert_eq!(fs::read(&first).unwrap(), before);
    // By the ledger here a and b are in force, so --force does not drop them either.
    let (added, _) = take(&split.first, &second, true);
    assert!(added.refused[0].contains("not even --force drops 2") && added.added == 0, "{added:?}");
    assert_eq!(fs::read(&first).unwrap(), before);
    // Of serial numbers that no ledger here knows, it says which it dropped.
    fs::write(split.first.join("ledger.jsonl"), "").unwrap();
    let (added, notes) = take(&split.first, &second, true);
    assert_eq!((added.added, added.refused.len()), (1, 0));
    assert!(notes[0].contains(&a.to_string()) && notes[0].contains(&b.to_string()), "{notes:?}");
    assert!(names(&first, &[c]) && !names(&first, &[a]));
    // An older list that knows more is no news for servers, so somebody has to know.
    let older = split.pki.dir.path().join("older.pem");
    fs::write(&older, before).unwrap();
    let (added, notes) = take(&split.first, &older, false);
    assert_eq!((added.added, added.known), (0, 1));
    assert!(notes[0].contains("not newer than list 3") && notes[0].contains(&a.to_string()), "{notes:?}");
}

#[test]
fn a_certificate_that_has_ended_may_leave_the_list() {
    let pki = Pki::new();
    let mut request = pki.request(Role::Device, "a");
    request.start = Some(std::time::SystemTime::now() - 10 * DAY);
    request.lifetime = Some(DAY);
    let ended = pki.authority.issue(&request, &mut no_note).unwrap().serial;
    let second = copied(pki.authority.dir(), &pki.dir.path().join("second"));
    revoke(&pki.authority, &[&ended]);
    second.refresh_crl(5, &mut no_note).unwrap();
    second.refresh_crl(5, &mut no_note).unwrap();
    fs::remove_file(pki.authority.dir().join("ca.key")).unwrap();
    assert_eq!(add(pki.authority.dir(), &second.dir().join("crl.pem")).added, 1);
    // Without the ledger's line nobody knows that it has ended.
    fs::write(pki.authority.dir().join("ledger.jsonl"), "").unwrap();
    fs::remove_file(pki.authority.dir().join("crl.pem")).unwrap();
    let pki = Split::new();
    fs::remove_file(pki.first.join("ca.key")).unwrap();
    fs::write(pki.first.join("ledger.jsonl"), "").unwrap();
    assert_eq!(take(&pki.first, &pki.second.dir().join("crl.pem"), false).0.refused.len(), 1);
}

#[test]
fn a_site_in_two_folders_loses_nothing_either() {
    let pki = Pki::new();
    let (report, site) = pki.add_site("berlin");
    let [a, b] = ["a", "b"].map(|name| site.issue(&device("berlin", name), &mut no_note).unwrap().serial);
    let copy = copied(&report.dir, &pki.dir.path().join("berlin"));
    revoke(&site, &[&a]);
    copy.refresh_crl(5, &mut no_note).unwrap();
    revoke(&copy, &[&b]);
    // The key is below the PKI folder, so the list of the site is signed there.
    let added = add(pki.authority.dir(), &copy.dir().join("crl.pem"));
    assert_eq!((added.taken, added.signed.as_slice()), (1, &[4][..]));
    for dir in [pki.authority.dir(), &report.dir] {
        assert!(names(&dir.join("crl.pem"), &[&a, &b]));
    }
    // Without it, the centre refuses what the copy would take back.
    copy.refresh_crl(5, &mut no_note).unwrap();
    copy.refresh_crl(5, &mut no_note).unwrap();
    fs::remove_file(report.dir.join("issuer.key")).unwrap();
    let (added, _) = take(pki.authority.dir(), &copy.dir().join("crl.pem"), false);
    assert!(
        added.refused[0].contains("site berlin") && added.refused[0].contains(&a.to_string()),
        "{added:?}"
    );
    assert!(names(&pki.authority.dir().join("crl.pem"), &[&a, &b]));
}

#[test]
fn a_copy_with_a_newer_list_is_left_and_named() {
    let split = Split::new();
    let copy = split.aggregator.join("crl.pem");
    fs::copy(split.second.dir().join("crl.pem"), &copy).unwrap();
    let mut notes = Vec::new();
    let report = split.pki.authority.refresh_crl(5, &mut |text| notes.push(text)).unwrap();
    // List 3 of both: servers keep the one that they have.
    assert_eq!((report.crl_number, report.copies), (3, 0));
    assert!(notes[0].contains("another list 3"), "{notes:?}");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(split.second.dir().join("crl.pem")).unwrap());
    notes.clear();
    split.second.refresh_crl(5, &mut no_note).unwrap();
    split.second.refresh_crl(5, &mut no_note).unwrap();
    fs::copy(split.second.dir().join("crl.pem"), &copy).unwrap();
    let report = split.pki.authority.refresh_crl(5, &mut |text| notes.push(text)).unwrap();
    assert_eq!((report.crl_number, report.copies), (4, 0));
    assert!(notes[0].contains("list 5, newer than list 4") && notes[0].contains("crl --dir"), "{notes:?}");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(split.second.dir().join("crl.pem")).unwrap());
}

#[test]
fn lists_of_all_keys_in_a_folder_are_renewed_at_once() {
    let pki = Pki::new();
    let aggregator = pki.issue(Role::Aggregator, "centre").dir;
    for site in ["berlin", "oslo", "paris"] {
        pki.authority.site_add(&site_request(site), &mut no_note).unwrap();
    }
    let dir = pki.authority.dir();
    fs::rename(dir.join("site/oslo/issuer.key"), pki.dir.path().join("oslo.key")).unwrap();
    // Its list is left out from now on, which is reported.
    pki.authority.revoke(&RevokeWhat::Issuer("paris".parse().unwrap()), &mut |_| ()).unwrap();
    let report = renew_lists(dir, 5, &mut no_passphrase, &mut |_| ()).unwrap();
    let renewed: Vec<_> =
        report.renewed.iter().map(|one| (one.site.clone(), one.report.crl_number)).collect();
    assert_eq!(renewed, [(None, 3), (Some("berlin".parse().unwrap()), 2)]);
    let left: Vec<_> =
        report.left.iter().map(|one| (one.site.as_deref().unwrap(), one.reason.as_str())).collect();
    assert_eq!(left, [("oslo", "no key here"), ("paris", "its issuing certificate is revoked")]);
    // Without the key of the root, the sites' lists are renewed, and reach the servers' folders.
    fs::rename(dir.join("ca.key"), pki.dir.path().join("ca.key")).unwrap();
    let report = renew_lists(dir, 5, &mut no_passphrase, &mut |_| ()).unwrap();
    assert_eq!((report.renewed.len(), report.left.len(), report.error.is_none()), (1, 3, true));
    for dir in [dir, &aggregator] {
        let text = inspect(&dir.join("crl.pem")).unwrap().to_string();
        assert!(text.contains("number 3") && text.contains("Catchment site berlin"), "{text}");
    }
    // With no key at all, that is an error.
    fs::remove_file(dir.join("site/berlin/issuer.key")).unwrap();
    let error = renew_lists(dir, 5, &mut no_passphrase, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("ca.key"), "{error}");
    // The folder of a site is its only authority.
    fs::rename(pki.dir.path().join("oslo.key"), dir.join("site/oslo/issuer.key")).unwrap();
    let report = renew_lists(&dir.join("site/oslo"), 5, &mut no_passphrase, &mut no_note).unwrap();
    assert_eq!((report.renewed.len(), report.left.len()), (1, 0));
}
