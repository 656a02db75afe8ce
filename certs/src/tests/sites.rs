//! Issuing certificates of sites: what they issue and refuse, their lists, and that OpenSSL accepts the chains.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use catchment_proto::id::{DeviceId, Name};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::support::{Echo, Pki, TIMEOUT, identity, no_note, ping};
use crate::{
    AcceptConfig, ClientTls, IdentityFolder, Role, Serial,
    authority::{
        AddedLists, Authority, AuthorityError, IssueRequest, KeyKind, Passphrase, RevokeWhat, SiteReport,
        SiteRequest, Status, add_lists, authority_dir, by_authority, by_holder, inspect, list, sites,
    },
};

pub(super) fn site_request(site: &str) -> SiteRequest {
    SiteRequest { site: Name::new(site).unwrap(), days: None, key: None, passphrase: None }
}

impl Pki {
    pub(super) fn add_site(&self, site: &str) -> (SiteReport, Authority) {
        let report = self.authority.site_add(&site_request(site), &mut no_note).unwrap();
        let authority = Authority::open(&report.dir).unwrap();
        (report, authority)
    }
}

pub(super) fn no_passphrase(_: &Path) -> Result<Passphrase, String> {
    Err("no key is encrypted".to_owned())
}

/// Takes in lists, without a note.
pub(super) fn add(dir: &Path, file: &Path) -> AddedLists {
    let added = add_lists(dir, file, false, &mut no_passphrase, &mut no_note).unwrap();
    assert_eq!(added.refused, Vec::<String>::new());
    added
}

pub(super) fn device(site: &str, name: &str) -> IssueRequest {
    IssueRequest::new(identity(Role::Device, site, name))
}

/// The output of OpenSSL; `None` where it is not installed.
pub(super) fn openssl(arguments: &[&Path]) -> Option<(bool, String)> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text.into_owned()))
}

/// Whether OpenSSL verifies a leaf with its chain.
fn verified(root: &Path, issuer: &Path, leaf: &Path) -> Option<bool> {
    let [verify, ca, untrusted] = ["verify", "-CAfile", "-untrusted"].map(Path::new);
    openssl(&[verify, ca, root, untrusted, issuer, leaf]).map(|(success, _)| success)
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().collect::<Result<_, _>>().unwrap()
}

fn serials_on(list: &Path) -> String {
    inspect(list).unwrap().to_string()
}

fn files_of(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_site_issues_chains_that_openssl_verifies() {
    let pki = Pki::new();
    let (report, site) = pki.add_site("berlin");
    let root = pki.authority.dir().join("ca.pem");
    assert_eq!(
        files_of(&report.dir),
        [".lock", "ca.pem", "crl.pem", "issuer.key", "issuer.pem", "ledger.jsonl"]
    );
    let issued = site.issue(&device("berlin", "a"), &mut no_note).unwrap();
    assert_eq!(issued.dir, pki.authority.dir().join("site/berlin/device/a"));
    let folder = IdentityFolder::load(&issued.dir).unwrap();
    assert_eq!(folder.peer().serial, issued.serial);
    let chain = certificates(&issued.dir.join("cert.pem"));
    assert_eq!(chain[1..], certificates(&report.dir.join("issuer.pem")));

    let der = &chain[1];
    let issuer = crate::certificate::parse(der).unwrap();
    let constraints = issuer.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = issuer.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    let uri = crate::certificate::single_uri(&issuer).unwrap();
    assert_eq!(uri, "spiffe://test.example/site/berlin");
    let serial = report.serial.to_string();
    let name = format!("CN=Catchment site berlin {}", &serial[serial.len() - 8..]);
    assert!(issuer.subject().to_string().contains(&name), "{}", issuer.subject());
    let der = certificates(&root).remove(0);
    let root_certificate = crate::certificate::parse(&der).unwrap();
    let constraints = root_certificate.basic_constraints().unwrap().unwrap().value;
    assert_eq!(constraints.path_len_constraint, Some(1));

    let leaf = issued.dir.join("cert.pem");
    if let Some(good) = verified(&root, &report.dir.join("issuer.pem"), &leaf) {
        assert!(good);
        // Without the issuing certificate of the right site there is no chain.
        let (other, _) = pki.add_site("hamburg");
        assert_eq!(verified(&root, &other.dir.join("issuer.pem"), &leaf), Some(false));
        let [asn1, input] = ["asn1parse", "-in"].map(Path::new);
        let (_, text) = openssl(&[asn1, input, &report.dir.join("issuer.pem")]).unwrap();
        assert!(text.contains("X509v3 Basic Constraints") && text.contains("X509v3 Key Usage"), "{text}");
    }
}

#[test]
fn a_site_issues_for_itself_alone() {
    let pki = Pki::new();
    let (_, site) = pki.add_site("berlin");
    for (role, place) in [(Role::Device, "hamburg"), (Role::Operator, ""), (Role::Aggregator, "")] {
        let mut request = IssueRequest::new(identity(role, place, "x"));
        if role.is_server() {
            request.hosts = vec!["localhost".parse().unwrap()];
        }
        let error = site.issue(&request, &mut no_note).unwrap_err();
        assert!(matches!(error, AuthorityError::OtherSite { .. }), "{error}");
        assert!(error.to_string().contains("site berlin only"), "{error}");
    }
    assert_eq!(site.history(&mut no_note).unwrap().issued.len(), 0);
    let error = site.site_add(&site_request("x"), &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::NotRoot { .. }), "{error}");
    let error = pki.authority.site_add(&site_request("berlin"), &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::SiteExists { .. }), "{error}");
}

#[test]
fn a_copy_of_a_sites_folder_works_without_a_root_key() {
    let pki = Pki::new();
    let (report, _) = pki.add_site("berlin");
    let copy = pki.dir.path().join("elsewhere");
    fs::create_dir(&copy).unwrap();
    for file in ["ca.pem", "crl.pem", "issuer.key", "issuer.pem", "ledger.jsonl"] {
        fs::copy(report.dir.join(file), copy.join(file)).unwrap();
    }
    let site = Authority::open(&copy).unwrap();
    let issued = site.issue(&device("berlin", "a"), &mut no_note).unwrap();
    assert_eq!(issued.dir, copy.join("device/a"));
    let report = site.revoke(&RevokeWhat::Serial(issued.serial.clone()), &mut no_note).unwrap();
    assert_eq!((report.listed, report.crl_number), (1, 2));
    let error =
        site.renew(&identity(Role::Device, "berlin", "a"), None, &[], None, &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::Revoked { .. }), "{error}");
    assert_eq!(list(&copy, None, &mut no_note).unwrap()[0].status, Status::Revoked);

    // The centre takes the list of the site in, and gives it to its servers.
    let aggregator = pki.issue(Role::Aggregator, "centre").dir;
    // The key is there too, so the revocation goes into its ledger. The list has all, so it counts as it is.
    let added = add(pki.authority.dir(), &copy.join("crl.pem"));
    assert_eq!((added.added, added.known, added.copies, added.taken), (1, 1, 1, 1));
    assert!(added.signed.is_empty());
    for dir in [pki.authority.dir(), &aggregator, &pki.authority.dir().join("site/berlin")] {
        assert!(serials_on(&dir.join("crl.pem")).contains(&issued.serial.to_string()), "{}", dir.display());
    }
    // An older list changes nothing.
    let older = pki.dir.path().join("older.pem");
    fs::copy(copy.join("crl.pem"), &older).unwrap();
    site.refresh_crl(5, &mut no_note).unwrap();
    assert_eq!(add(pki.authority.dir(), &copy.join("crl.pem")).added, 1);
    assert_eq!(add(pki.authority.dir(), &older).added, 0);

    // A stranger's list counts nowhere.
    let other = Pki::new();
    let strange = other.authority.dir().join("crl.pem");
    let error = add_lists(&copy, &strange, false, &mut no_passphrase, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("crl.pem"), "{error}");
}

#[test]
fn the_root_revokes_what_a_site_issued_and_all_copies_hold_all_lists() {
    let pki = Pki::new();
    let (berlin, site) = pki.add_site("berlin");
    let (hamburg, other) = pki.add_site("hamburg");
    let mut gateway = IssueRequest::new(identity(Role::Gateway, "berlin", "gw"));
    gateway.hosts = vec!["localhost".parse().unwrap()];
    let gateway = site.issue(&gateway, &mut no_note).unwrap().dir;
    let aggregator = pki.issue(Role::Aggregator, "centre").dir;
    let [a, b] = ["a", "b"].map(|name| site.issue(&device("berlin", name), &mut no_note).unwrap().serial);
    let c = other.issue(&device("hamburg", "c"), &mut no_note).unwrap().serial;

    assert_eq!(site.revoke(&RevokeWhat::Serial(a.clone()), &mut no_note).unwrap().listed, 1);
    let error = site.revoke(&RevokeWhat::Serial(c.clone()), &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::Unknown { .. }), "{error}");
    let what = RevokeWhat::Identity(identity(Role::Device, "berlin", "b"));
    assert_eq!(pki.authority.revoke(&what, &mut no_note).unwrap().revoked, std::slice::from_ref(&b));
    assert_eq!(pki.authority.revoke(&RevokeWhat::Serial(c.clone()), &mut no_note).unwrap().listed, 2);

    let all = fs::read(pki.authority.dir().join("crl.pem")).unwrap();
    for dir in [&gateway, &aggregator] {
        assert_eq!(fs::read(dir.join("crl.pem")).unwrap(), all, "{}", dir.display());
    }
    let text = serials_on(&pki.authority.dir().join("crl.pem"));
    for serial in [&a, &b, &c] {
        assert!(text.contains(&serial.to_string()), "{text}");
    }
    assert_eq!(text.matches("A revocation list").count(), 3, "{text}");
    // A site holds the root's list and its own, and knows what the root revoked.
    for (dir, foreign) in [(&berlin.dir, "hamburg"), (&hamburg.dir, "berlin")] {
        let text = serials_on(&dir.join("crl.pem"));
        assert_eq!(text.matches("A revocation list").count(), 2, "{text}");
        assert!(!text.contains(foreign) && text.contains(&b.to_string()), "{text}");
    }
    let rows = list(pki.authority.dir(), None, &mut no_note).unwrap();
    let revoked = rows.iter().filter(|row| row.status == Status::Revoked).count();
    assert_eq!((rows.len(), revoked), (5, 3));
    let renewed = site.renew(&identity(Role::Device, "berlin", "b"), None, &[], None, &mut no_note);
    assert!(matches!(renewed, Err(AuthorityError::Revoked { .. })));
}

#[test]
fn unknown_serials_and_issuing_certificates_can_be_revoked() {
    let pki = Pki::new();
    let (report, _) = pki.add_site("berlin");
    let nobody = Serial::random();
    let error = pki.authority.revoke(&RevokeWhat::Serial(nobody.clone()), &mut no_note).unwrap_err();
    assert!(error.to_string().contains("--unknown"), "{error}");
    assert_eq!(pki.authority.revoke(&RevokeWhat::Unknown(nobody), &mut no_note).unwrap().listed, 1);
    let what = RevokeWhat::Issuer(Name::new("berlin").unwrap());
    let revoked = pki.authority.revoke(&what, &mut |_| ()).unwrap();
    assert_eq!(revoked.revoked, std::slice::from_ref(&report.serial));
    assert_eq!(sites(pki.authority.dir(), &mut |_| ()).unwrap()[0].status, Status::Revoked);
    // The list of a revoked issuing certificate is in no copy: servers would refuse it.
    let text = serials_on(&pki.authority.dir().join("crl.pem"));
    assert_eq!(text.matches("A revocation list").count(), 1, "{text}");
    let error = Authority::open(&report.dir).unwrap_err().to_string();
    assert!(error.contains("issuer.pem") && error.contains("site renew --key"), "{error}");
    // Its key is not certified again, but a new one is.
    let mut request = site_request("berlin");
    let error = pki.authority.site_renew(&request, &mut |_| Err(String::new()), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
    request.key = Some(Default::default());
    pki.authority.site_renew(&request, &mut |_| Err(String::new()), &mut |_| ()).unwrap();
    let site = Authority::open(&report.dir).unwrap();
    let issued = site.issue(&device("berlin", "a"), &mut no_note).unwrap();
    IdentityFolder::load(&issued.dir).unwrap();
    assert_eq!(sites(pki.authority.dir(), &mut no_note).unwrap()[0].status, Status::Valid);
}

#[test]
fn renewing_a_sites_certificate_keeps_its_leaves_valid() {
    let pki = Pki::new();
    let (report, site) = pki.add_site("berlin");
    let old = site.issue(&device("berlin", "a"), &mut no_note).unwrap();
    let mut no_passphrase = |_: &Path| Err(String::new());
    let renewed =
        pki.authority.site_renew(&site_request("berlin"), &mut no_passphrase, &mut no_note).unwrap();
    assert_ne!(renewed.serial, report.serial);
    let root = pki.authority.dir().join("ca.pem");
    let leaf = old.dir.join("cert.pem");
    // The old leaf brings the old issuing certificate.
    assert!(verified(&root, &leaf, &leaf).unwrap_or(true));
    let site = Authority::open(&report.dir).unwrap();
    let device_a = identity(Role::Device, "berlin", "a");
    let new = site.renew(&device_a, None, &[], None, &mut no_note).unwrap();
    assert!(verified(&root, &report.dir.join("issuer.pem"), &new.dir.join("cert.pem")).unwrap_or(true));
    assert_eq!(certificates(&new.dir.join("cert.pem"))[1..], certificates(&report.dir.join("issuer.pem")));
    // Numbers of lists rise across the change.
    assert_eq!(site.refresh_crl(5, &mut no_note).unwrap().crl_number, 3);
    assert_eq!(serials_on(&report.dir.join("crl.pem")).matches("revocation list").count(), 2);

    // A key that was exchanged up to its certificate is taken over.
    let mut request = site_request("berlin");
    request.key = Some(Default::default());
    let old_key = fs::read(report.dir.join("issuer.key")).unwrap();
    pki.authority.site_renew(&request, &mut no_passphrase, &mut no_note).unwrap();
    fs::rename(report.dir.join("issuer.key"), report.dir.join("next.key")).unwrap();
    fs::write(report.dir.join("issuer.key"), &old_key).unwrap();
    Authority::open(&report.dir).unwrap();
    assert!(!report.dir.join("next.key").exists());
    fs::write(report.dir.join("issuer.key"), &old_key).unwrap();
    let error = Authority::open(&report.dir).unwrap_err();
    assert!(error.to_string().contains("issuer.pem"), "{error}");
}

#[test]
fn a_site_takes_over_what_the_root_issued_for_it() {
    let pki = Pki::new();
    let by_root = pki.issue(Role::Device, "a");
    let (report, site) = pki.add_site("berlin");
    let a = identity(Role::Device, "berlin", "a");
    let holders = || {
        let groups = by_holder(pki.authority.dir(), vec![RevokeWhat::Identity(a.clone())], None);
        groups.into_iter().map(|(dir, _)| dir).collect::<Vec<_>>()
    };
    assert_eq!(holders(), [pki.authority.dir().to_owned()]);
    let renewed = site.renew(&a, None, &[], None, &mut no_note).unwrap();
    assert_eq!(renewed.dir, by_root.dir);
    assert_eq!(certificates(&renewed.dir.join("cert.pem")).len(), 2);
    assert_eq!(holders(), [pki.authority.dir().to_owned(), report.dir.clone()]);
    let rows = list(pki.authority.dir(), None, &mut no_note).unwrap();
    let statuses: Vec<Status> = rows.iter().map(|row| row.status).collect();
    assert!(rows.len() == 2 && statuses.contains(&Status::Replaced) && statuses.contains(&Status::Valid));

    let rows = ["berlin", "hamburg", "berlin"]
        .map(|site| DeviceId { site: Name::new(site).unwrap(), name: Name::new("x").unwrap() });
    let groups = by_authority(pki.authority.dir(), rows.to_vec(), |row| Some(&row.site));
    let sizes: Vec<(PathBuf, usize)> = groups.into_iter().map(|(dir, rows)| (dir, rows.len())).collect();
    assert_eq!(sizes, [(pki.authority.dir().to_owned(), 1), (report.dir.clone(), 2)]);
    assert_eq!(authority_dir(&report.dir, Some(&rows[1].site)), report.dir);
    fs::remove_file(report.dir.join("issuer.key")).unwrap();
    assert_eq!(authority_dir(pki.authority.dir(), Some(&rows[0].site)), pki.authority.dir());
    assert_eq!(sites(pki.authority.dir(), &mut no_note).unwrap()[0].key, "elsewhere");
}

#[tokio::test]
async fn identities_of_a_site_connect_with_those_of_the_site_and_of_the_root() {
    let pki = Pki::new();
    let (_, site) = pki.add_site("berlin");
    let mut gateway = IssueRequest::new(identity(Role::Gateway, "berlin", "gw"));
    gateway.hosts = vec!["localhost".parse().unwrap()];
    gateway.key = KeyKind::P384;
    let gateway = site.issue(&gateway, &mut no_note).unwrap().dir;
    let mut echo = Echo::start(&IdentityFolder::load(&gateway).unwrap(), AcceptConfig::default()).await;
    let by_site = site.issue(&device("berlin", "a"), &mut no_note).unwrap();
    let by_root = pki.issue(Role::Device, "b");
    for issued in [by_site, by_root] {
        let tls = ClientTls::new(&IdentityFolder::load(&issued.dir).unwrap(), &[]).unwrap();
        let connected = tls.connect("localhost", echo.addr.port(), Role::Gateway, TIMEOUT).await;
        let (mut stream, server) = connected.unwrap();
        ping(&mut stream).await.unwrap();
        assert_eq!(server.identity, identity(Role::Gateway, "berlin", "gw"));
        assert_eq!(echo.peers.recv().await.unwrap().serial, issued.serial);
    }
}
