//! Renewal, revocation, the revocation list, and the listing.

use std::{fs, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::support::{Pki, identity, no_note};
use crate::{
    IdentityFolder, Role, Serial,
    authority::{AuthorityError, RevokeWhat, Status, inspect},
};

const DAY: Duration = Duration::from_secs(86_400);

fn key_of(dir: &std::path::Path) -> Vec<u8> {
    let der = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
    crate::certificate::parse(&der).unwrap().public_key().raw.to_vec()
}

#[test]
fn renewal_keeps_key_and_hosts_and_marks_the_old_one_replaced() {
    let pki = Pki::new();
    let gateway = identity(Role::Gateway, "berlin", "gw");
    let old = pki.issue(Role::Gateway, "gw");
    let (key, hosts) = (key_of(&old.dir), alt_names(&old.dir));
    let new = pki.authority.renew(&gateway, None, &[], None, &mut no_note).unwrap();
    assert_eq!((&new.dir, key_of(&new.dir), alt_names(&new.dir)), (&old.dir, key, hosts));
    assert_ne!(new.serial, old.serial);
    assert_eq!(IdentityFolder::load(&new.dir).unwrap().peer().serial, new.serial);

    let newest = pki
        .authority
        .renew(&gateway, None, &["new.example".parse().unwrap()], Some(DAY), &mut no_note)
        .unwrap();
    assert_eq!(alt_names(&newest.dir).len(), 2);
    let rows = pki.authority.list(None, &mut no_note).unwrap();
    let states: Vec<Status> = rows.iter().map(|row| row.status).collect();
    assert_eq!(states, [Status::Replaced, Status::Replaced, Status::Valid]);
    let expiring = pki.authority.list(Some(2 * DAY), &mut no_note).unwrap();
    assert_eq!(expiring.iter().map(|row| &row.serial).collect::<Vec<_>>(), [&newest.serial.to_string()]);
}

fn alt_names(dir: &std::path::Path) -> Vec<String> {
    let text = inspect(dir).unwrap().to_string();
    text.lines().filter(|line| line.starts_with("alt name:")).map(str::to_owned).collect()
}

#[test]
fn certificates_missing_from_the_ledger_are_not_renewed() {
    let (pki, other) = (Pki::new(), Pki::new());
    let foreign = other.issue(Role::Device, "a").dir;
    let device = identity(Role::Device, "berlin", "a");
    let error = pki.authority.renew(&device, Some(foreign.clone()), &[], None, &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::Unknown { .. }), "{error}");
    let error = other
        .authority
        .renew(&identity(Role::Device, "berlin", "b"), Some(foreign), &[], None, &mut no_note)
        .unwrap_err();
    assert!(error.to_string().contains("device berlin/a"), "{error}");
}

#[test]
fn revocation_increments_the_list_number_and_reaches_the_servers() {
    let pki = Pki::new();
    let gateway = pki.issue(Role::Gateway, "gw").dir;
    let device = identity(Role::Device, "berlin", "a");
    let old = pki.issue(Role::Device, "a");
    let new = pki.authority.renew(&device, None, &[], None, &mut no_note).unwrap();
    let what = RevokeWhat::Identity(device.clone());

    let report = pki.authority.revoke(&what, &mut no_note).unwrap();
    assert_eq!(report.revoked, [old.serial.clone(), new.serial.clone()]);
    assert_eq!((report.crl_number, report.listed, report.copies), (2, 2, 1));
    let again = pki.authority.revoke(&what, &mut no_note).unwrap();
    assert_eq!((again.revoked.len(), again.already.len(), again.crl_number, again.listed), (0, 2, 3, 2));
    assert_eq!(pki.authority.refresh_crl(7, &mut no_note).unwrap().crl_number, 4);

    let crl = inspect(&pki.authority.dir().join("crl.pem")).unwrap().to_string();
    assert!(crl.contains("number:        4\n") && crl.contains(&old.serial.to_string()), "{crl}");
    assert_eq!(inspect(&gateway.join("crl.pem")).unwrap().to_string(), crl);
    let error = pki.authority.renew(&device, None, &[], None, &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::Revoked { .. }), "{error}");
    let rows = pki.authority.list(None, &mut no_note).unwrap();
    assert_eq!(rows.iter().filter(|row| row.status == Status::Revoked && row.revoked.is_some()).count(), 2);

    // With a new key, the device may be issued again.
    fs::remove_dir_all(&new.dir).unwrap();
    pki.issue(Role::Device, "a");
    assert_eq!(
        pki.authority
            .list(None, &mut no_note)
            .unwrap()
            .iter()
            .filter(|row| row.status == Status::Valid)
            .count(),
        2
    );
}

#[test]
fn revoking_an_unknown_certificate_is_an_error() {
    let pki = Pki::new();
    for what in
        [RevokeWhat::Serial(Serial::random()), RevokeWhat::Identity(identity(Role::Operator, "", "nobody"))]
    {
        let error = pki.authority.revoke(&what, &mut no_note).unwrap_err();
        assert!(matches!(error, AuthorityError::Unknown { .. }), "{error}");
    }
}
