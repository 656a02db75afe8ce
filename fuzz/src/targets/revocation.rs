//! Revocation lists, DER and PEM, before their signature is verified and, as if it were, after.

use catchment_certs::revocation::{read_unverified, read_unverified_pem};

use super::{Target, magnitude, signature};

pub(super) const TARGET: Target = Target {
    name: "revocation",
    run,
    seeds: || vec![b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".to_vec()],
    tokens: &[
        b"\x30\x82",
        b"\x30\x00",
        b"\x02\x01\x01",
        b"\x17\x0d260101000000Z",
        b"\x18\x0f20260101000000Z",
        b"\x06\x03\x55\x1d\x14",
        b"\x06\x03\x55\x1d\x1b",
        b"\x01\x01\xff",
        b"\x04\x03\x02\x01\x05",
        b"\xa0\x0e",
        b"-----BEGIN X509 CRL-----\n",
        b"-----END X509 CRL-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
    ],
    fixed_bytes: 64 << 10,
    // A set of 20 bytes for each entry of at least 20, allocated once.
    bytes_per_input_byte: 8,
};

fn run(input: &[u8]) -> u64 {
    if input.starts_with(b"-----") {
        return match read_unverified_pem(input) {
            Ok(lists) => signature((lists.len(), lists.first().map(|(_, entries)| magnitude(*entries)))),
            Err(error) => signature(error.to_string()),
        };
    }
    let read = read_unverified(input);
    if let Ok((_, entries)) = read {
        // The smallest entry has a serial number of one byte and a date.
        assert!(entries <= input.len() / 20, "{entries} entries in {} bytes", input.len());
    }
    match read {
        Ok((number, entries)) => signature((number.leading_zeros(), magnitude(entries))),
        Err(error) => signature(error.to_string()),
    }
}
