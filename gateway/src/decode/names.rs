//! Names as devices write them, as the names of metrics and labels: one rule for all protocols that map them.
//!
//! Each character outside of `[A-Za-z0-9_]` becomes `_`, and a leading digit gets one in front, as users of Telegraf
//! with Prometheus expect: `PM2.5` is `PM2_5`.

use std::borrow::Cow;

use catchment_proto::series::NAME_BYTES_MAX;

/// Longest raw name that can still map to an allowed one: up to four bytes per character.
pub(super) const WRITTEN_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// A name as an identifier; `None` only for the empty name.
pub(crate) fn identifier(text: &str) -> Cow<'_, str> {
    if is_plain(text) && !begins_with_digit(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(NAME_BYTES_MAX) + 1);
    push_but(&mut out, text, |_, _| false);
    Cow::Owned(out)
}

/// Appends a name without the characters that `left_out` tells by themselves and the next one; stops soon after the
/// longest name allowed, which is refused then.
pub(super) fn push_but(out: &mut String, text: &str, left_out: impl Fn(char, Option<char>) -> bool) {
    if out.is_empty() && begins_with_digit(text) {
        out.push('_');
    }
    if text.len() <= NAME_BYTES_MAX && is_plain(text) {
        out.push_str(text);
        return;
    }
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if out.len() > NAME_BYTES_MAX {
            return;
        }
        if !left_out(c, rest.peek().copied()) {
            out.push(if c.is_ascii_alphanumeric() { c } else { '_' });
        }
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped_as_devices_write_them() {
        for (written, mapped) in [
            ("temperature", "temperature"),
            ("PM2.5", "PM2_5"),
            ("DS18B20-1", "DS18B20_1"),
            ("MQ-135", "MQ_135"),
            ("2nd", "_2nd"),
            ("t \u{b0}C", "t__C"),
            ("\u{e4}\u{1f600}", "__"),
            ("a/b", "a_b"),
            ("\u{feff}a", "_a"),
            ("", ""),
        ] {
            assert_eq!(identifier(written), mapped, "{written}");
        }
        assert_eq!(identifier(&"\u{e4}".repeat(NAME_BYTES_MAX)).len(), NAME_BYTES_MAX);
        assert_eq!(identifier(&".".repeat(100_000)).len(), NAME_BYTES_MAX + 1);
    }
}
