//! How the JSON of a device is to be read where it is not written as it should be: `[json]` of the configuration, and
//! what a topic of `[mqtt.topics]` says of its own.

use std::borrow::Cow;

use catchment_partial::Timestamp;
use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::{scalar, tokens};
use crate::{
    decode::{lines, names::identifier, value},
    intake::{Reason, Value},
};

/// Most names that are left out, and longest one in bytes.
const IGNORED_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 200;
/// Longest time as text.
const TIME_BYTES_MAX: usize = 48;

/// Settings as given; what is not given is as `[json]` has it, and there as the default has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonSettings {
    /// Texts that are a number, `true` or `false` (`on` or `off`) are numbers: `"21.5"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numeric_strings: Option<bool>,
    /// What becomes of other texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strings: Option<Strings>,
    /// Member of an object that is its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_key: Option<String>,
    /// How the time is written in that member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_format: Option<TimeFormat>,
    /// Members that are left out, as they are written or mapped; of a nested one with `_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<String>>,
}

/// What becomes of a member that is text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strings {
    /// It is a state.
    #[default]
    State,
    /// It is refused, and counted.
    Refuse,
    /// It is left out.
    Ignore,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeFormat {
    /// Unix time in seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Unix time in milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Unix time in microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Unix time in nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// A date and a time of day with its offset from UTC, as RFC 3339 has it.
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// A setting that cannot be: its key, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {cause}")]
pub struct OptionsError {
    /// The key.
    pub key: &'static str,
    /// What is wrong, and what is possible.
    pub cause: String,
}

/// Checked settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    numeric_strings: bool,
    strings: Strings,
    time_key: Option<Box<str>>,
    time_format: TimeFormat,
    /// Mapped.
    ignored: HashSet<Box<str>>,
}

impl JsonSettings {
    /// These, and those of `other` where these say nothing.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            numeric_strings: self.numeric_strings.or(other.numeric_strings),
            strings: self.strings.or(other.strings),
            // The format is that of the key.
            time_format: match &self.time_key {
                Some(_) => self.time_format,
                None => self.time_format.or(other.time_format),
            },
            time_key: self.time_key.clone().or_else(|| other.time_key.clone()),
            ignore: self.ignore.clone().or_else(|| other.ignore.clone()),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks them.
    ///
    /// # Errors
    /// The first key that cannot be, with the cause.
    pub fn check(&self) -> Result<Options, OptionsError> {
        let error = |key, cause: String| OptionsError { key, cause };
        if let Some(key) = &self.time_key {
            if key.is_empty() || key.len() > NAME_BYTES_MAX {
                return Err(error("time_key", format!("must be a name of 1 to {NAME_BYTES_MAX} bytes")));
            }
            if matches!(&**key, "values" | "labels" | "seq" | "hello") {
                return Err(error("time_key", format!("{key:?} is reserved")));
            }
        } else if self.time_format.is_some() {
            return Err(error("time_format", "is for the member that time_key names: give both".to_owned()));
        }
        let ignore = self.ignore.as_deref().unwrap_or_default();
        if ignore.len() > IGNORED_MAX {
            return Err(error(
                "ignore",
                format!("{} names, at most {IGNORED_MAX} are allowed", ignore.len()),
            ));
        }
        let mut ignored = HashSet::new();
        for name in ignore {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(error(
                    "ignore",
                    format!("{name:?} must be a name of 1 to {NAME_BYTES_MAX} bytes"),
                ));
            }
            let is_time = self.time_key.as_ref().is_some_and(|key| key == name);
            if is_time || matches!(&**name, "ts" | "values" | "labels" | "seq" | "hello") {
                return Err(error("ignore", format!("{name:?} is reserved")));
            }
            let mapped = identifier(name);
            if !ignored.insert(Box::from(&*mapped)) {
                return Err(error("ignore", format!("{name:?} is given twice (both map to {mapped:?})")));
            }
        }
        Ok(Options {
            numeric_strings: self.numeric_strings.unwrap_or_default(),
            strings: self.strings.unwrap_or_default(),
            time_key: self.time_key.as_deref().map(Box::from),
            time_format: self.time_format.unwrap_or_default(),
            ignored,
        })
    }
}

impl Options {
    /// Whether numbers mean what they do by default: only then may a message be read by its likeness to one before,
    /// which may have come on another topic.
    pub(super) fn is_plain(&self) -> bool {
        self.time_key.is_none() && self.ignored.is_empty()
    }

    /// Whether a member of the outermost object is its time by configuration.
    pub(super) fn is_time(&self, name: &str) -> bool {
        self.time_key.as_deref() == Some(name)
    }

    /// Whether a member is left out: by its name, flattened, or for what it is.
    pub(super) fn ignores(&self, name: &str, raw: &str) -> bool {
        let is_text = raw.starts_with('"') && self.strings == Strings::Ignore;
        (is_text && inner(raw).is_none_or(|text| self.number_of(&text).is_none()))
            || (!self.ignored.is_empty() && self.ignored.contains(&*identifier(name)))
    }

    /// The value of a member that is text, if that is a reading.
    pub(super) fn of_text<'t>(&self, text: &'t str) -> Option<Value<'t>> {
        if let Some(value) = self.number_of(text) {
            return Some(value);
        }
        // In place of a number in a text, a word for no number is none.
        let is_no_number = self.numeric_strings && tokens::is_word(lines::trim(text));
        (self.takes_states() && !is_no_number).then_some(Value::State(text))
    }

    /// The number in a text, or the boolean, where they are taken for such.
    fn number_of<'t>(&self, text: &'t str) -> Option<Value<'t>> {
        if self.numeric_strings { value::number(text).ok() } else { None }
    }

    /// Whether texts are states.
    fn takes_states(&self) -> bool {
        self.strings == Strings::State
    }

    /// Whether every text is a state: none is a number, refused or left out.
    pub(super) fn texts_are_states(&self) -> bool {
        self.takes_states() && !self.numeric_strings
    }

    /// The time of an object, from the text of the member that is its time: that of the configuration or, for `ts`,
    /// Unix milliseconds.
    ///
    /// # Errors
    /// [`Reason::Malformed`] when it is not in the configured format, [`Reason::TooOld`] or
    /// [`Reason::TooFarAhead`] when it is outside the representable range.
    pub(super) fn time(&self, raw: &str, is_ts: bool) -> Result<Timestamp, Reason> {
        let format = if is_ts { TimeFormat::Milliseconds } else { self.time_format };
        let is_text = raw.starts_with('"');
        let text = if is_text { inner(raw).ok_or(Reason::Malformed)? } else { Cow::Borrowed(raw) };
        let text = text.trim_ascii();
        match format {
            TimeFormat::Rfc3339 if is_text => rfc3339(text),
            TimeFormat::Rfc3339 => Err(Reason::Malformed),
            TimeFormat::Seconds => scalar::unix_time(text, 1_000_000_000),
            TimeFormat::Milliseconds => scalar::millis(text),
            TimeFormat::Microseconds => scalar::unix_time(text, 1_000),
            TimeFormat::Nanoseconds => scalar::unix_time(text, 1),
        }
    }

    /// What is due there, in words.
    pub(super) fn time_words(&self, is_ts: bool) -> &'static str {
        match if is_ts { TimeFormat::Milliseconds } else { self.time_format } {
            TimeFormat::Seconds => "Unix time in seconds, a number",
            TimeFormat::Milliseconds => "Unix time in milliseconds, a number",
            TimeFormat::Microseconds => "Unix time in microseconds, a number",
            TimeFormat::Nanoseconds => "Unix time in nanoseconds, a number",
            TimeFormat::Rfc3339 => "a time as RFC 3339 has it, with Z or an offset (2023-11-14T22:13:20Z)",
        }
    }

    /// Name of the member that is the time.
    pub(super) fn time_name(&self, is_ts: bool) -> &str {
        if is_ts { "ts" } else { self.time_key.as_deref().unwrap_or("ts") }
    }
}

/// The text in quotation marks.
pub(super) fn inner(raw: &str) -> Option<Cow<'_, str>> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    // A device passes on what it read from a line, its end included.
    if text.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(text))
    }
}

/// A time as RFC 3339 has it: nothing shorter, nothing looser, but for more decimals, which are cut off.
fn rfc3339(text: &str) -> Result<Timestamp, Reason> {
    let text = shape(text).ok_or(Reason::Malformed)?;
    let time: jiff::Timestamp = text.parse().map_err(|_| Reason::Malformed)?;
    let beyond = if time.as_second() < 0 { Reason::TooOld } else { Reason::TooFarAhead };
    i64::try_from(time.as_nanosecond()).map(Timestamp::from_nanos).map_err(|_| beyond)
}

/// The text with at most nine decimals, if it has RFC 3339's shape; whether there is such a time the library decides.
fn shape(text: &str) -> Option<Cow<'_, str>> {
    const FRONT: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    const DECIMALS: usize = 9;
    if text.len() > TIME_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    let (front, mut rest) = text.split_at_checked(FRONT.len())?;
    let fits = front.bytes().zip(FRONT).all(|(byte, due)| match due {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        due => byte == *due,
    });
    let mut decimals = "";
    if let Some(behind) = rest.strip_prefix('.') {
        let length = behind.bytes().take_while(u8::is_ascii_digit).count();
        (decimals, rest) = behind.split_at_checked(length)?;
        if decimals.is_empty() {
            return None;
        }
    }
    let offset = rest.as_bytes();
    let is_offset = match offset {
        b"Z" | b"z" => true,
        [b'+' | b'-', digits @ ..] => {
            digits.len() == 5
                && digits
                    .iter()
                    .enumerate()
                    .all(|(at, byte)| if at == 2 { *byte == b':' } else { byte.is_ascii_digit() })
        }
        _ => false,
    };
    if !fits || !is_offset {
        return None;
    }
    if decimals.len() <= DECIMALS {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned(format!("{front}.{}{rest}", decimals.get(..DECIMALS)?)))
}

#[cfg(test)]
mod tests;
