//! Durations and byte sizes as people write them: `10s`, `1h 30m`, `256MiB`.
//!
//! Both types read the same text from a flag, an environment variable and a file.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not a valid duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration; holds the text.
    #[error("{0:?} is not a duration: write numbers with units, for example 250ms, 10s, 5m, 1h 30m, 30d")]
    Duration(String),
    /// Not a byte size; holds the text.
    #[error("{0:?} is not a size: write, for example, 65536, 64KiB, 256MiB, 2GiB, 10GB")]
    Size(String),
}

/// A duration, written as `250ms`, `10s`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// A number of seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole milliseconds, rounded down and clamped to the range of the type.
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_duration(text).map(Self)
    }
}

/// Parses a duration like [`HumanDuration`]; for flags of programs without layered settings.
///
/// # Errors
/// The text is not a duration; the error shows examples.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text.trim()).map_err(|_| UnitError::Duration(text.to_owned()))
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes, written as `65536`, `64KiB`, `256MiB` (powers of 1024) or `10GB` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 10] = [
        ("", 1),
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
    ];

    /// A number of mebibytes (1,048,576 bytes).
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// For lengths in memory; clamped to the range of the type.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refused = || UnitError::Size(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refused())?;
        let unit = unit.trim_start().to_ascii_lowercase();
        let (_, factor) = Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        number.checked_mul(*factor).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match binary.into_iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Serializes and deserializes as text.
macro_rules! as_text {
    ($type:ident, $expects:literal $(, $number:ident)?) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expects)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    $(
                        fn $number<E: de::Error>(self, number: i64) -> Result<$type, E> {
                            u64::try_from(number).map($type).map_err(|_| E::custom("a size must not be negative"))
                        }
                    )?
                }
                deserializer.deserialize_any(Text)
            }
        }
    };
}

as_text!(HumanDuration, "a duration in quotes, for example \"10s\"");
as_text!(ByteSize, "a size, for example \"256MiB\" or a number of bytes", visit_i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("256 mib", 256 << 20), ("10GB", 10_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "10 parsec", "99999999999999999999", "99999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!("10s".parse(), Ok(HumanDuration::secs(10)));
        assert_eq!("1h 30m".parse(), Ok(HumanDuration::secs(5_400)));
        assert_eq!("250ms".parse::<HumanDuration>().unwrap().as_millis(), 250);
        for text in ["", "10", "ten seconds", "-1s"] {
            let message = text.parse::<HumanDuration>().unwrap_err().to_string();
            assert!(message.contains("is not a duration") && message.contains("10s"), "{message}");
        }
    }

    #[test]
    fn formatting_and_parsing_round_trip() {
        for bytes in [0, 1, 1_023, 1_024, 5 << 20, (5 << 20) + 1, u64::MAX] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        for millis in [0, 1, 999, 10_000, 5_400_000] {
            let duration = HumanDuration(Duration::from_millis(millis));
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
