//! A copy of the lists never goes back, whatever writes it, and gets all the same what is new here.

use std::{fs, path::Path};

use super::{
    sites::{device, no_passphrase},
    support::{Pki, identity, no_note},
    two_folders::{Split, copied, names, revoke},
};
use crate::{
    Role,
    authority::{Authority, InitOptions, RenewRequest, RevokeWhat},
};

/// Puts the newer lists of the second folder into a copy.
fn bring(split: &Split, copy: &Path) {
    fs::copy(split.second.dir().join("crl.pem"), copy).unwrap();
}

#[test]
fn issue_and_renew_leave_a_newer_list_of_a_copy() {
    let split = Split::new();
    let [a, _, c] = split.all();
    let copy = split.aggregator.join("crl.pem");
    let centre = identity(Role::Aggregator, "", "centre");
    let mut notes = Vec::new();
    bring(&split, &copy);
    split.pki.authority.renew(&centre, None, &[], None, &mut |text| notes.push(text)).unwrap();
    assert!(names(&copy, &[c]) && !names(&copy, &[a]));
    assert!(notes[0].contains("list 3, newer than list 2"), "{notes:?}");
    let all = RenewRequest {
        expiring: std::time::Duration::from_secs(400 * 86_400),
        ended: false,
        role: Some(Role::Aggregator),
        site: None,
        lifetime: None,
        key: None,
    };
    notes.clear();
    let report = split.pki.authority.renew_all(&all, &mut |_, _| (), &mut |text| notes.push(text)).unwrap();
    assert_eq!((report.renewed.len(), notes.len()), (1, 1));
    assert!(names(&copy, &[c]));
    // A folder that has lists already gets its identity.
    let mut request = split.pki.request(Role::Aggregator, "other");
    let out = split.pki.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    bring(&split, &out.join("crl.pem"));
    request.out = Some(out.clone());
    notes.clear();
    split.pki.authority.issue(&request, &mut |text| notes.push(text)).unwrap();
    assert!(names(&out.join("crl.pem"), &[c]) && notes.len() == 1, "{notes:?}");
}

#[test]
fn root_retire_leaves_a_newer_list_of_a_copy() {
    let pki = Pki::new();
    let dir = pki.authority.dir().to_owned();
    pki.authority.prepare_root(&InitOptions::default(), &mut no_passphrase).unwrap();
    let new = Authority::open(&dir).unwrap().switch_root(&mut no_passphrase, &mut no_note).unwrap();
    let device = new.issue(&pki.request(Role::Device, "a"), &mut no_note).unwrap();
    let second = copied(&dir, &pki.dir.path().join("second"));
    let number = revoke(&second, &[&device.serial]);
    let copy = device.dir.join("crl.pem");
    fs::copy(second.dir().join("crl.pem"), &copy).unwrap();
    let mut notes = Vec::new();
    new.retire_roots(false, &mut |text| notes.push(text)).unwrap();
    assert!(names(&copy, &[&device.serial]) && notes[0].contains(&format!("list {number}")), "{notes:?}");
    // That of the old root is out all the same.
    assert_eq!(fs::read_to_string(&copy).unwrap().matches("BEGIN X509 CRL").count(), 1);
}

#[test]
fn one_newer_list_in_a_copy_does_not_keep_the_others_out() {
    let pki = Pki::new();
    let (report, site) = pki.add_site("berlin");
    let copy = pki.issue(Role::Aggregator, "centre").dir.join("crl.pem");
    let [a, b] = ["a", "b"].map(|name| site.issue(&device("berlin", name), &mut no_note).unwrap().serial);
    // A list of the site that came to the server and not to this folder.
    let other = copied(&report.dir, &pki.dir.path().join("berlin"));
    revoke(&other, &[&a]);
    fs::copy(other.dir().join("crl.pem"), &copy).unwrap();
    let mut notes = Vec::new();
    let what = RevokeWhat::Serial(b.clone());
    let made = pki.authority.revoke_all(&[what], None, &mut |text| notes.push(text)).unwrap();
    assert_eq!((made.copies, notes.len()), (0, 1));
    assert!(names(&copy, &[&a, &b]), "{notes:?}");
    assert!(!names(&pki.authority.dir().join("crl.pem"), &[&a]));
}
