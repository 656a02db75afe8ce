//! Kinds of keys, encrypted keys, and PKCS#12.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    sites::{openssl, site_request},
    support::{Pki, identity, no_note},
};
use crate::{
    IdentityFolder, Role, TrustDomain,
    authority::{
        Authority, InitOptions, IssueRequest, KeyKind, Passphrase, PassphraseError, encrypt_key,
        export_pkcs12, inspect,
    },
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

fn kinds() -> impl Iterator<Item = (KeyKind, &'static str)> {
    let all =
        [(KeyKind::P256, "ECDSA P-256"), (KeyKind::P384, "ECDSA P-384"), (KeyKind::Rsa3072, "RSA 3072")];
    all.into_iter().filter(|(kind, _)| cfg!(feature = "aws-lc-rs") || *kind != KeyKind::Rsa3072)
}

#[test]
fn roots_sites_and_leaves_take_every_kind_of_key() {
    for (kind, name) in kinds() {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions { key: kind, ..InitOptions::default() };
        let root = Authority::init_with(dir.path(), &TrustDomain::new("d").unwrap(), options).unwrap();
        let mut request = site_request("s");
        request.key = Some(kind);
        let site = Authority::open(&root.site_add(&request, &mut no_note).unwrap().dir).unwrap();
        let mut request = IssueRequest::new(identity(Role::Device, "s", "a"));
        request.key = kind;
        let issued = site.issue(&request, &mut no_note).unwrap();
        IdentityFolder::load(&issued.dir).unwrap();
        let text = inspect(&issued.dir).unwrap().to_string();
        assert_eq!(text.matches(&format!("key:           {name}\n")).count(), 2, "{text}");
        let [verify, ca, untrusted] = ["verify", "-CAfile", "-untrusted"].map(Path::new);
        let leaf = issued.dir.join("cert.pem");
        if let Some((good, text)) =
            openssl(&[verify, ca, &dir.path().join("ca.pem"), untrusted, &leaf, &leaf])
        {
            assert!(good, "{kind}: {text}");
        }
        // A renewal keeps the key, or makes another.
        let device = identity(Role::Device, "s", "a");
        let renewed = site.renew_with(&device, None, &[], None, Some(KeyKind::P384), &mut no_note).unwrap();
        IdentityFolder::load(&renewed.dir).unwrap();
        assert!(inspect(&renewed.dir).unwrap().to_string().contains("key:           ECDSA P-384\n"));
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("rsa1024".parse::<KeyKind>().unwrap_err().to_string().contains("rsa3072"));
}

#[test]
fn why_an_encrypted_key_does_not_open_is_named() {
    let dir = tempfile::tempdir().unwrap();
    Authority::init(dir.path(), &TrustDomain::new("d").unwrap(), 30).unwrap();
    let (key, plain) = (dir.path().join("ca.key"), dir.path().join("plain.key"));
    fs::rename(&key, &plain).unwrap();
    let error = |given: &str| {
        let error = Authority::open_with(dir.path(), &mut |_| Ok(passphrase(given))).unwrap_err().to_string();
        assert!(error.contains("ca.key"), "{error}");
        error
    };
    // (arguments of openssl, what the message says; the passphrase is right)
    for (way, expected) in [
        (&["-v2", "des3"][..], Some("Triple DES (des-ede3-cbc), which is not supported; encrypt it again")),
        (&["-v1", "PBE-SHA1-3DES"], Some("pbeWithSHA1And3-KeyTripleDES-CBC, which is not supported")),
        (&["-v2", "camellia-256-cbc"], Some("Camellia")),
        (&["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"], Some("HMAC-SHA-1")),
        (&["-v2", "aes-256-cbc"], None),
        (&["-scrypt"], None),
    ] {
        let mut arguments: Vec<&Path> =
            ["pkcs8", "-topk8", "-passout", "pass:right one", "-in"].map(Path::new).to_vec();
        arguments.extend([plain.as_path(), Path::new("-out"), key.as_path()]);
        arguments.extend(way.iter().map(Path::new));
        match openssl(&arguments) {
            Some((true, _)) => {}
            // Not installed, or built without this one.
            _ => continue,
        }
        match expected {
            Some(expected) => {
                let error = error("right one");
                assert!(
                    error.contains(expected) && !error.contains("passphrase is wrong"),
                    "{way:?}: {error}"
                );
            }
            None => {
                Authority::open_with(dir.path(), &mut |_| Ok(passphrase("right one"))).unwrap();
                // Some wrong passphrase gives the right padding by chance.
                for guess in 0..3 {
                    let error = error(&format!("wrong {guess}"));
                    assert!(error.ends_with("the passphrase is wrong"), "{way:?}: {error}");
                }
            }
        }
    }
    // A plain key under the name of an encrypted one.
    let text = fs::read_to_string(&plain).unwrap().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    fs::write(&key, text).unwrap();
    let error = error("right one");
    assert!(error.contains("not an encrypted key"), "{error}");
}

#[test]
fn an_encrypted_root_opens_with_its_passphrase_alone() {
    let dir = tempfile::tempdir().unwrap();
    let secret = passphrase("correct horse\n");
    let options = InitOptions { passphrase: Some(secret.clone()), ..InitOptions::default() };
    let root = Authority::init_with(dir.path(), &TrustDomain::new("d").unwrap(), options).unwrap();
    assert!(root.is_encrypted());
    let key = dir.path().join("ca.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let error = Authority::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("ca.key") && error.contains("--passphrase-file"), "{error}");
    let error = Authority::open_with(dir.path(), &mut |_| Ok(passphrase("wrong"))).unwrap_err().to_string();
    assert!(error.contains("passphrase is wrong") && !error.contains("horse"), "{error}");
    let mut asked = Vec::new();
    Authority::open_with(dir.path(), &mut |path| {
        asked.push(path.to_owned());
        Ok(secret.clone())
    })
    .unwrap();
    assert_eq!(asked, std::slice::from_ref(&key));
    assert!(!format!("{secret:?}").contains("horse"));

    // OpenSSL reads it with the same passphrase, and what OpenSSL encrypts is read here.
    let word = dir.path().join("word");
    fs::write(&word, "correct horse\n").unwrap();
    let from_file = format!("file:{}", word.display());
    let [pkcs8, input, out] = ["pkcs8", "-in", "-out"].map(Path::new);
    let plain = dir.path().join("plain");
    let pass = [Path::new("-passin"), Path::new(&from_file)];
    if let Some((good, text)) = openssl(&[pkcs8, input, &key, pass[0], pass[1], out, &plain]) {
        assert!(good, "{text}");
        let [topk8, passout, scrypt] = ["-topk8", "-passout", "-scrypt"].map(Path::new);
        for extra in [&[][..], &[scrypt]] {
            let mut arguments = vec![pkcs8, topk8, input, &plain, passout, pass[1], out, &key];
            arguments.extend(extra);
            assert!(openssl(&arguments).unwrap().0);
            Authority::open_with(dir.path(), &mut |_| Ok(secret.clone())).unwrap();
        }
    }
}

#[test]
fn a_plain_key_can_be_encrypted_later() {
    let pki = Pki::new();
    let (report, _) = pki.add_site("berlin");
    for (dir, file) in [(pki.authority.dir(), "ca.key"), (report.dir.as_path(), "issuer.key")] {
        encrypt_key(dir, &passphrase("correct horse")).unwrap();
        assert!(fs::read_to_string(dir.join(file)).unwrap().contains("ENCRYPTED"));
        Authority::open(dir).unwrap_err();
        Authority::open_with(dir, &mut |_| Ok(passphrase("correct horse"))).unwrap();
        let error = encrypt_key(dir, &passphrase("another horse")).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
    }
    let names: Vec<_> =
        fs::read_dir(pki.authority.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".new")), "{names:?}");
}

#[test]
fn a_new_passphrase_is_not_too_short() {
    assert_eq!(Passphrase::new(String::new()).unwrap_err(), PassphraseError::Empty);
    assert_eq!(Passphrase::new("\nsecond line".to_owned()).unwrap_err(), PassphraseError::Empty);
    assert_eq!(passphrase("1234567").for_new_key().unwrap_err(), PassphraseError::Short);
    passphrase("12345678").for_new_key().unwrap();
}

#[test]
fn an_identity_is_exported_as_pkcs12_that_openssl_reads() {
    let pki = Pki::new();
    let (_, site) = pki.add_site("berlin");
    let operator = pki.issue(Role::Operator, "ada").dir;
    let device =
        site.issue(&IssueRequest::new(identity(Role::Device, "berlin", "a")), &mut no_note).unwrap().dir;
    for (dir, certificates) in [(operator, 2), (device, 3)] {
        let file = dir.with_extension("p12");
        let peer = export_pkcs12(&dir, &file, &passphrase("correct horse")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        export_pkcs12(&dir, &file, &passphrase("correct horse")).unwrap_err();
        let info = |word: &str| {
            let word = format!("pass:{word}");
            let arguments = ["pkcs12", "-info", "-nodes", "-in"].map(Path::new);
            let [pass, word] = ["-passin", &word].map(Path::new);
            openssl(&[arguments[0], arguments[1], arguments[2], arguments[3], &file, pass, word])
        };
        let Some((good, text)) = info("correct horse") else { return };
        assert!(good, "{text}");
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), certificates, "{text}");
        assert!(text.contains("BEGIN PRIVATE KEY") && text.contains(peer.identity.name().as_str()), "{text}");
        assert!(text.contains("AES-256-CBC"), "{text}");
        assert!(!info("wrong").unwrap().0);
    }
}
