//! The ledger keeps every line, whoever writes at once and whatever a crash leaves.

use std::{collections::HashSet, fs, io::Write as _, path::PathBuf};

use super::support::{Pki, no_note};
use crate::{
    Role,
    authority::{Authority, AuthorityError},
};

fn ledger(pki: &Pki) -> PathBuf {
    pki.authority.dir().join("ledger.jsonl")
}

#[test]
fn authorities_at_once_keep_every_line() {
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
    // One list by `init`, then three by each of four threads, none of them with a number used before.
    assert_eq!(history.crl_number, 13);
}

#[test]
fn a_torn_last_line_is_told_and_cut() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let whole = fs::read(ledger(&pki)).unwrap();
    for torn in [&br#"{"event":"issued","ser"#[..], &[0xff; 9000]] {
        fs::OpenOptions::new().append(true).open(ledger(&pki)).unwrap().write_all(torn).unwrap();
        let mut notes = Vec::new();
        let history = pki.authority.history(&mut |note| notes.push(note)).unwrap();
        assert_eq!(history.issued.len(), 1);
        assert!(notes.len() == 1 && notes[0].contains("ledger.jsonl"), "{notes:?}");
        // The next entry stands on a line of its own.
        notes.clear();
        let name = format!("b-{}", torn.len());
        pki.authority.issue(&pki.request(Role::Device, &name), &mut |note| notes.push(note)).unwrap();
        assert_eq!(notes.len(), 1);
        assert_eq!(pki.authority.history(&mut no_note).unwrap().issued.len(), 2);
        fs::write(ledger(&pki), &whole).unwrap();
    }
}

#[test]
fn a_damaged_line_is_an_error_with_its_number() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let text = fs::read_to_string(ledger(&pki)).unwrap();
    fs::write(ledger(&pki), format!("{{\"event\":\"revoked\"\n{text}")).unwrap();
    let error = pki.authority.history(&mut no_note).unwrap_err();
    assert!(matches!(error, AuthorityError::Ledger { line: 1, .. }), "{error}");
}

#[test]
fn the_entry_is_there_before_the_identity() {
    let pki = Pki::new();
    // A file in the place of the folder above: the identity cannot be written.
    fs::create_dir_all(pki.authority.dir().join("site/berlin")).unwrap();
    fs::write(pki.authority.dir().join("site/berlin/device"), "in the way").unwrap();
    pki.authority.issue(&pki.request(Role::Device, "a"), &mut no_note).unwrap_err();
    assert_eq!(pki.authority.history(&mut no_note).unwrap().issued.len(), 1);
}
