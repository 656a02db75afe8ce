//! Words that are no JSON and that devices write where a number is due, because there is none: `nan` of C and
//! MicroPython, `NaN` of Python, `1.#QNAN` of old Windows, `ovf` of Arduino, `None`.
//!
//! Looked for only in what is no JSON. Each becomes an array of one marked string, so that the text is JSON and the
//! value can be refused with the word that stood there; [`bare`] turns it back. An array, because it is taken nowhere:
//! not as a reading, a label, an epoch or a time. As a string the word would be one of these, mark and all.

use std::borrow::Cow;

/// Text inserted before and after a bare word.
const FRONT: &str = "[\"\\u0000";
const BACK: &str = "\"]";
/// Longest word looked at: `nan(` with a payload has some thirty bytes.
const WORD_BYTES_MAX: usize = 48;

/// The text with each bare word of the kind marked; `None` when there is none.
pub fn marked(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut kept = 0;
    let mut values = Values::new(text.as_bytes());
    while let Some(at) = values.next() {
        let Some(word) = word(text.get(at..).unwrap_or_default()) else { continue };
        out.push_str(text.get(kept..at).unwrap_or_default());
        for part in [FRONT, word, BACK] {
            out.push_str(part);
        }
        kept = at + word.len();
        values.at = kept;
    }
    if kept == 0 {
        return None;
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Some(out)
}

/// The word that stood where the text of this value now does, if it was marked.
pub(super) fn unmarked(raw: &str) -> Option<&str> {
    raw.strip_prefix(FRONT)?.strip_suffix(BACK)
}

/// The first word that is marked in the text of a value.
pub(super) fn first(raw: &str) -> Option<&str> {
    let (_, behind) = raw.split_once(FRONT)?;
    behind.split_once(BACK).map(|(word, _)| word)
}

/// The text of a value as it was before [`marked`].
pub fn bare(text: &str) -> Cow<'_, str> {
    if !text.contains(FRONT) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(FRONT) {
        out.push_str(before);
        match behind.split_once(BACK) {
            Some((word, behind)) if is_word(word) => {
                out.push_str(word);
                rest = behind;
            }
            _ => {
                out.push_str(FRONT);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether a text is a word of the kind, alone.
pub(crate) fn is_word(text: &str) -> bool {
    word(text).is_some_and(|word| word.len() == text.len())
}

/// The places outside of strings where a value may begin.
struct Values<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl<'t> Values<'t> {
    const fn new(bytes: &'t [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next place after a colon, a comma or an opening bracket, and white space.
    fn next(&mut self) -> Option<usize> {
        let mut due = false;
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'"' => {
                    self.skip_string();
                    due = false;
                    continue;
                }
                b':' | b',' | b'[' => due = true,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if due => {
                    self.at += 1;
                    return Some(self.at - 1);
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Behind the string at hand.
    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                _ => 1,
            };
            if *byte == b'"' {
                return;
            }
        }
    }
}

/// The word of the kind at the front, which a comma or a closing bracket follows, or the end.
fn word(text: &str) -> Option<&str> {
    let front = text.get(..text.floor_char_boundary(WORD_BYTES_MAX + 1)).unwrap_or(text);
    let length = front.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(front.len());
    let (word, _) = text.split_at_checked(length)?;
    let behind = text.get(length..)?.trim_ascii_start();
    let is_followed = behind.is_empty() || behind.starts_with([',', ']', '}']);
    (length <= WORD_BYTES_MAX && is_followed && is_no_number(word)).then_some(word)
}

/// Whether a word says that there is no number, in any of the ways that are known.
fn is_no_number(word: &str) -> bool {
    const ALONE: [&str; 8] = ["none", "nil", "null", "undefined", "na", "n/a", "true", "false"];
    // As JSON has them.
    if matches!(word, "null" | "true" | "false") {
        return false;
    }
    let lower = word.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if let Some(rest) = unsigned.strip_prefix("1.#") {
        // Microsoft's old libraries, with as many zeros as decimals are due.
        let kind = rest.trim_end_matches('0');
        return matches!(kind, "qnan" | "snan" | "nan" | "inf" | "ind");
    }
    if matches!(unsigned, "inf" | "infinity" | "ovf" | "nans" | "nanq" | "qnan" | "snan" | "nan") {
        return true;
    }
    if let Some(payload) = unsigned.strip_prefix("nan(").and_then(|rest| rest.strip_suffix(')')) {
        return payload.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    }
    ALONE.contains(&&*lower)
}

/// Words that C, C++, Java, Python, MicroPython, Arduino and Lua write.
#[cfg(test)]
pub(in crate::decode) const WORDS: [&str; 36] = [
    "nan",
    "-nan",
    "+nan",
    "NAN",
    "NaN",
    "-NaN",
    "Nan",
    "nan(0x8000000000000)",
    "-nan(ind)",
    "nan(snan)",
    "nan()",
    "NaNQ",
    "NaNS",
    "inf",
    "-inf",
    "+inf",
    "Inf",
    "-Inf",
    "INF",
    "-INF",
    "Infinity",
    "-Infinity",
    "+Infinity",
    "infinity",
    "1.#QNAN",
    "-1.#IND",
    "1.#INF",
    "-1.#INF",
    "1.#QNAN0",
    "1.#INF00",
    "1.#SNAN",
    "ovf",
    "-ovf",
    "None",
    "undefined",
    "nil",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_marked_wherever_a_value_may_stand() {
        for word in WORDS {
            for (before, behind) in [
                ("{\"a\":", "}"),
                ("{\"a\": ", " ,\"b\":1}"),
                ("[{\"a\":[1,", ",2]}]"),
                ("[", "]"),
                ("{\"a\":\t", "\r\n}"),
            ] {
                let text = format!("{before}{word}{behind}");
                let made = marked(&text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(made, format!("{before}[\"\\u0000{word}\"]{behind}"));
                assert!(serde_json::from_str::<serde_json::Value>(&made).is_ok(), "{made}");
                assert_eq!(bare(&made), text);
            }
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        for text in [
            r#"{"a":1,"b":null,"c":true,"d":"nan","e":"x:nan,"}"#,
            r#"{"nan":1,"a":"\":nan,"}"#,
            r#"{"a":nano}"#,
            r#"{"a":nan x}"#,
            r#"{"a":nan"#,
            r#"{"a":1.#Q}"#,
            r#"{"a":1.5e}"#,
            r#"{"a":nan(}"#,
            r#"{"a":nan(-)}"#,
            r#"{"a":x,"b":nan:1}"#,
            r#"{nan:1}"#,
            "nan",
            "",
        ] {
            // What has lost its end is none either, however it begins.
            let made = marked(text);
            let is_json =
                made.as_ref().is_some_and(|made| serde_json::from_str::<serde_json::Value>(made).is_ok());
            assert!(!is_json, "{made:?}");
        }
        assert_eq!(marked(&format!("{{\"a\":nan({})}}", "0".repeat(50))), None);
    }

    proptest! {
        #[test]
        fn what_is_marked_is_turned_back(text in r#"(nan|-inf|"nan"|\{|\}|\[|\]|:|,| |"a"|\\|"|1)*"#) {
            if let Some(made) = marked(&text) {
                prop_assert_eq!(bare(&made), text);
            }
        }
    }
}
