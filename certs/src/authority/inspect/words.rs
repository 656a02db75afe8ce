//! Times and numbers in words.

use jiff::Timestamp;

use crate::{Serial, serial::hex};

/// A serial number as everywhere else; bytes that are none as they are.
pub(super) fn serial(bytes: &[u8]) -> String {
    Serial::from_bytes(bytes).map_or_else(|_| hex(bytes), |serial| serial.to_string())
}

/// A validity in words: `expires in 29 days`, `expired 3 hours ago`, `starts in 5 minutes`. `ended` and `ends` are the
/// verbs for lists, which do not expire; the end follows them.
pub(super) fn validity(start: Timestamp, end: Timestamp, now: Timestamp, ended: &str, ends: &str) -> String {
    if now < start {
        format!("starts in {}", span(now, start))
    } else if now > end {
        format!("{ended} {end} ({} ago)", span(end, now))
    } else {
        format!("{ends} {end} (in {})", span(now, end))
    }
}

/// The time between two times, in its largest unit, rounded down.
pub(super) fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_second().saturating_sub(from.as_second()).max(0);
    let (count, unit) = match seconds {
        seconds if seconds >= 86_400 => (seconds / 86_400, "day"),
        seconds if seconds >= 3_600 => (seconds / 3_600, "hour"),
        seconds if seconds >= 60 => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (7_199, "1 hour"),
            (86_400, "1 day"),
            (30 * 86_400 - 1, "29 days"),
        ] {
            let from = Timestamp::from_second(1_000_000).unwrap();
            let to = Timestamp::from_second(1_000_000 + seconds).unwrap();
            assert_eq!(span(from, to), expected);
            assert_eq!(span(to, from), "0 seconds");
        }
    }
}
