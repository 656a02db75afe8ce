//! One revocation list: read without trusting it, verified, then its serial numbers.
//!
//! The order bounds what a stranger can cost: reading the head copies nothing, and the entries are walked only after
//! the signature is verified.

use std::{collections::HashSet, time::SystemTime};

use x509_parser::{
    asn1_rs::BitString,
    oid_registry,
    prelude::FromDer,
    time::ASN1Time,
    verify::verify_signature,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use super::RevocationError;
use crate::{
    certificate::system_time,
    der::{self, Element},
    serial::SerialKey,
};

/// Maximum size of a list in bytes: enough for some 400,000 certificates.
pub(crate) const LIST_BYTES_MAX: usize = 16 << 20;

/// Object identifiers of the extensions that this reader knows, as DER contents.
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];

/// A list whose signature is not verified yet.
#[derive(Debug)]
pub(super) struct UnverifiedList<'a> {
    pub(super) der: &'a [u8],
    /// Its issuer's name, DER.
    pub(super) issuer: &'a [u8],
    pub(super) number: u64,
    pub(super) this_update: SystemTime,
    pub(super) next_update: SystemTime,
    /// The signed part.
    signed: &'a [u8],
    algorithm: AlgorithmIdentifier<'a>,
    signature: BitString<'a>,
    entries: &'a [u8],
}

fn unreadable(what: &str) -> RevocationError {
    RevocationError::Content(what.to_owned())
}

/// Parses an element with the library's parser.
fn parse<'a, T: FromDer<'a, E>, E>(element: &Element<'a>, what: &str) -> Result<T, RevocationError> {
    match T::from_der(element.raw) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(unreadable(what)),
    }
}

fn time(input: &mut &[u8]) -> Option<SystemTime> {
    let element = der::expect(input, der::UTC_TIME).or_else(|| der::expect(input, der::GENERALIZED_TIME))?;
    match ASN1Time::from_der(element.raw) {
        Ok(([], time)) => Some(system_time(time)),
        _ => None,
    }
}

impl<'a> UnverifiedList<'a> {
    /// Reads the head of a list.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, RevocationError> {
        if der.len() > LIST_BYTES_MAX {
            return Err(unreadable("it is larger than 16 MiB"));
        }
        let mut input = der;
        let list = der::expect(&mut input, der::SEQUENCE)
            .filter(|_| input.is_empty())
            .ok_or_else(|| unreadable("it is no single DER sequence"))?;
        let mut parts = list.content;
        let mut part = |tag, what| der::expect(&mut parts, tag).ok_or_else(|| unreadable(what));
        let signed = part(der::SEQUENCE, "it has no contents")?;
        let algorithm = part(der::SEQUENCE, "it names no signature algorithm")?;
        let signature = part(der::BIT_STRING, "it has no signature")?;
        if !parts.is_empty() {
            return Err(unreadable("bytes follow its signature"));
        }
        let mut fields = signed.content;
        let version = der::expect(&mut fields, der::INTEGER);
        if version.is_none_or(|version| version.content != [1]) {
            return Err(unreadable("it is not of version 2, which has a number"));
        }
        if der::expect(&mut fields, der::SEQUENCE).is_none_or(|inner| inner.raw != algorithm.raw) {
            return Err(unreadable("its two signature algorithms differ"));
        }
        let issuer =
            der::expect(&mut fields, der::SEQUENCE).ok_or_else(|| unreadable("it names no issuer"))?;
        let this_update = time(&mut fields).ok_or_else(|| unreadable("it has no date"))?;
        let next_update = time(&mut fields).ok_or_else(|| unreadable("it has no date of the next list"))?;
        let entries = der::expect(&mut fields, der::SEQUENCE).map_or(&[][..], |entries| entries.content);
        let extensions = der::expect(&mut fields, der::CONTEXT_0);
        if !fields.is_empty() {
            return Err(unreadable("it has unknown contents"));
        }
        Ok(Self {
            der,
            issuer: issuer.raw,
            number: number(extensions)?,
            this_update,
            next_update,
            signed: signed.raw,
            algorithm: parse(&algorithm, "its signature algorithm is malformed")?,
            signature: parse(&signature, "its signature is malformed")?,
            entries,
        })
    }

    /// Whether the holder of this key signed it.
    pub(super) fn is_signed_by(&self, key: &SubjectPublicKeyInfo<'_>) -> bool {
        let algorithm = &self.algorithm.algorithm;
        // The library would accept SHA-1, which no certificate here may use.
        *algorithm != oid_registry::OID_PKCS1_SHA1WITHRSA
            && *algorithm != oid_registry::OID_SHA1_WITH_RSA
            && verify_signature(key, &self.algorithm, &self.signature, self.signed).is_ok()
    }

    /// The revoked serial numbers. Numbers that no certificate can have here (zero, more than 20 bytes) are left out.
    pub(super) fn serials(&self) -> Result<HashSet<SerialKey>, RevocationError> {
        let malformed = || unreadable("one of its entries is malformed");
        // Two passes, so that the set is allocated once: its size follows from entries that exist.
        let mut count = 0_usize;
        let mut entries = self.entries;
        while !entries.is_empty() {
            der::expect(&mut entries, der::SEQUENCE).ok_or_else(malformed)?;
            count = count.saturating_add(1);
        }
        let mut serials = HashSet::with_capacity(count);
        let mut entries = self.entries;
        while let Some(entry) = der::expect(&mut entries, der::SEQUENCE) {
            let mut fields = entry.content;
            let serial = der::expect(&mut fields, der::INTEGER).ok_or_else(malformed)?;
            time(&mut fields).ok_or_else(malformed)?;
            if let Some(extensions) = der::expect(&mut fields, der::SEQUENCE) {
                each_extension(extensions.content, |oid, critical, _| match critical {
                    // Such as the issuer of an indirect list, which changes what the number means.
                    true => Err(RevocationError::Content(format!(
                        "an entry has an unknown critical extension ({oid:02x?})"
                    ))),
                    false => Ok(()),
                })?;
            }
            if !fields.is_empty() {
                return Err(malformed());
            }
            serials.extend(SerialKey::from_magnitude(serial.content));
        }
        Ok(serials)
    }
}

/// The list's number, from its extensions.
fn number(extensions: Option<Element<'_>>) -> Result<u64, RevocationError> {
    let mut number = None;
    if let Some(explicit) = extensions {
        let mut content = explicit.content;
        let extensions = der::expect(&mut content, der::SEQUENCE).filter(|_| content.is_empty());
        let extensions = extensions.ok_or_else(|| unreadable("its extensions are malformed"))?;
        each_extension(extensions.content, |oid, critical, value| {
            if oid == CRL_NUMBER {
                let found =
                    read_number(value).ok_or_else(|| unreadable("its number is malformed or too large"))?;
                return match number.replace(found) {
                    None => Ok(()),
                    Some(_) => Err(unreadable("it has two numbers")),
                };
            }
            if critical || oid == DELTA_INDICATOR {
                return Err(RevocationError::Content(format!(
                    "it has an unknown critical extension ({oid:02x?}): only complete lists of one issuer count"
                )));
            }
            Ok(())
        })?;
    }
    number.ok_or_else(|| unreadable("it has no number"))
}

fn read_number(mut value: &[u8]) -> Option<u64> {
    let number = der::expect(&mut value, der::INTEGER).filter(|_| value.is_empty())?.content;
    // A leading bit would be a sign.
    if number.first().is_none_or(|first| *first >= 0x80) {
        return None;
    }
    number.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)))
}

/// Calls `each` with object identifier, criticality and value of each extension.
fn each_extension(
    mut extensions: &[u8],
    mut each: impl FnMut(&[u8], bool, &[u8]) -> Result<(), RevocationError>,
) -> Result<(), RevocationError> {
    let malformed = || unreadable("an extension is malformed");
    while !extensions.is_empty() {
        let mut fields = der::expect(&mut extensions, der::SEQUENCE).ok_or_else(malformed)?.content;
        let oid = der::expect(&mut fields, der::OBJECT_IDENTIFIER).ok_or_else(malformed)?;
        let critical = der::expect(&mut fields, der::BOOLEAN).is_some_and(|flag| flag.content != [0]);
        let value = der::expect(&mut fields, der::OCTET_STRING).ok_or_else(malformed)?;
        if !fields.is_empty() {
            return Err(malformed());
        }
        each(oid.content, critical, value.content)?;
    }
    Ok(())
}
