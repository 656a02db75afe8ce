//! Many at once in a hierarchy: sites that issue for themselves, new keys, reasons of revocations.

use std::{fs, os::unix::fs::PermissionsExt as _};

use catchment_proto::id::{DeviceId, Name};
use rcgen::{CertificateParams, KeyPair};

use super::{
    batch::DAY,
    support::{Pki, identity, no_note},
};
use crate::{
    Identity, IdentityFolder, Role,
    authority::{
        Authority, AuthorityError, DeviceRow, IssueRequest, KeyKind, RenewRequest, RevocationReason,
        RevokeWhat, SignRow, inspect, list, renewing,
    },
};

fn row(site: &str, name: &str) -> DeviceRow {
    let device = DeviceId { site: Name::new(site).unwrap(), name: Name::new(name).unwrap() };
    DeviceRow { device, lifetime: Some(DAY * 5) }
}

fn device(name: &str) -> Identity {
    identity(Role::Device, "berlin", name)
}

fn renewal() -> RenewRequest {
    RenewRequest { expiring: DAY * 30, ended: false, role: None, site: None, lifetime: None, key: None }
}

/// Blocks in the `cert.pem` of an identity, which loads.
fn chain(authority: &Authority, identity: &Identity) -> usize {
    let dir = authority.identity_dir(identity);
    IdentityFolder::load(&dir).unwrap();
    inspect(&dir).unwrap().blocks.len()
}

fn request(pki: &Pki, key: &KeyPair, name: &str) -> SignRow {
    let request = pki.dir.path().join(format!("{name}.csr"));
    fs::write(&request, CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()).unwrap();
    SignRow { request, identity: device(name), lifetime: Some(DAY * 5) }
}

#[test]
fn a_site_issues_signs_and_renews_many_with_its_chain() {
    let pki = Pki::new();
    let (_, site) = pki.add_site("berlin");
    let rows = [row("berlin", "a"), row("berlin", "b")];
    assert_eq!(site.issue_rows(&rows, KeyKind::P384, &mut |_| (), &mut no_note).unwrap().issued, 2);
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let requests = [request(&pki, &keys[0], "c"), request(&pki, &keys[1], "d")];
    assert_eq!(site.sign_rows(&requests, &mut |_| (), &mut no_note).unwrap().signed.len(), 2);
    for name in ["a", "b"] {
        assert_eq!(chain(&site, &device(name)), 2);
        let shown = inspect(&site.identity_dir(&device(name))).unwrap().to_string();
        assert!(shown.contains("ECDSA P-384"), "{shown}");
    }
    for (name, key) in ["c", "d"].into_iter().zip(&keys) {
        let dir = site.identity_dir(&device(name));
        crate::files::create_file(&dir.join("key.pem"), key.serialize_pem().as_bytes(), 0o600).unwrap();
        assert_eq!(chain(&site, &device(name)), 2);
    }
    let report = site.renew_all(&renewal(), &mut |_, _| (), &mut no_note).unwrap();
    assert_eq!((report.renewed.len(), report.failed.len()), (4, 0));
    for name in ["a", "b", "c", "d"] {
        assert_eq!(chain(&site, &device(name)), 2);
    }
    // Another site's row stops the run before anything is made.
    let error = site.issue_rows(&[row("paris", "x")], KeyKind::P256, &mut |_| (), &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::OtherSite { .. }), "{error}");
}

#[test]
fn each_authority_renews_what_is_its_own() {
    let pki = Pki::new();
    // The root issued them before the site could.
    let rows = [row("berlin", "a"), row("berlin", "b"), row("paris", "a")];
    pki.authority.issue_rows(&rows, KeyKind::P256, &mut |_| (), &mut no_note).unwrap();
    let (report, site) = pki.add_site("berlin");
    let dirs = renewing(pki.authority.dir(), &renewal(), &mut no_note).unwrap();
    assert_eq!(dirs, [pki.authority.dir().to_owned(), report.dir.clone()]);
    let only = RenewRequest { site: Some(Name::new("berlin").unwrap()), ..renewal() };
    assert_eq!(
        renewing(pki.authority.dir(), &only, &mut no_note).unwrap(),
        std::slice::from_ref(&report.dir)
    );
    let renewed = pki.authority.renew_all(&renewal(), &mut |_, _| (), &mut no_note).unwrap();
    assert_eq!(
        renewed.renewed.iter().map(|(one, _)| one.to_string()).collect::<Vec<_>>(),
        ["device paris/a"]
    );
    let renewed = site.renew_all(&renewal(), &mut |_, _| (), &mut no_note).unwrap();
    assert_eq!((renewed.renewed.len(), renewed.failed.len()), (2, 0));
    assert_eq!(chain(&site, &device("a")), 2);
    // A row whose certificate of the root is valid gets no second one of the site.
    let pki = Pki::new();
    pki.authority.issue_rows(&rows, KeyKind::P256, &mut |_| (), &mut no_note).unwrap();
    let (_, site) = pki.add_site("berlin");
    fs::rename(site.identity_dir(&device("a")), pki.dir.path().join("moved")).unwrap();
    let report = site.issue_rows(&rows[..2], KeyKind::P256, &mut |_| (), &mut |_| ()).unwrap();
    assert_eq!((report.elsewhere, report.skipped), (1, 1));
    let mut notes = Vec::new();
    assert_eq!(site.revoke_missing(&rows[..2], &mut |text| notes.push(text)).unwrap(), 0);
    assert!(notes[0].contains("root has to revoke"), "{notes:?}");
}

#[test]
fn keys_are_known_between_the_root_and_a_site() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let row = request(&pki, &key, "a");
    let sign = |authority: &Authority, name: &str| {
        authority.sign(&row.request, &IssueRequest::new(device(name)), &mut no_note)
    };
    let by_root = sign(&pki.authority, "a").unwrap();
    let (_, site) = pki.add_site("berlin");
    let error = sign(&site, "b").unwrap_err();
    assert!(matches!(error, AuthorityError::KeyTaken { .. }), "{error}");
    let what = [RevokeWhat::Serial(by_root.serial)];
    pki.authority.revoke_all(&what, Some(RevocationReason::KeyCompromise), &mut no_note).unwrap();
    let error = sign(&site, "b").unwrap_err();
    assert!(error.to_string().contains("keyCompromise"), "{error}");
    // And the other way round.
    let other = request(&pki, &KeyPair::generate().unwrap(), "c");
    site.sign(&other.request, &IssueRequest::new(device("c")), &mut no_note).unwrap();
    let operator = IssueRequest::new(identity(Role::Operator, "", "ada"));
    let error = pki.authority.sign(&other.request, &operator, &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyTaken { .. }), "{error}");
}

#[test]
fn reasons_survive_in_the_lists_of_the_root_and_of_sites() {
    let pki = Pki::new();
    let (report, site) = pki.add_site("berlin");
    let rows = [row("berlin", "a"), row("berlin", "b")];
    site.issue_rows(&rows, KeyKind::P256, &mut |_| (), &mut no_note).unwrap();
    let revoke = |authority: &Authority, name: &str, reason| {
        let what = [RevokeWhat::Identity(device(name))];
        authority.revoke_all(&what, Some(reason), &mut no_note).unwrap();
    };
    let ledgers = [pki.authority.dir(), &report.dir].map(|dir| dir.join("ledger.jsonl"));
    let before: Vec<Vec<u8>> = ledgers.iter().map(|path| fs::read(path).unwrap()).collect();
    revoke(&site, "a", RevocationReason::CessationOfOperation);
    revoke(&pki.authority, "b", RevocationReason::KeyCompromise);
    // The ledgers lose the lines, and the lists have them.
    for (path, content) in ledgers.iter().zip(before) {
        fs::write(path, content).unwrap();
    }
    pki.authority.refresh_crl(5, &mut no_note).unwrap();
    site.refresh_crl(5, &mut no_note).unwrap();
    for dir in [pki.authority.dir(), &report.dir] {
        let text = inspect(&dir.join("crl.pem")).unwrap().to_string();
        assert!(text.contains("(cessationOfOperation)") && text.contains("(keyCompromise)"), "{text}");
    }
    let rows = list(pki.authority.dir(), None, &mut no_note).unwrap();
    let reasons: Vec<_> = rows.iter().filter_map(|row| row.reason).collect();
    assert_eq!(reasons, [RevocationReason::CessationOfOperation, RevocationReason::KeyCompromise]);
}

#[test]
fn a_renewal_with_a_new_key_is_finished_at_every_step() {
    for step in 0..3 {
        let pki = Pki::new();
        let dir = pki.issue(Role::Device, "a").dir;
        let old = ["key.pem", "cert.pem"].map(|file| fs::read(dir.join(file)).unwrap());
        let renewed =
            pki.authority.renew_with(&device("a"), None, &[], None, Some(KeyKind::P384), &mut no_note);
        let renewed = renewed.unwrap();
        // Interrupted after the ledger, or between the two renames; or the new key never reached the ledger.
        fs::rename(dir.join("cert.pem"), dir.join(".cert.pem.new")).unwrap();
        fs::write(dir.join("cert.pem"), &old[1]).unwrap();
        if step != 1 {
            fs::rename(dir.join("key.pem"), dir.join(".key.pem.new")).unwrap();
            fs::write(dir.join("key.pem"), &old[0]).unwrap();
            fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        }
        if step == 2 {
            fs::remove_file(dir.join(".cert.pem.new")).unwrap();
        }
        let report = pki.authority.renew_all(&renewal(), &mut |_, _| (), &mut no_note).unwrap();
        assert!(report.renewed.is_empty() && report.failed.is_empty(), "{report:?}");
        let mut notes = Vec::new();
        let serial = IdentityFolder::load(&dir).map(|folder| folder.peer().serial.clone());
        let again = pki.authority.renew(&device("a"), None, &[], None, &mut |text| notes.push(text)).unwrap();
        let folder = IdentityFolder::load(&dir).unwrap();
        assert_eq!(folder.peer().serial, again.serial);
        let text = inspect(&dir).unwrap().to_string();
        assert_eq!(text.contains("ECDSA P-384"), step < 2, "{text}");
        assert!(step == 2 || notes.len() == 1 || serial.unwrap() == renewed.serial, "{notes:?}");
        assert!(!dir.join(".key.pem.new").exists() && !dir.join(".cert.pem.new").exists());
    }
}

#[test]
fn a_new_key_replaces_one_with_a_revoked_certificate() {
    let pki = Pki::new();
    let first = pki.issue(Role::Device, "a").serial;
    pki.authority.renew(&device("a"), None, &[], None, &mut no_note).unwrap();
    pki.authority.revoke(&RevokeWhat::Serial(first), &mut no_note).unwrap();
    let error = pki.authority.renew(&device("a"), None, &[], None, &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyRevoked { .. }), "{error}");
    let renew = pki.authority.renew_with(&device("a"), None, &[], None, Some(KeyKind::P256), &mut no_note);
    IdentityFolder::load(&renew.unwrap().dir).unwrap();
}
