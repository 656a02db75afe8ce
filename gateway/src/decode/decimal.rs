//! Decimal numbers as devices usually write them: a sign, digits, a point, digits. Other numbers are left to
//! `str::parse`.
//!
//! Where the digits as an integer are at most 2^53 and the decimals at most 22, both the integer and the power of ten
//! are doubles without rounding, so that their quotient is rounded once: the nearest double, as `str::parse` finds it.
//! (Clinger, "How to Read Floating Point Numbers Accurately", PLDI 1990.)

/// Most digits looked at: no more fit 64 bits whatever they are.
const DIGITS_MAX: usize = 18;
/// Integers up to here are doubles.
const EXACT_MAX: u64 = 1 << 53;
/// Powers of ten, exact.
const POWERS: [f64; DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// Reads digits onto the number: the number, and how many they are.
#[inline]
fn digits(bytes: &[u8], mut number: u64) -> (u64, usize) {
    let mut count = 0;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // Wraps only with more digits than are taken.
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        count += 1;
    }
    (number, count)
}

/// The number at the front and its length, if it is `-?(0|[1-9][0-9]*)(\.[0-9]+)?` and easy. Does not check what
/// follows.
#[inline]
pub(super) fn at_front(bytes: &[u8]) -> Option<(f64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let whole = bytes.get(usize::from(negative)..)?;
    let (mut number, count) = digits(whole, 0);
    if count == 0 || count > DIGITS_MAX || (count > 1 && whole.first() == Some(&b'0')) {
        return None;
    }
    let mut length = count + usize::from(negative);
    let mut decimals = 0;
    if whole.get(count) == Some(&b'.') {
        (number, decimals) = digits(whole.get(count + 1..)?, number);
        if decimals == 0 || count + decimals > DIGITS_MAX {
            return None;
        }
        length += 1 + decimals;
    }
    if number > EXACT_MAX {
        return None;
    }
    let magnitude = number as f64 / POWERS.get(decimals)?;
    Some((if negative { -magnitude } else { magnitude }, length))
}

/// The integer that the text is, if it is `-?[0-9]{1,19}` and within the range.
#[inline]
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    let (number, count) = digits(magnitude, 0);
    // 19 nines are below 2^64.
    if count == 0 || count > DIGITS_MAX + 1 || count != magnitude.len() {
        return None;
    }
    let number = i64::try_from(number).ok()?;
    Some(if magnitude.len() < text.len() { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(text: &str) {
        if let Some((value, length)) = at_front(text.as_bytes()) {
            let expected: f64 = text[..length].parse().unwrap();
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_easy_is_taken_and_what_is_not_is_left() {
        for (text, value, length) in [
            ("0", 0.0, 1),
            ("-0.0", -0.0, 4),
            ("21.5,", 21.5, 4),
            ("1013.25}", 1013.25, 7),
            ("-12.345 ", -12.345, 7),
            ("9007199254740992", 9_007_199_254_740_992.0, 16),
            ("1e5", 1.0, 1),
        ] {
            assert_eq!(at_front(text.as_bytes()), Some((value, length)), "{text}");
        }
        for text in ["", "-", ".5", "5.", "01", "-00", "+1", "9007199254740993", "1234567890123456789", "x"] {
            assert_eq!(at_front(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer(b"-1700000000000"), Some(-1_700_000_000_000));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"007"), Some(7));
        for text in ["", "-", "+1", "1.0", "1 ", "--1", "9223372036854775808", "01234567890123456789"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_the_nearest_double(
            whole in any::<u32>(), shift in 0..32, decimals in "[0-9]{0,14}", negative: bool
        ) {
            let sign = if negative { "-" } else { "" };
            same(&format!("{sign}{}.{decimals}", whole >> shift));
        }

        #[test]
        fn doubles_come_back(value: f64) {
            same(&format!("{value}"));
        }
    }
}
