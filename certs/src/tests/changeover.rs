//! An installation with a root of an earlier version moves to a new one while everything runs.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    sites::{device, no_passphrase, openssl, site_request},
    support::{Pki, identity, no_note},
};
use crate::{
    Identity, IdentityFolder, Role,
    authority::{Authority, AuthorityError, InitOptions, RevokeWhat, add_anchors, inspect},
};

/// Replaces the root by one of the version before: path length 0. Nothing is issued yet.
fn of_version_before() -> Pki {
    let mut pki = Pki::new();
    let dir = pki.authority.dir().to_owned();
    let key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://test.example".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::remove_file(dir.join("crl.pem")).unwrap();
    pki.authority = Authority::open(&dir).unwrap();
    pki.authority.refresh_crl(30, &mut no_note).unwrap();
    pki
}

fn roots(dir: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(dir.join("ca.pem")).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Whether an identity's chain ends at the root.
fn is_from(dir: &Path, root: &CertificateDer<'_>) -> bool {
    let chain: Vec<CertificateDer<'_>> =
        CertificateDer::pem_file_iter(dir.join("cert.pem")).unwrap().collect::<Result<_, _>>().unwrap();
    let root = crate::certificate::parse(root).unwrap();
    let last = crate::certificate::parse(chain.last().unwrap()).unwrap();
    last.verify_signature(Some(root.public_key())).is_ok()
}

#[test]
fn an_old_root_gives_way_to_a_new_one() {
    let pki = of_version_before();
    let dir = pki.authority.dir().to_owned();
    let [gateway, aggregator] = [Role::Gateway, Role::Aggregator].map(|role| pki.issue(role, "x"));
    let [a, b] = ["a", "b"].map(|name| pki.issue(Role::Device, name));
    pki.authority.revoke(&RevokeWhat::Serial(b.serial.clone()), &mut no_note).unwrap();
    let error = pki.authority.site_add(&site_request("berlin"), &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::PathLength { .. }), "{error}");
    assert!(error.to_string().contains("root prepare"), "{error}");

    // Both roots in every folder; the old one issues.
    let report = pki.authority.prepare_root(&InitOptions::default(), &mut no_passphrase).unwrap();
    assert_eq!((report.roots, report.changed, report.copies), (2, 1, 4));
    let both = roots(&dir);
    for identity in [&gateway, &aggregator, &a] {
        assert_eq!(roots(&identity.dir), both);
        IdentityFolder::load(&identity.dir).unwrap();
    }
    let old = Authority::open(&dir).unwrap();
    let c = old.issue(&pki.request(Role::Device, "c"), &mut no_note).unwrap();
    assert!(is_from(&c.dir, &both[0]) && roots(&c.dir) == both);
    let again = old.prepare_root(&InitOptions::default(), &mut no_passphrase).unwrap();
    assert_eq!((again.roots, again.changed), (2, 0));
    let error = old.retire_roots(true, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("root switch"), "{error}");

    // The new root issues; what the old one issued and revoked stays so.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let new = old.switch_root(&mut no_passphrase, &mut no_note).unwrap();
    let serial = |der: &CertificateDer<'_>| crate::certificate::parse(der).unwrap().raw_serial_as_string();
    assert_eq!(roots(&dir).iter().map(serial).collect::<Vec<_>>(), [serial(&both[1]), serial(&both[0])]);
    let lists = inspect(&aggregator.dir.join("crl.pem")).unwrap().to_string();
    assert_eq!(lists.matches(&b.serial.to_string()).count(), 2, "one list of each root: {lists}");
    let error = new.retire_roots(false, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("4 certificates") && error.contains("--force"), "{error}");
    let site = Authority::open(&new.site_add(&site_request("berlin"), &mut no_note).unwrap().dir).unwrap();
    for (role, name) in [(Role::Gateway, "x"), (Role::Device, "a"), (Role::Device, "c")] {
        let renewed = site.renew(&identity(role, "berlin", name), None, &[], None, &mut no_note).unwrap();
        assert!(is_from(&renewed.dir, &both[1]));
    }
    let error = new.retire_roots(false, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("aggregator x"), "{error}");
    new.renew(&identity(Role::Aggregator, "", "x"), None, &[], None, &mut no_note).unwrap();

    // Nothing needs the old root any more.
    let report = new.retire_roots(false, &mut no_note).unwrap();
    assert_eq!((report.roots, report.changed), (1, 1));
    for identity in [&gateway, &aggregator, &a, &c] {
        assert_eq!(roots(&identity.dir), both[1..]);
        IdentityFolder::load(&identity.dir).unwrap();
    }
    assert!(!dir.join("previous.key").exists());
    // No list of the old root is left beside a ca.pem without it.
    for identity in [&gateway, &aggregator, &a, &b, &c] {
        let lists = fs::read(identity.dir.join("crl.pem")).unwrap();
        assert_eq!(lists, fs::read(dir.join("crl.pem")).unwrap(), "{}", identity.dir.display());
    }
    let lists = inspect(&aggregator.dir.join("crl.pem")).unwrap().to_string();
    assert_eq!(lists.matches(&b.serial.to_string()).count(), 1, "{lists}");
    let leaf = gateway.dir.join("cert.pem");
    let [verify, ca, untrusted] = ["verify", "-CAfile", "-untrusted"].map(Path::new);
    if let Some((good, text)) = openssl(&[verify, ca, &dir.join("ca.pem"), untrusted, &leaf, &leaf]) {
        assert!(good, "{text}");
    }
}

/// All files of a PKI folder itself.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn each_step_of_a_new_root_twice_changes_nothing() {
    let pki = Pki::new();
    let dir = pki.authority.dir().to_owned();
    let open = || Authority::open(&dir).unwrap();
    let device = pki.issue(Role::Device, "a").dir;
    let error = open().switch_root(&mut no_passphrase, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("root prepare"), "{error}");

    let prepare = || open().prepare_root(&InitOptions::default(), &mut no_passphrase);
    assert_eq!(prepare().unwrap().changed, 1);
    let before = files(&dir);
    assert_eq!(prepare().unwrap().changed, 0);
    assert_eq!(files(&dir), before);

    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert!(!open().is_switched());
    open().switch_root(&mut no_passphrase, &mut no_note).unwrap();
    let before = files(&dir);
    assert!(open().is_switched());
    let again = open().switch_root(&mut no_passphrase, &mut no_note).unwrap();
    assert_eq!(files(&dir), before);
    let error = prepare().unwrap_err().to_string();
    assert!(error.contains("root retire"), "{error}");
    assert_eq!(files(&dir), before);
    // Killed right after the key was renamed: the new root is not first, and has no list.
    let both = roots(&dir);
    let end_of_root = "-----END CERTIFICATE-----\n";
    let text = fs::read_to_string(dir.join("ca.pem")).unwrap();
    let (one, other) = text.split_at(text.find(end_of_root).unwrap() + end_of_root.len());
    let turned = other.to_owned() + one;
    for folder in [&dir, &device] {
        fs::write(folder.join("ca.pem"), &turned).unwrap();
    }
    let lists = fs::read_to_string(dir.join("crl.pem")).unwrap();
    let end = "-----END X509 CRL-----\n";
    let blocks: Vec<String> = lists.split_inclusive(end).map(str::to_owned).collect();
    assert_eq!(blocks.len(), 2);
    // The newer comes first.
    fs::write(dir.join("crl.pem"), &blocks[1]).unwrap();
    open().switch_root(&mut no_passphrase, &mut no_note).unwrap();
    assert_eq!((roots(&dir), roots(&device)), (both.clone(), both.clone()));
    assert_eq!(fs::read_to_string(dir.join("crl.pem")).unwrap().matches(end).count(), 2);

    // A device of the old root is left: retiring needs --force, but not a second time.
    let error = again.retire_roots(false, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("--force"), "{error}");
    assert_eq!(again.retire_roots(true, &mut no_note).unwrap().changed, 1);
    let before = files(&dir);
    let twice = open().retire_roots(false, &mut no_note).unwrap();
    assert_eq!((twice.changed, twice.roots), (0, 1));
    assert_eq!(files(&dir), before);
    assert!(!dir.join("previous.key").exists());
}

/// Changes the `time` of the ledger's lines of a kind.
fn retime(dir: &Path, event: &str, time: &str) {
    let path = dir.join("ledger.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.lines().map(|line| {
        let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
        if entry["event"] == event {
            entry["time"] = time.into();
        }
        entry.to_string() + "\n"
    });
    fs::write(&path, changed.collect::<String>()).unwrap();
}

#[test]
fn what_the_old_root_issued_is_told_by_the_order_of_the_ledger() {
    let pki = Pki::new();
    let dir = pki.authority.dir().to_owned();
    pki.authority.prepare_root(&InitOptions::default(), &mut no_passphrase).unwrap();
    let open = || Authority::open(&dir).unwrap();
    open().issue(&pki.request(Role::Device, "a"), &mut no_note).unwrap();
    let new = open().switch_root(&mut no_passphrase, &mut no_note).unwrap();
    // All in one second, and with a clock that was set back.
    for time in ["2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"] {
        retime(&dir, "root", time);
        retime(&dir, "issued", "2026-01-01T00:00:00Z");
        let error = new.retire_roots(false, &mut no_note).unwrap_err().to_string();
        assert!(error.contains("1 certificates") && error.contains("device berlin/a"), "{error}");
    }
    new.renew(&identity(Role::Device, "berlin", "a"), None, &[], None, &mut no_note).unwrap();
    retime(&dir, "issued", "2026-01-01T00:00:00Z");
    assert_eq!(new.retire_roots(false, &mut no_note).unwrap().changed, 1);
}

#[test]
fn what_a_site_issued_in_the_second_of_its_new_certificate_counts_as_older() {
    let pki = Pki::new();
    let dir = pki.authority.dir().to_owned();
    let (report, _) = pki.add_site("berlin");
    pki.authority.prepare_root(&InitOptions::default(), &mut no_passphrase).unwrap();
    let site = || Authority::open(&report.dir).unwrap();
    site().issue(&device("berlin", "a"), &mut no_note).unwrap();
    let new = Authority::open(&dir).unwrap().switch_root(&mut no_passphrase, &mut no_note).unwrap();
    new.site_renew(&site_request("berlin"), &mut no_passphrase, &mut no_note).unwrap();
    for event in ["root", "issuer"] {
        retime(&dir, event, "2026-01-01T00:00:00Z");
    }
    retime(&report.dir, "issued", "2026-01-01T00:00:00Z");
    let error = new.retire_roots(false, &mut no_note).unwrap_err().to_string();
    assert!(error.contains("1 certificates") && error.contains("device berlin/a"), "{error}");
    // A site that the new root made has nothing of the old one.
    let oslo = Authority::open(&new.site_add(&site_request("oslo"), &mut no_note).unwrap().dir).unwrap();
    oslo.issue(&device("oslo", "b"), &mut no_note).unwrap();
    let renewed = site().renew(&identity(Role::Device, "berlin", "a"), None, &[], None, &mut no_note);
    assert!(is_from(&renewed.unwrap().dir, &roots(&dir)[0]));
    assert_eq!(new.retire_roots(false, &mut no_note).unwrap().changed, 1);
}

#[test]
fn roots_of_another_folder_can_be_added() {
    let (pki, other) = (Pki::new(), Pki::new());
    let device = pki.issue(Role::Device, "a").dir;
    let file = other.authority.dir().join("ca.pem");
    let report = add_anchors(pki.authority.dir(), &file).unwrap();
    assert_eq!((report.roots, report.changed, report.copies), (2, 1, 1));
    assert_eq!(roots(&device).len(), 2);
    assert_eq!(add_anchors(pki.authority.dir(), &file).unwrap().changed, 0);
    // Its own root still issues.
    let issued =
        Authority::open(pki.authority.dir()).unwrap().issue(&pki.request(Role::Device, "b"), &mut no_note);
    assert!(is_from(&issued.unwrap().dir, &roots(pki.authority.dir())[0]));

    // A leaf, an issuing certificate and another trust domain are no roots of this one.
    let (report, _) = other.add_site("berlin");
    for file in [device.join("cert.pem"), report.dir.join("issuer.pem")] {
        add_anchors(pki.authority.dir(), &file).unwrap_err();
    }
    let forged = pki.dir.path().join("forged.pem");
    let key = KeyPair::generate().unwrap();
    let root_key =
        KeyPair::from_pem(&fs::read_to_string(other.authority.dir().join("ca.key")).unwrap()).unwrap();
    let root = fs::read_to_string(&file).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://test.example".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::from_ca_cert_pem(&root, root_key).unwrap();
    fs::write(&forged, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    let error = add_anchors(pki.authority.dir(), &forged).unwrap_err().to_string();
    assert!(error.contains("no root"), "{error}");
    assert_eq!(roots(pki.authority.dir()).len(), 2);
}

#[test]
fn a_ledger_with_sites_and_roots_is_skipped_line_by_line_by_versions_before() {
    let pki = Pki::new();
    pki.add_site("berlin");
    pki.issue(Role::Device, "a");
    let text = fs::read_to_string(pki.authority.dir().join("ledger.jsonl")).unwrap();
    let events: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(events, ["crl", "issuer", "issued"]);
    // And a ledger of versions before is read here.
    fs::write(pki.authority.dir().join("ledger.jsonl"), text.lines().last().unwrap().to_owned() + "\n")
        .unwrap();
    let history = pki.authority.history(&mut no_note).unwrap();
    assert!(history.issuers.is_empty() && history.root_since.is_none());
    assert!(history.issued[0].is_of(&Identity::Device(catchment_proto::id::DeviceId {
        site: "berlin".parse().unwrap(),
        name: "a".parse().unwrap(),
    })));
}
