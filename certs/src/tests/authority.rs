//! What the authority issues, where it writes it, and what it refuses.

use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::support::{Pki, identity, no_note};
use crate::{
    FolderError, IdentityFolder, Role, TrustDomain,
    authority::{Authority, AuthorityError, IssueRequest, inspect, read_rows},
};

const DAY: Duration = Duration::from_secs(86_400);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn leaf(dir: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap()
}

#[test]
fn every_role_gets_a_folder_that_loads() {
    let pki = Pki::new();
    for role in Role::ALL {
        let issued = pki.issue(role, "x-1");
        let folder = IdentityFolder::load(&issued.dir).unwrap();
        assert_eq!(folder.peer().identity, identity(role, "berlin", "x-1"));
        assert_eq!(folder.peer().serial, issued.serial);
        assert_eq!(mode(&issued.dir.join("key.pem")), 0o600);
        for file in ["ca.pem", "crl.pem"] {
            let of_root = fs::read(pki.authority.dir().join(file)).unwrap();
            assert_eq!(fs::read(issued.dir.join(file)).unwrap(), of_root);
        }
        let text = inspect(&issued.dir).unwrap().to_string();
        assert!(text.contains(&format!("role:          {role}\n")), "{text}");
        assert!(text.contains(&issued.serial.to_string()), "{text}");
    }
    assert_eq!(mode(&pki.authority.dir().join("ca.key")), 0o600);
    assert!(pki.authority.dir().join("site/berlin/device/x-1/cert.pem").is_file());
    assert!(pki.authority.dir().join("operator/x-1/cert.pem").is_file());
}

#[test]
fn extensions_follow_the_role() {
    let pki = Pki::new();
    for (role, server, client, days) in [
        (Role::Device, false, true, 365),
        (Role::Gateway, true, true, 365),
        (Role::Aggregator, true, true, 365),
        (Role::Operator, false, true, 90),
    ] {
        let der = leaf(&pki.issue(role, "x").dir);
        let certificate = crate::certificate::parse(&der).unwrap();
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.server_auth, usage.client_auth), (server, client), "{role}");
        assert!(!certificate.is_ca());
        let validity = certificate.validity();
        let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert_eq!(seconds, days * 86_400 + 300, "{role}");
        let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), if server { 3 } else { 1 }, "{names:?}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let pki = Pki::new();
    let dir = pki.issue(Role::Device, "a").dir;
    let before = fs::read(dir.join("key.pem")).unwrap();
    let again = pki.authority.issue(&pki.request(Role::Device, "a"), &mut no_note);
    assert!(matches!(again, Err(AuthorityError::IdentityExists { .. })));
    assert_eq!(fs::read(dir.join("key.pem")).unwrap(), before);

    let domain = TrustDomain::new("other").unwrap();
    let again = Authority::init(pki.authority.dir(), &domain, 1);
    assert!(matches!(again, Err(AuthorityError::RootExists { .. })));
    fs::remove_file(pki.authority.dir().join("ca.pem")).unwrap();
    let again = Authority::init(pki.authority.dir(), &domain, 1);
    assert!(matches!(again, Err(AuthorityError::HalfRoot { .. })));
    assert!(matches!(Authority::open(pki.authority.dir()), Err(AuthorityError::HalfRoot { .. })));
}

#[test]
fn a_given_folder_may_hold_other_files_but_no_identity() {
    let pki = Pki::new();
    let mut request = pki.request(Role::Device, "a");
    let out = pki.dir.path().join("deep/er/out");
    request.out = Some(out.clone());
    assert_eq!(pki.authority.issue(&request, &mut no_note).unwrap().dir, out);
    IdentityFolder::load(&out).unwrap();
    assert!(matches!(
        pki.authority.issue(&request, &mut no_note),
        Err(AuthorityError::IdentityExists { .. })
    ));

    let own = pki.dir.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("notes.txt"), "mine").unwrap();
    request.out = Some(own.clone());
    pki.authority.issue(&request, &mut no_note).unwrap();
    IdentityFolder::load(&own).unwrap();
    assert_eq!(fs::read_to_string(own.join("notes.txt")).unwrap(), "mine");
    assert_eq!(mode(&own.join("key.pem")), 0o600);

    let with_key = pki.dir.path().join("with-key");
    fs::create_dir(&with_key).unwrap();
    fs::write(with_key.join("key.pem"), "precious").unwrap();
    request.out = Some(with_key.clone());
    assert!(matches!(
        pki.authority.issue(&request, &mut no_note),
        Err(AuthorityError::IdentityExists { .. })
    ));
    assert_eq!(fs::read_to_string(with_key.join("key.pem")).unwrap(), "precious");
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let pki = Pki::new();
    let dir = pki.authority.identity_dir(&identity(Role::Device, "berlin", "a"));
    let half = dir.with_file_name(".a.new");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("key.pem"), "half").unwrap();
    pki.issue(Role::Device, "a");
    assert!(!half.exists());
    IdentityFolder::load(&dir).unwrap();
}

#[test]
fn hosts_and_validity_must_fit() {
    let pki = Pki::new();
    let issue = |request: &IssueRequest| pki.authority.issue(request, &mut no_note);
    let mut request = pki.request(Role::Gateway, "gw");
    request.hosts.clear();
    assert!(matches!(issue(&request), Err(AuthorityError::NoHost(_))));
    let mut request = pki.request(Role::Device, "a");
    request.hosts = vec!["a.example".parse().unwrap()];
    assert!(matches!(issue(&request), Err(AuthorityError::Hosts(_))));
    let mut request = pki.request(Role::Device, "a");
    request.lifetime = Some(DAY * 3_651);
    let error = issue(&request).unwrap_err();
    assert!(
        error.to_string().contains("--days 3649 or less")
            || error.to_string().contains("--days 3650 or less"),
        "{error}"
    );
    for host in ["", "https://a", "a:80", "a b", "-", "[::1]"] {
        assert!(host.parse::<crate::authority::Host>().is_err(), "{host:?} was accepted");
    }
}

#[test]
fn a_default_validity_is_shortened_to_the_roots_end() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::init(dir.path(), &TrustDomain::new("d").unwrap(), 30).unwrap();
    let request = IssueRequest::new(identity(Role::Device, "s", "a"));
    let mut notes = Vec::new();
    let issued = authority.issue(&request, &mut |note| notes.push(note)).unwrap();
    assert_eq!(issued.not_after, authority.root_end());
    assert!(notes.len() == 1 && notes[0].contains("the root ends"), "{notes:?}");
}

#[test]
fn only_the_key_of_a_signing_request_is_used() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let mut wish = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let csr = pki.dir.path().join("csr.pem");
    let pem = wish.serialize_request(&key).unwrap().pem().unwrap();
    fs::write(&csr, &pem).unwrap();
    assert!(inspect(&csr).unwrap().to_string().contains("by its own key"));

    let request = pki.request(Role::Device, "a");
    let dir = pki.authority.sign(&csr, &request, &mut no_note).unwrap().dir;
    assert!(!dir.join("key.pem").exists());
    let der = leaf(&dir);
    let certificate = crate::certificate::parse(&der).unwrap();
    assert!(!certificate.is_ca());
    assert!(!certificate.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(certificate.subject().to_string(), "CN=a");

    // After flipping one bit in the request's body, its signature no longer matches.
    let mut der = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
    let at = der.windows(12).position(|part| part == b"evil.example").unwrap();
    der[at] ^= 1;
    fs::write(&csr, &der).unwrap();
    let error = pki.authority.sign(&csr, &pki.request(Role::Device, "b"), &mut no_note).unwrap_err();
    assert!(error.to_string().contains("not signed by the key"), "{error}");
    for junk in [&b""[..], b"junk", &der[..20]] {
        fs::write(&csr, junk).unwrap();
        assert!(pki.authority.sign(&csr, &pki.request(Role::Device, "b"), &mut no_note).is_err());
        assert!(inspect(&csr).is_err());
    }
}

#[test]
fn devices_are_issued_from_a_file_and_a_second_run_skips_them() {
    let pki = Pki::new();
    let file = pki.dir.path().join("devices.csv");
    let rows: String = (0..70).map(|i| format!("site-{},d-{i}\n", i % 3)).collect();
    fs::write(&file, format!("site,name\n{rows}site-0,d-0\n")).unwrap();
    let devices: Vec<_> = read_rows(&file).unwrap().into_iter().map(|row| row.device).collect();
    assert_eq!(devices.len(), 71);
    let mut done = Vec::new();
    let mut run = |devices: &[_]| {
        let report = pki.authority.issue_devices(devices, None, &mut |n| done.push(n), &mut no_note).unwrap();
        (report.issued, report.skipped)
    };
    assert_eq!(run(&devices[..40]), (40, 0));
    assert_eq!(run(&devices), (30, 41));
    assert_eq!(done.last(), Some(&71));
    let history = pki.authority.history(&mut no_note).unwrap();
    assert_eq!(history.issued.iter().map(|issued| &issued.serial).collect::<HashSet<_>>().len(), 70);
    for device in &devices {
        let dir = pki.authority.identity_dir(&crate::Identity::Device(device.clone()));
        assert!(IdentityFolder::load(&dir).unwrap().peer().identity.site() == Some(&device.site));
    }
}

#[test]
fn an_invalid_device_file_is_refused_as_a_whole_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("devices.csv");
    for (content, expected) in [
        ("", "header"),
        ("name\na\n", "header"),
        ("site,name,x\ns,a,b\n", "header"),
        ("site,name\ns,a\ns,b c\n", "line 3"),
        ("site,name\ns,a\ns\n", "line 3"),
        ("site,name\n../etc,a\n", "line 2"),
        ("site,name,days\ns,a,0\n", "line 2"),
        ("site,name,days\ns,a,soon\n", "line 2"),
    ] {
        fs::write(&file, content).unwrap();
        let error = read_rows(&file).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("devices.csv"), "{content:?}: {error}");
    }
    fs::write(&file, "\u{feff}name, site\r\na, s\r\n").unwrap();
    assert_eq!(read_rows(&file).unwrap()[0].device.to_string(), "s/a");
}

#[test]
fn errors_of_an_invalid_folder_name_the_file() {
    let pki = Pki::new();
    let (a, b) = (pki.issue(Role::Device, "a").dir, pki.issue(Role::Device, "b").dir);
    let message = |dir: &Path| IdentityFolder::load(dir).unwrap_err().to_string();

    fs::set_permissions(a.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(IdentityFolder::load(&a), Err(FolderError::KeyMode { .. })));
    assert!(message(&a).contains("chmod 600"));
    fs::copy(b.join("key.pem"), a.join("key.pem")).unwrap();
    fs::set_permissions(a.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(IdentityFolder::load(&a), Err(FolderError::Key { .. })));
    for file in ["cert.pem", "key.pem", "ca.pem"] {
        let whole = fs::read(b.join(file)).unwrap();
        fs::write(b.join(file), "junk").unwrap();
        assert!(message(&b).contains(file), "{}", message(&b));
        fs::remove_file(b.join(file)).unwrap();
        assert!(message(&b).contains(file), "{}", message(&b));
        crate::files::create_file(&b.join(file), &whole, 0o600).unwrap();
    }
    fs::write(b.join("crl.pem"), "").unwrap();
    assert!(message(&b).contains("crl.pem"));
    fs::remove_file(b.join("crl.pem")).unwrap();
    IdentityFolder::load(&b).unwrap();
}
