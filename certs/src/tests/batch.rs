//! Many at once: issued, signed, renewed and revoked, also after an interruption at every step.

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

use catchment_proto::id::{DeviceId, Name};
use rcgen::{CertificateParams, KeyPair};

use super::support::{Pki, identity, no_note};
use crate::{
    Identity, IdentityFolder, Role,
    authority::{
        Authority, DeviceRow, IssueRequest, KeyKind, RenewRequest, RevokeWhat, SignReport, Status,
        read_revocations, requests_from, requests_in,
    },
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

fn rows(count: usize) -> Vec<DeviceRow> {
    let name = |text: String| Name::new(&text).unwrap();
    let device = |i: usize| DeviceId { site: name(format!("site-{}", i % 3)), name: name(format!("d-{i}")) };
    (0..count).map(|i| DeviceRow { device: device(i), lifetime: None }).collect()
}

fn issue(authority: &Authority, rows: &[DeviceRow]) -> [u64; 4] {
    let report = authority.issue_rows(rows, KeyKind::default(), &mut |_| (), &mut |_| ()).unwrap();
    [report.issued, report.finished, report.skipped, report.elsewhere]
}

/// The number of valid certificates of each name.
fn valid(authority: &Authority) -> HashMap<String, usize> {
    let mut valid = HashMap::new();
    for row in authority.list(None, &mut no_note).unwrap() {
        if matches!(row.status, Status::Valid | Status::Replaced) {
            *valid.entry(row.name).or_insert(0) += 1;
        }
    }
    valid
}

/// Moves the folder of a row back to where it is before it appears.
fn unpublish(authority: &Authority, row: &DeviceRow) -> (PathBuf, PathBuf) {
    let dir = authority.identity_dir(&Identity::Device(row.device.clone()));
    let staged = dir.with_file_name(format!(".{}.new", row.device.name));
    fs::rename(&dir, &staged).unwrap();
    (dir, staged)
}

#[test]
fn an_interrupted_run_is_finished_with_one_certificate_a_row() {
    let pki = Pki::new();
    let (authority, rows) = (&pki.authority, rows(220));
    assert_eq!(issue(authority, &rows[..180]), [180, 0, 0, 0]);
    // Killed after the ledger, before the folders: they are finished.
    for row in &rows[..7] {
        unpublish(authority, row);
    }
    // Killed before the ledger: the staged folder has a certificate that was never issued.
    let other = Pki::new();
    let staged = other.issue(Role::Device, "d-200").dir;
    let dir = authority.identity_dir(&Identity::Device(rows[200].device.clone()));
    let never_issued = dir.with_file_name(".d-200.new");
    fs::rename(staged, &never_issued).unwrap();
    // Staged, but torn by a crash of the machine.
    let torn = dir.with_file_name(".d-203.new");
    fs::create_dir_all(&torn).unwrap();
    fs::write(torn.join("cert.pem"), "-----BEGIN CERT").unwrap();

    assert_eq!(issue(authority, &rows), [40, 7, 173, 0]);
    assert!(!never_issued.exists() && !torn.exists());
    assert!(valid(authority).len() == 220 && valid(authority).values().all(|count| *count == 1));
    for row in rows.iter().step_by(10).chain(&rows[..7]) {
        let dir = authority.identity_dir(&Identity::Device(row.device.clone()));
        IdentityFolder::load(&dir).unwrap();
    }
    assert_eq!(issue(authority, &rows), [0, 0, 220, 0]);
}

#[test]
fn a_single_request_finishes_an_interrupted_one_too() {
    let pki = Pki::new();
    let row = &rows(1)[0];
    issue(&pki.authority, std::slice::from_ref(row));
    let (dir, _) = unpublish(&pki.authority, row);
    let mut notes = Vec::new();
    let request = IssueRequest::new(Identity::Device(row.device.clone()));
    let issued = pki.authority.issue(&request, &mut |note| notes.push(note)).unwrap();
    assert!(issued.dir == dir && notes.len() == 1 && notes[0].contains("interrupted"), "{notes:?}");
    assert_eq!(IdentityFolder::load(&dir).unwrap().peer().serial, issued.serial);
    assert_eq!(valid(&pki.authority)["d-0"], 1);
}

#[test]
fn a_revoked_staged_folder_is_not_finished() {
    let pki = Pki::new();
    let row = &rows(1)[0];
    issue(&pki.authority, std::slice::from_ref(row));
    unpublish(&pki.authority, row);
    let what = RevokeWhat::Identity(Identity::Device(row.device.clone()));
    pki.authority.revoke(&what, &mut no_note).unwrap();
    assert_eq!(issue(&pki.authority, std::slice::from_ref(row)), [1, 0, 0, 0]);
    assert_eq!(valid(&pki.authority)["d-0"], 1);
}

#[test]
fn a_row_whose_folder_is_elsewhere_gets_no_second_certificate() {
    let pki = Pki::new();
    let (authority, mut rows) = (&pki.authority, rows(12));
    rows[3].lifetime = Some(DAY * 3);
    issue(authority, &rows);
    assert!(
        authority.list(Some(DAY * 4), &mut no_note).unwrap().iter().map(|row| row.name.as_str()).eq(["d-3"])
    );
    let dir = authority.identity_dir(&Identity::Device(rows[5].device.clone()));
    fs::rename(&dir, pki.dir.path().join("moved")).unwrap();
    assert_eq!(issue(authority, &rows), [0, 0, 11, 1]);
    assert_eq!(authority.revoke_missing(&rows, &mut no_note).unwrap(), 1);
    assert_eq!(issue(authority, &rows), [1, 0, 11, 0]);
    assert!(valid(authority).len() == 12 && valid(authority).values().all(|count| *count == 1));
    assert_eq!(authority.revoke_missing(&rows, &mut no_note).unwrap(), 0);
}

fn request(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

fn sign(pki: &Pki) -> SignReport {
    let (rows, mut refused) =
        requests_in(&pki.dir.path().join("csr"), &Name::new("berlin").unwrap(), None).unwrap();
    let mut report = pki.authority.sign_rows(&rows, &mut |_| (), &mut no_note).unwrap();
    report.refused.append(&mut refused);
    report
}

#[test]
fn a_folder_of_requests_is_signed_and_bad_ones_are_listed() {
    let pki = Pki::new();
    let dir = pki.dir.path().join("csr");
    fs::create_dir(&dir).unwrap();
    let keys: Vec<KeyPair> = (0..5).map(|_| KeyPair::generate().unwrap()).collect();
    for (index, key) in keys.iter().enumerate() {
        fs::write(dir.join(format!("d-{index}.csr")), request(key)).unwrap();
    }
    fs::write(dir.join("junk.csr"), "junk").unwrap();
    fs::write(dir.join("same-key.csr"), request(&keys[0])).unwrap();
    fs::write(dir.join("a b.csr"), request(&keys[0])).unwrap();
    fs::write(dir.join("notes.md"), "").unwrap();
    fs::write(dir.join(".hidden"), "").unwrap();
    let report = sign(&pki);
    assert_eq!((report.signed.len(), report.skipped), (5, 0));
    let mut names: Vec<String> = report.refused.iter().map(|one| one.error.clone()).collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    for (error, expected) in
        names.iter().zip(["map it in a CSV", "no PEM block", "must end in", "belongs to"])
    {
        assert!(error.contains(expected), "{error}");
    }
    // The same again signs nothing, and finishes what was interrupted.
    let one = pki.authority.identity_dir(&identity(Role::Device, "berlin", "d-1"));
    fs::rename(&one, one.with_file_name(".d-1.new")).unwrap();
    let report = sign(&pki);
    assert_eq!((report.signed.len(), report.finished, report.skipped), (0, 1, 4));
    // A new key under an old name is reported, not skipped.
    fs::write(dir.join("d-2.csr"), request(&KeyPair::generate().unwrap())).unwrap();
    let report = sign(&pki);
    assert_eq!((report.skipped, report.refused.len()), (4, 5));
    assert!(report.refused.iter().any(|one| one.error.contains("another key")), "{:?}", report.refused);
    assert!(valid(&pki.authority).values().all(|count| *count == 1));
}

#[test]
fn a_csv_file_maps_requests_to_devices() {
    let pki = Pki::new();
    let at = |name: &str| pki.dir.path().join(name);
    fs::write(at("one.pem"), request(&KeyPair::generate().unwrap())).unwrap();
    fs::write(
        at("map.csv"),
        "csr,site,name,days\none.pem,paris,a,5\nmissing.pem,paris,b,\none.pem,paris,a,\n",
    )
    .unwrap();
    let rows = requests_from(&at("map.csv"), None).unwrap();
    let report = pki.authority.sign_rows(&rows, &mut |_| (), &mut no_note).unwrap();
    assert_eq!((report.signed.len(), report.refused.len()), (1, 2), "{report:?}");
    assert!(report.refused[0].error.contains("missing.pem"), "{report:?}");
    let row = &pki.authority.list(Some(DAY * 6), &mut no_note).unwrap()[0];
    assert_eq!((row.site.as_deref(), row.name.as_str()), (Some("paris"), "a"));
}

#[test]
fn all_that_expire_soon_are_renewed_also_after_an_interruption() {
    let pki = Pki::new();
    let authority = &pki.authority;
    let mut rows = rows(20);
    rows[..8].iter_mut().for_each(|row| row.lifetime = Some(DAY * 5));
    issue(authority, &rows);
    pki.issue(Role::Gateway, "gw");
    let of = |row: &DeviceRow| Identity::Device(row.device.clone());
    authority.revoke(&RevokeWhat::Identity(of(&rows[0])), &mut no_note).unwrap();
    fs::rename(authority.identity_dir(&of(&rows[1])), pki.dir.path().join("moved")).unwrap();
    let request = RenewRequest {
        expiring: DAY * 30,
        ended: false,
        role: None,
        site: None,
        lifetime: Some(DAY * 90),
        key: None,
    };
    let renew = |request: &RenewRequest| {
        let report = authority.renew_all(request, &mut |_, _| (), &mut no_note).unwrap();
        (report.renewed.len(), report.finished, report.failed.len())
    };
    let of_paris = RenewRequest { site: Some(Name::new("site-0").unwrap()), ..request.clone() };
    // d-3 and d-6; d-0 is revoked.
    assert_eq!(renew(&of_paris), (2, 0, 0));
    // The renewal of d-3 was interrupted: old certificate in place, new one staged and in the ledger.
    let dir = authority.identity_dir(&of(&rows[3]));
    fs::rename(dir.join("cert.pem"), dir.join(".cert.pem.new")).unwrap();
    let old = authority.identity_dir(&of(&rows[4]));
    fs::copy(old.join("cert.pem"), dir.join("cert.pem")).unwrap();
    assert_eq!(renew(&request), (4, 1, 1));
    assert_eq!(renew(&request), (0, 0, 1), "only the one whose folder is elsewhere is left");
    for row in &rows[2..] {
        let folder = IdentityFolder::load(&authority.identity_dir(&of(row))).unwrap();
        assert!(folder.peer().not_after > std::time::SystemTime::now() + DAY * 80);
    }
}

#[test]
fn ended_certificates_are_renewed_only_if_asked_for() {
    let pki = Pki::new();
    let mut request = pki.request(Role::Device, "a");
    request.start = Some(std::time::SystemTime::now() - DAY * 3);
    request.lifetime = Some(DAY);
    pki.authority.issue(&request, &mut no_note).unwrap();
    let mut request =
        RenewRequest { expiring: DAY, ended: false, role: None, site: None, lifetime: None, key: None };
    let report = pki.authority.renew_all(&request, &mut |_, _| (), &mut no_note).unwrap();
    assert_eq!((report.renewed.len(), report.ended), (0, 1));
    request.ended = true;
    let report = pki.authority.renew_all(&request, &mut |_, _| (), &mut no_note).unwrap();
    assert_eq!((report.renewed.len(), report.ended), (1, 0));
}

#[test]
fn many_are_revoked_by_one_list() {
    let pki = Pki::new();
    issue(&pki.authority, &rows(6));
    let operator = pki.issue(Role::Operator, "ada");
    let file = pki.dir.path().join("revoke.csv");
    let read = |content: &str| {
        fs::write(&file, content).unwrap();
        read_revocations(&file)
    };
    let what = read("site,name\nsite-0,d-0\nsite-1,d-1\nsite-9,nobody\nsite-0,d-0\n").unwrap();
    let report = pki.authority.revoke_all(&what, None, &mut no_note).unwrap();
    assert_eq!((report.revoked.len(), report.already.len(), report.unknown.len()), (2, 0, 1));
    assert_eq!((report.listed, report.crl_number), (2, 2));
    let what = read("role,site,name\noperator,,ada\ndevice,site-2,d-2\n").unwrap();
    assert_eq!(pki.authority.revoke_all(&what, None, &mut no_note).unwrap().listed, 4);
    let what = read(&format!("serial\n{}\n", operator.serial)).unwrap();
    assert_eq!(pki.authority.revoke_all(&what, None, &mut no_note).unwrap().already.len(), 1);
    // Nothing found: no list is written.
    let what = read("serial\n4b\n").unwrap();
    assert_eq!(pki.authority.revoke_all(&what, None, &mut no_note).unwrap().crl_number, 0);
    for (content, expected) in [
        ("role,site,name\nking,,a\n", "line 2"),
        ("role,site,name\noperator,berlin,a\n", "has no site"),
        ("serial\nxyz\n", "line 2"),
        ("name\na\n", "header"),
    ] {
        let error = read(content).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
