//! Which keys are certified: errors name the true cause, and a key that was revoked or is another's stays refused.
//!
//! The files in `fixtures` were made with openssl; their keys are gone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

use super::support::{Pki, identity, no_note};
use crate::{
    FolderError, IdentityFolder, Role,
    authority::{Authority, AuthorityError, IssueRequest, RevocationReason, RevokeWhat, inspect},
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures").join(name)
}

/// Signs a file for a new device.
fn sign(authority: &Authority, csr: &Path, name: &str) -> Result<PathBuf, String> {
    let request = IssueRequest::new(identity(Role::Device, "berlin", name));
    authority.sign(csr, &request, &mut no_note).map(|paths| paths.dir).map_err(|error| error.to_string())
}

fn csr_of(pki: &Pki, key: &KeyPair, file: &str) -> PathBuf {
    let path = pki.dir.path().join(file);
    let request = CertificateParams::default().serialize_request(key).unwrap();
    fs::write(&path, request.pem().unwrap()).unwrap();
    path
}

#[test]
fn kinds_of_keys_that_are_certified() {
    let pki = Pki::new();
    for file in ["p256.csr", "p384.csr", "rsa-2048.csr", "ed25519.csr"] {
        let dir = sign(&pki.authority, &fixture(file), file).unwrap();
        assert!(dir.join("cert.pem").is_file());
        assert!(inspect(&fixture(file)).unwrap().to_string().contains("signed by its own key"), "{file}");
    }
    // The same keys: in DER, and with another signature.
    let pki = Pki::new();
    for file in ["p256.der", "rsa-2048-signed-pss.csr"] {
        sign(&pki.authority, &fixture(file), file).unwrap();
    }
}

#[test]
fn errors_of_signing_requests_name_the_true_cause() {
    let pki = Pki::new();
    for (file, expected) in [
        ("rsa-1024.csr", "RSA 1024, which is too short"),
        ("rsa-pss.csr", "RSA-PSS, which TLS libraries do not take"),
        ("rsa-2048-unusual-salt.csr", "RSA-PSS with an unusual salt"),
        ("p224.csr", "ECDSA P-224"),
        ("p521.csr", "ECDSA P-521"),
        ("secp256k1.csr", "ECDSA secp256k1"),
        ("brainpoolp256r1.csr", "a Brainpool curve"),
        ("explicit.csr", "explicit curve parameters"),
        ("compressed.csr", "compressed point"),
        ("ed448.csr", "Ed448"),
        ("dsa.csr", "DSA"),
        ("p256-sha512.csr", "ECDSA with SHA-512, which is not supported"),
        ("certificate.der", "certificate in DER"),
    ] {
        let error = sign(&pki.authority, &fixture(file), "a").unwrap_err();
        assert!(error.contains(expected) && error.contains(file), "{file}: {error}");
        assert!(!error.contains("not signed by") || file.contains("salt"), "{file}: {error}");
        if file.ends_with(".csr") {
            let shown = inspect(&fixture(file)).unwrap().to_string();
            assert!(shown.contains("refuses") && shown.contains(expected), "{file}: {shown}");
        }
    }
    let root = pki.authority.dir().join("ca.pem");
    assert!(sign(&pki.authority, &root, "a").unwrap_err().contains("holds a certificate"));
    assert!(pki.authority.history(&mut no_note).unwrap().issued.is_empty());
}

#[test]
fn requests_come_with_marks_line_ends_and_other_blocks() {
    let pki = Pki::new();
    let pem = fs::read_to_string(fixture("p256.csr")).unwrap();
    let file = pki.dir.path().join("request");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (index, content) in [
        format!("\u{feff}{pem}"),
        pem.replace('\n', "\r\n"),
        format!("{key}{pem}"),
        pem.replace("BEGIN CERT", "BEGIN NEW CERT").replace("END CERT", "END NEW CERT"),
    ]
    .iter()
    .enumerate()
    {
        fs::write(&file, content).unwrap();
        let pki = Pki::new();
        sign(&pki.authority, &file, &format!("d-{index}")).unwrap();
    }
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let wide: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, expected) in [
        (encrypted.clone().into_bytes(), "an encrypted private key"),
        ([b"\xff\xfe".as_slice(), &wide].concat(), "UTF-16"),
        (pem[..pem.len() / 2].into(), "PEM"),
        (key.into(), "a private key"),
        (b"hello".to_vec(), "no PEM block"),
    ] {
        fs::write(&file, content).unwrap();
        let error = sign(&pki.authority, &file, "a").unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn identity_folders_take_marks_and_name_what_is_there_instead() {
    let pki = Pki::new();
    let dir = pki.issue(Role::Device, "a").dir;
    for file in ["cert.pem", "key.pem", "ca.pem", "crl.pem"] {
        let path = dir.join(file);
        let whole = fs::read(&path).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
        IdentityFolder::load(&dir).unwrap();
        let der = x509_parser::pem::parse_x509_pem(&whole).unwrap().1.contents;
        fs::write(&path, der).unwrap();
        let error = IdentityFolder::load(&dir).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("-inform DER"), "{error}");
        fs::write(&path, whole).unwrap();
    }
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs::write(dir.join("key.pem"), encrypted).unwrap();
    let error = IdentityFolder::load(&dir).unwrap_err();
    assert!(
        matches!(error, FolderError::Content { .. }) && error.to_string().contains("openssl pkey"),
        "{error}"
    );
    fs::copy(fixture("p256.csr"), dir.join("cert.pem")).unwrap();
    let error = IdentityFolder::load(&dir).unwrap_err().to_string();
    assert!(error.contains("holds a signing request"), "{error}");
}

#[test]
fn an_ed25519_identity_loads() {
    let pki = Pki::new();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let dir = sign(&pki.authority, &csr_of(&pki, &key, "ed.csr"), "ed").unwrap();
    crate::files::create_file(&dir.join("key.pem"), key.serialize_pem().as_bytes(), 0o600).unwrap();
    let folder = IdentityFolder::load(&dir).unwrap();
    crate::ClientTls::new(&folder, &[]).unwrap();
}

#[test]
fn a_revoked_key_is_not_certified_again() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let csr = csr_of(&pki, &key, "a.csr");
    let dir = sign(&pki.authority, &csr, "a").unwrap();
    // Another identity with the same key is refused at once.
    assert!(sign(&pki.authority, &csr, "b").unwrap_err().contains("belongs to device berlin/a"));
    pki.authority.revoke(&RevokeWhat::Identity(identity(Role::Device, "berlin", "a")), &mut no_note).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    for name in ["a", "b"] {
        let error = sign(&pki.authority, &csr, name).unwrap_err();
        assert!(error.contains("was revoked") && error.contains("new key"), "{error}");
    }
    let other = csr_of(&pki, &KeyPair::generate().unwrap(), "other.csr");
    sign(&pki.authority, &other, "a").unwrap();
}

#[test]
fn renewal_refuses_a_key_with_a_revoked_certificate_unless_it_was_only_superseded() {
    for (reason, renewed) in [(None, false), (Some(RevocationReason::Superseded), true)] {
        let pki = Pki::new();
        let first = pki.issue(Role::Device, "a").serial;
        let of = identity(Role::Device, "berlin", "a");
        pki.authority.renew(&of, None, &[], None, &mut no_note).unwrap();
        let what = [RevokeWhat::Serial(first)];
        assert_eq!(pki.authority.revoke_all(&what, reason, &mut no_note).unwrap().listed, 1);
        let again = pki.authority.renew(&of, None, &[], None, &mut no_note);
        assert_eq!(again.is_ok(), renewed, "{reason:?}: {again:?}");
        assert!(renewed || matches!(again, Err(AuthorityError::KeyRevoked { .. })));
    }
}

#[test]
fn lines_without_a_key_are_compared_with_the_folders() {
    let pki = Pki::new();
    let csr = csr_of(&pki, &KeyPair::generate().unwrap(), "a.csr");
    let dir = sign(&pki.authority, &csr, "a").unwrap();
    let ledger = pki.authority.dir().join("ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    // As an earlier version wrote it.
    let older: String = text
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("key");
            format!("{line}\n")
        })
        .collect();
    fs::write(&ledger, older).unwrap();
    assert!(sign(&pki.authority, &csr, "b").unwrap_err().contains("belongs to device berlin/a"));
    pki.authority.revoke(&RevokeWhat::Identity(identity(Role::Device, "berlin", "a")), &mut no_note).unwrap();
    assert!(sign(&pki.authority, &csr, "b").unwrap_err().contains("was revoked"));
    // Without line and folder, the key cannot be known.
    fs::remove_dir_all(&dir).unwrap();
    sign(&pki.authority, &csr, "b").unwrap();
}

#[test]
fn the_reason_is_on_the_list_and_survives_a_lost_ledger_line() {
    let pki = Pki::new();
    pki.issue(Role::Device, "a");
    let before = fs::read(pki.authority.dir().join("ledger.jsonl")).unwrap();
    let what = [RevokeWhat::Identity(identity(Role::Device, "berlin", "a"))];
    pki.authority.revoke_all(&what, Some(RevocationReason::KeyCompromise), &mut no_note).unwrap();
    let list = pki.authority.dir().join("crl.pem");
    assert!(inspect(&list).unwrap().to_string().contains("(keyCompromise)"));
    fs::write(pki.authority.dir().join("ledger.jsonl"), before).unwrap();
    let rows = pki.authority.list(None, &mut no_note).unwrap();
    assert_eq!(rows[0].reason, Some(RevocationReason::KeyCompromise));
    pki.authority.refresh_crl(5, &mut no_note).unwrap();
    assert!(inspect(&list).unwrap().to_string().contains("(keyCompromise)"));
    // A reason of a later version is no reason, and the revocation stays.
    let later = r#"{"event":"revoked","time":"2026-01-01T00:00:00Z","serial":"4a","reason":"aliens"}"#;
    let entry: crate::authority::Entry = serde_json::from_str(later).unwrap();
    assert!(matches!(
        entry,
        crate::authority::Entry::Revoked { reason: Some(RevocationReason::Unspecified), .. }
    ));
}

#[test]
fn inspection_says_in_words_what_a_file_is() {
    let pki = Pki::new();
    let dir = pki.issue(Role::Device, "a").dir;
    let of_folder = inspect(&dir).unwrap();
    let text = of_folder.to_string();
    assert!(
        text.starts_with("The device a of site berlin in trust domain test.example, expires in 36"),
        "{text}"
    );
    assert!(text.contains("signed by:     a root in ca.pem"), "{text}");
    let json = serde_json::to_value(&of_folder).unwrap();
    assert_eq!((&json[0]["type"], &json[0]["role"]), (&"certificate".into(), &"device".into()));
    assert_eq!(json[0]["trust_domain"], "test.example");
    assert!((364..=365).contains(&json[0]["days_left"].as_i64().unwrap()), "{json}");

    let root = inspect(&pki.authority.dir().join("ca.pem")).unwrap().to_string();
    assert!(root.starts_with("The root of trust domain test.example, expires in"), "{root}");
    assert!(root.contains("signed by:     itself"), "{root}");
    // A chain in one file.
    let chain = [fs::read(dir.join("cert.pem")).unwrap(), fs::read(dir.join("ca.pem")).unwrap()].concat();
    let file = pki.dir.path().join("chain.pem");
    fs::write(&file, chain).unwrap();
    let text = inspect(&file).unwrap().to_string();
    assert!(text.contains("signed by:     block 2"), "{text}");
    // Another root is said to be another.
    fs::write(dir.join("ca.pem"), fs::read(Pki::new().authority.dir().join("ca.pem")).unwrap()).unwrap();
    assert!(inspect(&dir).unwrap().to_string().contains("peers refuse it"));

    let list = inspect(&pki.authority.dir().join("crl.pem")).unwrap();
    assert!(list.to_string().starts_with("A revocation list, number 1, of"), "{list}");
    assert!(list.to_string().contains("counts until 20"), "{list}");
    let json = serde_json::to_value(&list).unwrap();
    assert_eq!((&json[0]["number"], &json[0]["certificates"]), (&1.into(), &serde_json::json!([])));
    let key = inspect(&dir.join("key.pem")).unwrap().to_string();
    assert!(key.contains("not shown"), "{key}");
    assert!(inspect(&fixture("certificate.der")).unwrap().to_string().contains("not of Catchment"));
}
