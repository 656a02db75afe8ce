//! Chains and lists of any shape, made with rcgen: what the authority would not issue.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use crate::{Serial, files::create_file};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A certificate authority: a root, or the issuing certificate of a site.
pub(crate) struct Ca {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) serial: Serial,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) serial: Serial,
    pub(crate) key: KeyPair,
}

/// A serial number, and parameters that are valid from yesterday for ten days.
fn params(common_name: &str, uris: &[&str]) -> (Serial, CertificateParams) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    let serial = Serial::random();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    let now = rcgen::date_time_ymd(1970, 1, 1) + unix_now();
    (params.not_before, params.not_after) = (now - DAY, now + 9 * DAY);
    (serial, params)
}

fn ca(params: &mut CertificateParams, path_length: u8) {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

/// A root of `spiffe://d`, path length 1. All have the same name.
pub(crate) fn root() -> Ca {
    root_with(|_| {})
}

pub(crate) fn root_with(change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let (serial, mut params) = params("root", &["spiffe://d"]);
    ca(&mut params, 1);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let (der, pem) = (certificate.der().clone(), certificate.pem());
    Ca { der, pem, serial, issuer: Issuer::new(params, key) }
}

/// A root with the name and the key of another.
pub(crate) fn renew(root: &Ca) -> Ca {
    let (serial, mut params) = params("root", &["spiffe://d"]);
    ca(&mut params, 1);
    let key = KeyPair::try_from(root.issuer.key().serialize_der()).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let (der, pem) = (certificate.der().clone(), certificate.pem());
    Ca { der, pem, serial, issuer: Issuer::new(params, key) }
}

/// The issuing certificate of `spiffe://d/site/SITE`.
pub(crate) fn site(root: &Ca, site: &str) -> Ca {
    site_with(root, site, |_| {})
}

pub(crate) fn site_with(root: &Ca, site: &str, change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let (serial, mut params) = params(&format!("site {site}"), &[&format!("spiffe://d/site/{site}")]);
    params.distinguished_name.push(DnType::OrganizationName, serial.to_string());
    ca(&mut params, 0);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &root.issuer).unwrap();
    let (der, pem) = (certificate.der().clone(), certificate.pem());
    Ca { der, pem, serial, issuer: Issuer::new(params, key) }
}

/// A leaf of `spiffe://d/PATH` for 127.0.0.1 and both directions.
pub(crate) fn leaf(issuer: &Ca, path: &str) -> Leaf {
    leaf_with(issuer, path, |_| {})
}

pub(crate) fn leaf_with(issuer: &Ca, path: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let (serial, mut params) = params("leaf", &[&format!("spiffe://d/{path}")]);
    params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer.issuer).unwrap();
    Leaf { der: certificate.der().clone(), pem: certificate.pem(), serial, key }
}

/// A revocation list, valid from three days ago until in `days` days (which may be negative).
pub(crate) fn list(
    signer: &Ca,
    number: u64,
    serials: &[&Serial],
    days: i32,
) -> rcgen::CertificateRevocationList {
    let now = rcgen::date_time_ymd(1970, 1, 1) + unix_now();
    let end = if days < 0 { now - DAY * days.unsigned_abs() } else { now + DAY * days.unsigned_abs() };
    let revoked = |serial: &&Serial| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial.as_bytes()),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: now - 3 * DAY,
        next_update: end,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&signer.issuer)
    .unwrap()
}

/// Writes an identity folder, or replaces its files one by one.
pub(crate) fn write_folder(dir: &Path, leaf: &Leaf, issuers: &[&Ca], roots: &[&Ca], lists: &[String]) {
    fs::create_dir_all(dir).unwrap();
    let pems = |cas: &[&Ca]| cas.iter().map(|ca| ca.pem.as_str()).collect::<String>();
    replace(dir, "cert.pem", &format!("{}{}", leaf.pem, pems(issuers)));
    replace(dir, "key.pem", &leaf.key.serialize_pem());
    replace(dir, "ca.pem", &pems(roots));
    if lists.is_empty() {
        let _ = fs::remove_file(dir.join("crl.pem"));
    } else {
        replace(dir, "crl.pem", &lists.concat());
    }
}

/// Replaces a file by renaming.
pub(crate) fn replace(dir: &Path, name: &str, content: &str) {
    let new = dir.join(format!("{name}.new"));
    let _ = fs::remove_file(&new);
    create_file(&new, content.as_bytes(), 0o600).unwrap();
    fs::rename(new, dir.join(name)).unwrap();
}

/// Now, in whole seconds since 1970.
pub(crate) fn unix_now() -> Duration {
    Duration::from_secs(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
}
