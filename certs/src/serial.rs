//! Serial numbers of certificates: generation, formatting and parsing.
//!
//! A serial is the magnitude of a positive ASN.1 INTEGER without leading zero bytes, so different notations of the same
//! number are the same `Serial`. Formatted as lower-case hexadecimal; parsed in either case, with or without colons.

use std::{fmt, str::FromStr};

/// Serial number of a certificate: 1 to 20 bytes (RFC 5280, 4.1.2.2), no leading zero byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// Why bytes or a text are not a valid [`Serial`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// A serial number of zero or without digits.
    #[error("a serial number must not be zero")]
    Zero,
    /// More than 20 bytes.
    #[error("a serial number has at most 20 bytes")]
    TooLong,
    /// A character that is not a hexadecimal digit.
    #[error("a serial number is written in hexadecimal digits, not with {0:?}")]
    Digit(char),
}

impl Serial {
    /// Maximum length in bytes.
    pub const BYTES_MAX: usize = 20;

    /// A random serial number of 16 bytes. Its two top bits are 01, so it is positive without a leading zero byte and
    /// always 16 bytes long; 126 bits are random.
    pub fn random() -> Self {
        let [first, rest @ ..] = rand::random::<[u8; 16]>();
        let mut bytes = vec![(first & 0x3f) | 0x40];
        bytes.extend(rest);
        Self(bytes)
    }

    /// Makes a serial from a big-endian magnitude; drops leading zero bytes.
    ///
    /// # Errors
    /// Zero, or longer than [`Self::BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        let start = bytes.iter().position(|byte| *byte != 0).ok_or(SerialError::Zero)?;
        let magnitude = bytes.get(start..).unwrap_or_default();
        if magnitude.len() > Self::BYTES_MAX {
            return Err(SerialError::TooLong);
        }
        Ok(Self(magnitude.to_vec()))
    }

    /// The big-endian magnitude, without leading zero bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A serial number of fixed size, for sets: the magnitude, filled up with zero bytes in front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SerialKey([u8; Serial::BYTES_MAX]);

impl SerialKey {
    /// From a big-endian magnitude. `None` if it is zero or longer than [`Serial::BYTES_MAX`]: no certificate of ours
    /// has such a number.
    pub(crate) fn from_magnitude(bytes: &[u8]) -> Option<Self> {
        let start = bytes.iter().position(|byte| *byte != 0)?;
        let magnitude = bytes.get(start..)?;
        let mut key = [0; Serial::BYTES_MAX];
        key.get_mut(Serial::BYTES_MAX.checked_sub(magnitude.len())?..)?.copy_from_slice(magnitude);
        Some(Self(key))
    }
}

impl From<&Serial> for SerialKey {
    fn from(serial: &Serial) -> Self {
        let mut key = [0; Serial::BYTES_MAX];
        for (to, from) in key.iter_mut().rev().zip(serial.0.iter().rev()) {
            *to = *from;
        }
        Self(key)
    }
}

impl fmt::Debug for SerialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let mut nibbles = Vec::new();
        for character in text.chars().filter(|c| *c != ':') {
            let digit = character.to_digit(16).ok_or(SerialError::Digit(character))?;
            nibbles.push(u8::try_from(digit).unwrap_or_default());
            if nibbles.len() > 2 * (Self::BYTES_MAX + 1) {
                return Err(SerialError::TooLong);
            }
        }
        if nibbles.len() % 2 == 1 {
            nibbles.insert(0, 0);
        }
        let bytes: Vec<u8> = nibbles
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0u8, |byte, nibble| (byte << 4) | nibble))
            .collect();
        Self::from_bytes(&bytes)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations_of_one_number_are_one_serial() {
        let serial: Serial = "0A:0b:FF".parse().unwrap();
        assert_eq!(serial.to_string(), "0a0bff");
        assert_eq!("a0bff".parse(), Ok(serial.clone()));
        assert_eq!(Serial::from_bytes(&[0, 0, 0x0a, 0x0b, 0xff]), Ok(serial));
    }

    #[test]
    fn invalid_serials_are_refused() {
        assert_eq!("".parse::<Serial>(), Err(SerialError::Zero));
        assert_eq!("0000".parse::<Serial>(), Err(SerialError::Zero));
        assert_eq!("12x4".parse::<Serial>(), Err(SerialError::Digit('x')));
        assert_eq!("f".repeat(41).parse::<Serial>(), Err(SerialError::TooLong));
        assert_eq!("f".repeat(100_000).parse::<Serial>(), Err(SerialError::TooLong));
    }

    #[test]
    fn keys_are_equal_as_the_numbers_are() {
        for bytes in [&[1][..], &[0, 0, 1], &[1, 0], &[0xff; 20], &[0x40; 16]] {
            let key = SerialKey::from_magnitude(bytes).unwrap();
            assert_eq!(key, SerialKey::from(&Serial::from_bytes(bytes).unwrap()), "{bytes:x?}");
        }
        assert_ne!(SerialKey::from_magnitude(&[1]), SerialKey::from_magnitude(&[1, 0]));
        for bytes in [&[][..], &[0], &[1; 21]] {
            assert_eq!(SerialKey::from_magnitude(bytes), None);
        }
    }

    #[test]
    fn random_serials_are_positive_16_bytes_and_differ() {
        let serials: std::collections::HashSet<Serial> = (0..10_000).map(|_| Serial::random()).collect();
        assert_eq!(serials.len(), 10_000);
        assert!(serials.iter().all(|s| s.as_bytes().len() == 16 && (0x40..0x80).contains(&s.as_bytes()[0])));
    }
}
