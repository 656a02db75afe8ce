//! What may be in `ca.pem`, and which root a chain ends at.

use std::time::SystemTime;

use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose, SanType};

use super::*;
use crate::{
    IdentityFolder, Trust, TrustConfig,
    tests::forge::{Ca, DAY, leaf, leaf_with, list, root, root_with, site, site_with, write_folder},
};

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn read(cas: &[&Ca]) -> Result<Anchors, AnchorError> {
    Anchors::read(cas.iter().map(|ca| ca.der.clone()).collect(), Some(&domain("d")))
}

#[test]
fn only_roots_of_the_own_trust_domain_are_anchors() {
    let good = root();
    let leaf = root_with(|params| params.is_ca = IsCa::ExplicitNoCa);
    let unsaid = root_with(|params| params.is_ca = IsCa::NoCa);
    let mute = root_with(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let other = root_with(|params| {
        params.subject_alt_names = vec![SanType::URI("spiffe://other".try_into().unwrap())];
    });
    // A certificate authority below the root, which names no site.
    let below = site_with(&good, "berlin", |params| params.subject_alt_names.clear());
    for (ca, part) in [
        (&leaf, "CA:TRUE"),
        (&unsaid, "CA:TRUE"),
        (&mute, "keyCertSign"),
        (&other, "trust domain other"),
        (&below, "not signed by its own key"),
        (&site(&good, "berlin"), "issuing certificate of site berlin"),
    ] {
        let error = read(&[&good, ca]).unwrap_err();
        assert!(error.reason.contains(part), "{}", error.reason);
        assert!(error.subject.starts_with("CN="), "{}", error.subject);
    }
    // The version before made roots of path length 0, and other tools name no URI and no key usage.
    let before = root_with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let foreign = root_with(|params| {
        (params.key_usages, params.subject_alt_names) = (Vec::new(), Vec::new());
    });
    assert_eq!(read(&[&good, &before, &foreign]).unwrap().roots().len(), 3);
}

#[test]
fn a_folder_with_a_certificate_that_is_no_root_is_refused_and_names_it() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    let device = leaf_with(&root, "site/berlin/device/evil", |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "evil");
    });
    let gateway = leaf(&root, "site/berlin/gateway/g");
    write_folder(dir.path(), &gateway, &[], &[&root], &[list(&root, 1, &[], 7).pem().unwrap()]);
    IdentityFolder::load(dir.path()).unwrap();
    std::fs::write(dir.path().join("ca.pem"), format!("{}{}", root.pem, device.pem)).unwrap();
    let error = Trust::load(dir.path(), TrustConfig::default()).unwrap_err().to_string();
    assert!(error.contains("ca.pem") && error.contains("CN=evil"), "{error}");
}

#[test]
fn a_chain_ends_at_the_root_whose_key_signed_it() {
    // All have the same name.
    let (one, other) = (root(), root());
    let anchors = read(&[&one, &other]).unwrap();
    let now = SystemTime::now();
    let key = |chain: &[_]| anchors.root_of(chain, now).map(|root| root.key.clone());
    let [first, second] = [0, 1].map(|at| Some(anchors.roots()[at].key.clone()));
    assert_eq!(key(&[leaf(&one, "site/berlin/device/a").der]), first);
    let berlin = site(&other, "berlin");
    assert_eq!(key(&[leaf(&berlin, "site/berlin/device/a").der, berlin.der.clone()]), second);
    assert_eq!(key(&[leaf(&root(), "site/berlin/device/a").der]), None);
    assert_eq!(key(&[]), None);
}

#[test]
fn a_root_outside_its_dates_does_not_count() {
    let root = root();
    let anchors = read(&[&root]).unwrap();
    let chain = [leaf(&root, "site/berlin/device/a").der];
    let now = SystemTime::now();
    assert!(anchors.root_of(&chain, now).is_some());
    for (at, part) in [(now - 2 * DAY, "not valid before"), (now + 10 * DAY, "was valid until")] {
        assert_eq!(anchors.root_of(&chain, at), None);
        let signer = anchors.signer_of(&chain).unwrap();
        assert!(signer.defect(at).unwrap().contains(part));
    }
}

#[test]
fn a_folder_whose_root_has_expired_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let old = root_with(|params| params.not_after = params.not_before + DAY / 2);
    let gateway = leaf(&old, "site/berlin/gateway/g");
    write_folder(dir.path(), &gateway, &[], &[&old, &root()], &[]);
    let error = IdentityFolder::load_in_force(dir.path()).unwrap_err().to_string();
    assert!(error.contains("was valid until") && error.contains("ca.pem"), "{error}");
    // Beside the root in force it is no error.
    let new = root();
    write_folder(dir.path(), &leaf(&new, "site/berlin/gateway/g"), &[], &[&old, &new], &[]);
    IdentityFolder::load_in_force(dir.path()).unwrap();
}
