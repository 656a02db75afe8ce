//! Reads DER element by element, without copying: enough to find a certificate's serial number and to walk a revocation
//! list of hundreds of thousands of entries before and after its signature is verified.

use crate::serial::SerialKey;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// Bytes of a length in its long form, at most.
const LENGTH_BYTES_MAX: usize = 4;

/// One element: tag, contents, and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) raw: &'a [u8],
}

/// Takes the first element off `input`. `None` if it is cut short, or its tag or length is not DER of at most 4 GiB.
pub(crate) fn next<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let start = *input;
    let (&tag, rest) = start.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, mut rest) = rest.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=LENGTH_BYTES_MAX).contains(&count) {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(count)?;
        rest = after;
        let length = bytes.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        // The shortest form is the only one.
        if length < 0x80 || bytes.first() == Some(&0) {
            return None;
        }
        length
    };
    let (content, after) = rest.split_at_checked(length)?;
    let raw = start.get(..start.len().checked_sub(after.len())?)?;
    *input = after;
    Some(Element { tag, content, raw })
}

/// Takes the first element off `input` if it has this tag.
pub(crate) fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    let mut rest = *input;
    let element = next(&mut rest).filter(|element| element.tag == tag)?;
    *input = rest;
    Some(element)
}

/// The serial number of a certificate, without parsing the rest.
pub(crate) fn certificate_serial(mut der: &[u8]) -> Option<SerialKey> {
    let mut certificate = expect(&mut der, SEQUENCE)?.content;
    let mut signed = expect(&mut certificate, SEQUENCE)?.content;
    // The version is missing in version 1.
    let _version = expect(&mut signed, CONTEXT_0);
    SerialKey::from_magnitude(expect(&mut signed, INTEGER)?.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_follow_one_another() {
        let long = [&[OCTET_STRING, 0x81, 0x80][..], &[7; 128]].concat();
        let bytes = [&[INTEGER, 1, 5][..], &long, &[SEQUENCE, 0]].concat();
        let mut input = &bytes[..];
        let number = next(&mut input).unwrap();
        assert_eq!((number.tag, number.content, number.raw), (INTEGER, &[5][..], &[INTEGER, 1, 5][..]));
        assert!(expect(&mut input, INTEGER).is_none(), "another tag is not taken");
        assert_eq!(expect(&mut input, OCTET_STRING).unwrap().raw, long);
        assert_eq!(next(&mut input).unwrap().content, b"");
        assert!(input.is_empty() && next(&mut input).is_none());
    }

    #[test]
    fn what_is_not_der_is_refused() {
        for bytes in [
            &[INTEGER][..],
            &[INTEGER, 2, 1],
            &[INTEGER, 0x80, 0, 0],
            &[INTEGER, 0x81, 1, 5],
            &[INTEGER, 0x82, 0, 0x80],
            &[INTEGER, 0x85, 1, 0, 0, 0, 0],
            &[INTEGER, 0xff],
            &[0x1f, 0x81, 0, 0],
        ] {
            assert!(next(&mut &bytes[..]).is_none(), "{bytes:x?}");
        }
    }
}
