//! Building blocks of the encoding: variable-length integers, and a bounds-checked reader.
//!
//! A *varint* is LEB128: seven bits per byte, least significant first; the top bit tells that another byte follows;
//! at most ten bytes. For *zigzag* see [`zigzag`].

use crate::zigzag::{unzigzag, zigzag};

/// Why bytes are not a valid partial. Nothing was changed; the bytes come from a damaged store or a faulty sender.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the encoded partial is truncated")]
    Truncated,
    /// The version byte is unknown.
    #[error("a partial of encoding version {0} cannot be read: upgrade this program first")]
    Version(u8),
    /// The flags or a required part are not known to this version.
    #[error("a partial with unknown parts (code {0:#04x}) cannot be read: upgrade this program first")]
    UnknownParts(u64),
    /// A field is out of its range, or fields contradict each other.
    #[error("the encoded partial is invalid: {0}")]
    Invalid(&'static str),
    /// Bytes are left over.
    #[error("{0} bytes follow the end of the encoded partial")]
    Trailing(usize),
}

pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    put_varint(zigzag(value), out);
}

/// The unread bytes.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    /// The unread bytes.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        // Most are short.
        match *self.0 {
            [low, ref rest @ ..] if low < 0x80 => {
                self.0 = rest;
                Ok(low.into())
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.0 = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("a number exceeds 64 bits"))
    }

    /// Eight bytes of a double; infinite if a sum exceeded the range, never not-a-number.
    pub(crate) fn number(&mut self) -> Result<f64, DecodeError> {
        let bytes = self.bytes(8)?.first_chunk::<8>().ok_or(DecodeError::Truncated)?;
        let number = f64::from_le_bytes(*bytes);
        if number.is_finite() || number == f64::INFINITY {
            Ok(number)
        } else {
            Err(DecodeError::Invalid("not a sum"))
        }
    }

    /// Eight bytes of a finite double.
    pub(crate) fn finite(&mut self) -> Result<f64, DecodeError> {
        let number = self.number()?;
        if number.is_finite() { Ok(number) } else { Err(DecodeError::Invalid("not a finite number")) }
    }

    #[inline]
    pub(crate) fn zigzag(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(unzigzag)
    }

    /// A varint count of at most `most`.
    pub(crate) fn count(&mut self, most: usize, what: &'static str) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Invalid(what))?;
        if count > most { Err(DecodeError::Invalid(what)) } else { Ok(count) }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive(unsigned: u64, shift in 0u32..64, signed: i64) {
            let mut out = Vec::new();
            put_varint(unsigned >> shift, &mut out);
            put_zigzag(signed >> shift, &mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(unsigned >> shift));
            prop_assert_eq!(reader.zigzag(), Ok(signed >> shift));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn ends_and_excess_are_errors() {
        assert_eq!(Reader::new(&[0x80]).varint(), Err(DecodeError::Truncated));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&most).varint(), Ok(u64::MAX));
        let excess = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(matches!(Reader::new(&excess).varint(), Err(DecodeError::Invalid(_))));
        assert_eq!(Reader::new(&[1, 2]).finish(), Err(DecodeError::Trailing(2)));
        assert_eq!(Reader::new(&[1, 2]).bytes(3), Err(DecodeError::Truncated));
    }
}
