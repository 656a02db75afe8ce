use super::*;
use crate::{
    IdentityFolder, TrustConfig,
    tests::forge::{DAY, leaf, list, root, site, write_folder},
};

fn held(status: &TrustStatus, required: bool, now: SystemTime) -> Vec<&'static str> {
    let conditions = conditions_of(status, required, now);
    conditions.into_iter().filter_map(|(name, reason)| reason.map(|_| name)).collect()
}

#[test]
fn a_server_warns_before_list_and_certificate_end() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    // Certificate: from yesterday for ten days; list: from three days ago for six.
    let gateway = leaf(&root, "site/berlin/gateway/g");
    write_folder(dir.path(), &gateway, &[], &[&root], &[list(&root, 1, &[], 3).pem().unwrap()]);
    let status = Trust::load(dir.path(), TrustConfig::default()).unwrap().subscribe().borrow().clone();
    let now = SystemTime::now();
    assert_eq!(held(&status, true, now), [""; 0]);
    assert_eq!(held(&status, true, now + 2 * DAY), ["revocation_list_ends"]);
    assert_eq!(held(&status, true, now + 4 * DAY), ["revocation_list_outdated"]);
    assert_eq!(held(&status, false, now + 4 * DAY), ["revocation_list_ends"]);
    assert_eq!(held(&status, true, now + 7 * DAY), ["revocation_list_outdated", "certificate_ends"]);
    // The root ends with it.
    let after = held(&status, true, now + 10 * DAY);
    assert_eq!(after, ["certificate_refused", "root_not_valid", "revocation_list_outdated"]);
    assert_eq!(held(&status, true, now - 2 * DAY), ["certificate_refused", "root_not_valid"]);
    write_folder(dir.path(), &gateway, &[], &[&root], &[]);
    let status = Trust::load(dir.path(), TrustConfig::default()).unwrap().subscribe().borrow().clone();
    assert_eq!(held(&status, true, now), ["revocation_list_missing"]);
    assert_eq!(held(&status, false, now), [""; 0]);
    assert!(IdentityFolder::load(dir.path()).is_ok());
}

#[test]
fn a_certificate_of_many_years_warns_in_its_last_month() {
    let start = SystemTime::UNIX_EPOCH;
    let end = start + 3_650 * DAY;
    assert!(!is_late(start, end, CERTIFICATE_WARNING_MAX, end - 31 * DAY));
    assert!(is_late(start, end, CERTIFICATE_WARNING_MAX, end - 30 * DAY));
    assert_eq!(seconds_left(end, end - DAY), 86_400);
    assert_eq!(seconds_left(end, end + DAY), -86_400);
}

#[test]
fn a_server_whose_own_certificate_is_refused_is_not_ready_and_says_why() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    let gateway = leaf(&root, "site/berlin/gateway/g");
    write_folder(dir.path(), &gateway, &[], &[&root], &[list(&root, 1, &[], 7).pem().unwrap()]);
    let trust = Trust::load(dir.path(), TrustConfig::default()).unwrap();
    trust.add_lists(&[list(&root, 2, &[&gateway.serial], 7).der()], &[]).unwrap();
    let (status, now) = (trust.subscribe().borrow().clone(), SystemTime::now());
    let text = |now| conditions_of(&status, true, now)[0].1.clone().unwrap();
    assert!(text(now).contains("gateway") && text(now).contains("is revoked"), "{}", text(now));
    assert_eq!(CERTIFICATE_REFUSED.severity, Severity::Unready);
}

#[test]
fn the_list_of_a_site_is_missed_as_long_as_its_issuing_certificate_lasts() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    let (berlin, lyon) = (site(&root, "berlin"), site(&root, "lyon"));
    let gateway = leaf(&root, "site/berlin/gateway/g");
    let lists = [list(&root, 1, &[], 60), list(&berlin, 4, &[], 60), list(&lyon, 3, &[], 3)];
    let lists = lists.map(|list| list.pem().unwrap());
    let mut file = lists.to_vec();
    file.extend([berlin.pem.clone(), lyon.pem.clone()]);
    write_folder(dir.path(), &gateway, &[], &[&root], &file);
    let status = Trust::load(dir.path(), TrustConfig::default()).unwrap().subscribe().borrow().clone();
    let now = SystemTime::now();
    let text = |now| site_ends(&status, now);
    assert_eq!(text(now), None);
    let (soon, late) = (text(now + 2 * DAY).unwrap(), text(now + 5 * DAY).unwrap());
    assert!(soon.starts_with("revocation list 3 of site lyon ends at"), "{soon}");
    assert!(late.starts_with("revocation list 3 of site lyon was to be replaced by"), "{late}");
    assert_eq!(held(&status, true, now + 5 * DAY), ["revocation_list_ends"]);
    assert_eq!(text(now + 12 * DAY), None, "nothing below it counts");
}
