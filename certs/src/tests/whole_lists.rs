//! `crl --add`: what the ledger knows is on the list of the present key, whatever the lists beside it say.

use std::{fs, path::Path};

use rcgen::{Issuer, KeyPair};

use super::{
    forge,
    sites::{add, device, no_passphrase, site_request},
    support::{Pki, no_note},
    two_folders::{Split, copied, names, revoke, take},
};
use crate::{
    Role, Serial,
    authority::{Passphrase, add_lists, encrypt_key},
};

#[test]
fn a_list_put_back_from_a_backup_is_followed_by_one_of_all_that_the_ledger_knows() {
    let pki = Pki::new();
    let [a, b] = ["a", "b"].map(|name| pki.issue(Role::Device, name).serial);
    let crl = pki.authority.dir().join("crl.pem");
    revoke(&pki.authority, &[&a]);
    let backup = pki.dir.path().join("backup.pem");
    fs::copy(&crl, &backup).unwrap();
    revoke(&pki.authority, &[&b]);
    // As a `revoke` that was killed between ledger and list leaves it.
    fs::copy(&backup, &crl).unwrap();
    let added = add(pki.authority.dir(), &backup);
    assert_eq!((added.added, added.taken, added.signed.as_slice()), (0, 0, &[4][..]));
    assert!(names(&crl, &[&a, &b]));
    // And then all is well.
    assert_eq!(add(pki.authority.dir(), &backup).signed.len(), 0);
}

/// A list of the key in a site's folder that is out of date, with the certificate that signed it.
fn outdated_list(folder: &Path, number: u64, serials: &[&Serial]) -> String {
    let pem = fs::read_to_string(folder.join("issuer.pem")).unwrap();
    let key = KeyPair::from_pem(&fs::read_to_string(folder.join("issuer.key")).unwrap()).unwrap();
    let mut signer = forge::root();
    signer.issuer = Issuer::from_ca_cert_pem(&pem, key).unwrap();
    pem + &forge::list(&signer, number, serials, -1).pem().unwrap()
}

/// A site whose key was replaced, and lists of the former key, which are out of date and name what no other list does.
struct Former {
    pki: Pki,
    site: std::path::PathBuf,
    lists: std::path::PathBuf,
    serial: Serial,
}

impl Former {
    fn new() -> Self {
        let pki = Pki::new();
        let (report, site) = pki.add_site("berlin");
        let serial = site.issue(&device("berlin", "a"), &mut no_note).unwrap().serial;
        let lists = pki.dir.path().join("former.pem");
        fs::write(&lists, outdated_list(&report.dir, 9, &[&serial])).unwrap();
        let mut request = site_request("berlin");
        request.key = Some(Default::default());
        pki.authority.site_renew(&request, &mut no_passphrase, &mut no_note).unwrap();
        Self { pki, site: report.dir, lists, serial }
    }
}

#[test]
fn names_on_an_outdated_list_of_a_former_key_go_on_a_new_one() {
    let Former { pki, site, lists, serial } = Former::new();
    let added = add(pki.authority.dir(), &lists);
    assert_eq!((added.added, added.known, added.taken, added.signed.len()), (0, 1, 1, 1));
    assert!(added.signed[0] > 9);
    for dir in [pki.authority.dir(), &site] {
        assert!(names(&dir.join("crl.pem"), &[&serial]));
    }
    assert_eq!(add(pki.authority.dir(), &lists).signed.len(), 0);
}

#[test]
fn without_the_key_an_outdated_list_of_a_former_key_is_not_said_to_be_taken() {
    let Former { pki, site, lists, serial } = Former::new();
    fs::rename(site.join("issuer.key"), pki.dir.path().join("issuer.key")).unwrap();
    let (added, notes) = take(pki.authority.dir(), &lists, false);
    assert_eq!((added.added, added.known), (0, 1));
    assert!(notes[0].contains(&serial.to_string()) && notes[0].contains("was replaced"), "{notes:?}");
    // Nor does a list of the present key take the place of one that alone names it.
    let present = pki.dir.path().join("present.pem");
    fs::copy(site.join("crl.pem"), &present).unwrap();
    for dir in [pki.authority.dir(), &site] {
        fs::copy(&lists, dir.join("crl.pem")).unwrap();
    }
    let root = pki.authority.refresh_crl(5, &mut no_note).unwrap();
    assert!(root.crl_number > 0);
    let (added, _) = take(pki.authority.dir(), &present, false);
    assert!(added.refused[0].contains(&serial.to_string()), "{added:?}");
    assert!(names(&pki.authority.dir().join("crl.pem"), &[&serial]));
}

#[test]
fn a_key_that_cannot_be_read_stops_only_its_own_lists() {
    let split = Split::new();
    let dir = &split.first;
    let (report, site) = split.pki.add_site("berlin");
    let [x, y] = ["x", "y"].map(|name| site.issue(&device("berlin", name), &mut no_note).unwrap().serial);
    let other = copied(&report.dir, &split.pki.dir.path().join("berlin"));
    revoke(&site, &[&x]);
    other.refresh_crl(5, &mut no_note).unwrap();
    revoke(&other, &[&y]);
    let passphrase = Passphrase::new("correct horse".to_owned()).unwrap();
    encrypt_key(&report.dir, &passphrase).unwrap();
    // The lists of both keys from elsewhere; the copy of the site has the root's list of this folder.
    let both = split.pki.dir.path().join("both.pem");
    let of_site = fs::read_to_string(other.dir().join("crl.pem")).unwrap();
    let of_site = &of_site[of_site.find("-----BEGIN CERTIFICATE").unwrap()..];
    fs::write(&both, fs::read_to_string(split.second.dir().join("crl.pem")).unwrap() + of_site).unwrap();
    let (added, _) = take(dir, &both, false);
    assert_eq!((added.taken, added.signed.len(), added.refused.len()), (2, 1, 1));
    assert!(added.refused[0].contains("site berlin") && added.refused[0].contains("issuer.key"), "{added:?}");
    assert!(names(&dir.join("crl.pem"), &split.all()) && names(&dir.join("crl.pem"), &[&x]));
    // The second time, with the passphrase.
    let added = add_lists(dir, &both, false, &mut |_| Ok(passphrase.clone()), &mut no_note).unwrap();
    assert_eq!((added.taken, added.signed.len(), added.refused.len()), (0, 1, 0));
    assert!(names(&dir.join("crl.pem"), &[&x, &y]));
}
