//! The ledger keeps every line, despite concurrent writers, crashes and damage.

use std::{collections::HashSet, fs, io::Write as _, path::PathBuf};

use super::support::{Pki, identity, no_note};
use crate::{
    Role,
    authority::{Authority, AuthorityError, RevokeWhat, Status, list},
};

fn ledger(pki: &Pki) -> PathBuf {
    pki.authority.dir().join("ledger.jsonl")
}

#[test]
fn concurrent_authorities_keep_every_line() {
    let pki = Pki::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pki = &pki;
            scope.spawn(move || {
                let authority = Authority::open(pki.authority.dir()).unwrap();
                for i in 0..20 {
                    let request = pki.request(Role::Device, &format!("d-{thread}-{i}"));
                    authority.issue(&request, &mut no_note).unwrap();
                    if i % 7 == 0 {
                        authority.refresh_crl(1, &mut no_note).unwrap();
                    }
                }
            });
        }
    });
    let history = pki.authority.history(&mut no_note).unwrap();
    assert_eq!(history.issued.len(), 80);
    assert_eq!(history.issued.iter().map(|one| &one.serial).collect::<HashSet<_>>().len(), 80);
    assert_eq!(history.issued.iter().map(|one| &one.name).collect::<HashSet<_>>().len(), 80);
    // One list from `init`, then three from each of four threads, each with a new number.
    assert_eq!(history.crl_number, 13);
}

#[test]
fn a_torn_last_line_is_reported_and_cut() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let whole = fs::read(ledger(&pki)).unwrap();
    for torn in [&br#"{"event":"issued","ser"#[..], &[0xff; 9000]] {
        fs::OpenOptions::new().append(true).open(ledger(&pki)).unwrap().write_all(torn).unwrap();
        let mut notes = Vec::new();
        let history = pki.authority.history(&mut |note| notes.push(note)).unwrap();
        assert_eq!(history.issued.len(), 1);
        assert!(notes.len() == 1 && notes[0].contains("ledger.jsonl"), "{notes:?}");
        // The next entry has its own line.
        notes.clear();
        let name = format!("b-{}", torn.len());
        pki.authority.issue(&pki.request(Role::Device, &name), &mut |note| notes.push(note)).unwrap();
        assert_eq!(notes.len(), 1);
        assert_eq!(pki.authority.history(&mut no_note).unwrap().issued.len(), 2);
        fs::write(ledger(&pki), &whole).unwrap();
    }
}

#[test]
fn a_damaged_line_is_named_and_blocks_nothing() {
    let pki = Pki::new();
    for name in ["a", "b", "c"] {
        pki.issue(Role::Device, name);
    }
    let of = |name: &str| RevokeWhat::Identity(identity(Role::Device, "berlin", name));
    pki.authority.revoke(&of("a"), &mut no_note).unwrap();
    let text = fs::read_to_string(ledger(&pki)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let revoked = lines.iter().position(|line| line.contains("revoked")).unwrap();
    let b = lines.iter().position(|line| line.contains("\"b\"")).unwrap();
    let serial = pki.authority.history(&mut no_note).unwrap().issued[1].serial.clone();
    // The revocation of `a` and the issue of `b` are damaged.
    let damaged: Vec<&str> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| if index == revoked || index == b { "{\"event\":\"rev\u{0}" } else { line })
        .collect();
    fs::write(ledger(&pki), damaged.join("\n") + "\n").unwrap();

    let mut notes = Vec::new();
    let rows = pki.authority.list(None, &mut |note| notes.push(note)).unwrap();
    assert_eq!(rows.len(), 2, "readable entries are listed");
    assert!(notes.len() == 2 && notes[0].contains(&format!("line {}", b + 1)), "{notes:?}");
    let ignore = &mut |_: String| ();
    assert_eq!(pki.authority.refresh_crl(5, ignore).unwrap().listed, 1, "a stays revoked");
    let report = pki.authority.revoke(&of("c"), ignore).unwrap();
    assert_eq!((report.revoked.len(), report.listed), (1, 2));
    let report = pki.authority.revoke(&RevokeWhat::Serial(serial), ignore).unwrap();
    assert_eq!(report.listed, 3, "a certificate whose line is damaged can be revoked");
    pki.authority.issue(&pki.request(Role::Device, "d"), ignore).unwrap();

    // Neither the line nor the list is readable: nothing is forgotten silently.
    fs::write(pki.authority.dir().join("crl.pem"), "no list").unwrap();
    let error = pki.authority.refresh_crl(5, ignore).unwrap_err().to_string();
    assert!(error.contains("crl.pem") && error.contains("backup"), "{error}");
}

#[test]
fn a_missing_key_is_reported_with_advice_that_works() {
    let pki = Pki::new();
    let dir = pki.authority.dir().to_owned();
    fs::rename(dir.join("ca.key"), dir.join("away")).unwrap();
    let error = Authority::open(&dir).unwrap_err();
    assert!(matches!(error, AuthorityError::NoKey { .. }), "{error}");
    assert!(error.to_string().contains("backup") && error.to_string().contains("init --dir NEW"), "{error}");
    fs::rename(dir.join("away"), dir.join("ca.key")).unwrap();
    fs::remove_file(dir.join("ca.pem")).unwrap();
    assert!(matches!(Authority::open(&dir).unwrap_err(), AuthorityError::HalfRoot { .. }));
}

#[test]
fn the_entry_is_written_before_the_identity() {
    let pki = Pki::new();
    // A full disk, say: the ledger cannot be written.
    fs::rename(ledger(&pki), pki.dir.path().join("away")).unwrap();
    fs::create_dir(ledger(&pki)).unwrap();
    pki.authority.issue(&pki.request(Role::Device, "a"), &mut no_note).unwrap_err();
    let dir = pki.authority.identity_dir(&identity(Role::Device, "berlin", "a"));
    assert!(!dir.exists());
}

#[test]
fn certificates_on_the_list_stay_revoked_whatever_the_ledger_says() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let before = fs::read(ledger(&pki)).unwrap();
    pki.authority.revoke(&RevokeWhat::Identity(identity(Role::Device, "berlin", "a")), &mut no_note).unwrap();
    // The ledger is restored from a backup that is older than the revocation.
    fs::write(ledger(&pki), &before).unwrap();
    let rows = pki.authority.list(None, &mut no_note).unwrap();
    assert_eq!(rows[0].status, Status::Revoked);
    let report = pki.authority.refresh_crl(5, &mut no_note).unwrap();
    assert_eq!((report.listed, report.crl_number), (1, 3));
    // An unreadable list is reported and blocks nothing.
    fs::write(pki.authority.dir().join("crl.pem"), "-----BEGIN X509 CRL-----\nAAAA\n").unwrap();
    let mut notes = Vec::new();
    pki.authority.list(None, &mut |note| notes.push(note)).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("END") && !notes[0].contains('['), "{notes:?}");
    pki.authority.refresh_crl(5, &mut |_| ()).unwrap();
    pki.authority.list(None, &mut no_note).unwrap();
}

#[test]
fn listing_needs_no_key_and_writes_nothing() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let dir = pki.authority.dir();
    let copy = tempfile::tempdir().unwrap();
    for file in ["ca.pem", "ledger.jsonl", "crl.pem"] {
        fs::copy(dir.join(file), copy.path().join(file)).unwrap();
    }
    let rows = list(copy.path(), None, &mut no_note).unwrap();
    assert_eq!((rows.len(), rows[0].name.as_str()), (1, "a"));
    assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 3);
    let nothing = tempfile::tempdir().unwrap();
    let error = list(nothing.path(), None, &mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::NoRoot { .. }), "{error}");
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0);
}

#[test]
fn an_identity_whose_line_is_torn_is_revoked_by_its_certificate() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let issued = pki.issue(Role::Device, "b");
    let text = fs::read(ledger(&pki)).unwrap();
    fs::write(ledger(&pki), &text[..text.len() - 30]).unwrap();
    let what = RevokeWhat::Identity(identity(Role::Device, "berlin", "b"));
    let report = pki.authority.revoke(&what, &mut |_| ()).unwrap();
    assert_eq!((report.revoked, report.listed), (vec![issued.serial], 1));
    let unknown = RevokeWhat::Identity(identity(Role::Device, "berlin", "c"));
    assert!(matches!(pki.authority.revoke(&unknown, &mut |_| ()), Err(AuthorityError::Unknown { .. })));
}
