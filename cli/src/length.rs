//! Lengths of time as people write them: `90s` and `24h` are fixed, `1d`, `2w`, `3mo` and `1y` are the calendar's.

use std::{str::FromStr, time::Duration};

use catchment_aggregator::calendar::{CalendarStep, Unit, Zone};

use crate::time::whole_millis;

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Always as long.
    Fixed(Duration),
    /// Days, weeks, months or years of a time zone.
    Calendar(CalendarStep),
}

/// Why a text is not a [`Length`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LengthError {
    /// None of the forms.
    #[error("{0:?} is not a duration: use for example 90s, 15m, 1h30m, 1d, 2w, 3mo or 1y")]
    Form(String),
    /// A month or a year, written so that it would be one of fixed length.
    #[error(
        "{0:?}: months and years are the calendar's and stand alone: write for example 1mo or 1y (and 1m for a minute)"
    )]
    Month(String),
    /// No days, or more than a thousand years of them.
    #[error("{0:?} must be at least 1 and at most 1,000 years")]
    Count(String),
}

impl Length {
    /// The time this long before another, or after it; Unix milliseconds, saturating.
    pub fn shift(self, ms: i64, after: bool, zone: &Zone) -> i64 {
        let sign = if after { 1 } else { -1 };
        match self {
            Self::Fixed(duration) => ms.saturating_add(whole_millis(duration).saturating_mul(sign)),
            Self::Calendar(step) => step.shift(zone, ms, sign).unwrap_or(sign.saturating_mul(i64::MAX)),
        }
    }

    /// Whether it is no time at all.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Fixed(duration) if duration.as_millis() == 0)
    }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let text = text.trim();
        let mut units = units(text);
        let (first, more) = (units.next(), units.next().is_some());
        let unit = match first {
            Some("d" | "day" | "days") => Some(Unit::Day),
            Some("w" | "week" | "weeks") => Some(Unit::Week),
            Some("mo" | "mon" | "month" | "months") => Some(Unit::Month),
            Some("y" | "yr" | "year" | "years") => Some(Unit::Year),
            _ => None,
        };
        if let (Some(unit), false) = (unit, more) {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let Ok(count) = digits.parse::<u64>() else { return Err(LengthError::Form(text.to_owned())) };
            let step = u32::try_from(count).ok().and_then(|count| CalendarStep::new(count, unit));
            return step.map(Self::Calendar).ok_or_else(|| LengthError::Count(text.to_owned()));
        }
        if self::units(text).any(|unit| unit == "M" || unit.starts_with("mo") || unit.starts_with('y')) {
            return Err(LengthError::Month(text.to_owned()));
        }
        let fixed = humantime::parse_duration(text);
        fixed.map(Self::Fixed).map_err(|_| LengthError::Form(text.to_owned()))
    }
}

/// The units in a text: its runs of letters.
fn units(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(count: u32, unit: Unit) -> Result<Length, LengthError> {
        Ok(Length::Calendar(CalendarStep::new(count, unit).unwrap()))
    }

    #[test]
    fn days_and_more_are_the_calendars_and_hours_are_fixed() {
        let of = |text: &str| text.parse::<Length>();
        assert_eq!(of("1d"), calendar(1, Unit::Day));
        assert_eq!(of(" 2 days "), calendar(2, Unit::Day));
        assert_eq!(of("1w"), calendar(1, Unit::Week));
        assert_eq!(of("3mo"), calendar(3, Unit::Month));
        assert_eq!(of("1y"), calendar(1, Unit::Year));
        for (text, seconds) in [("24h", 86_400), ("90s", 90), ("1h30m", 5_400), ("1d12h", 129_600), ("0s", 0)]
        {
            assert_eq!(of(text), Ok(Length::Fixed(Duration::from_secs(seconds))), "{text}");
        }
    }

    #[test]
    fn months_of_a_fixed_length_are_refused_with_the_calendars() {
        for text in ["1M", "2M", "1mo2d", "1y6mo", "1month1d", "1d1M"] {
            let error = text.parse::<Length>().unwrap_err();
            assert!(error.to_string().contains("write for example 1mo"), "{text}: {error}");
        }
        for text in ["0d", "1001y", "99999999999999999999d", "", "d", "x", "1q", "-1d", "1.5d"] {
            assert!(text.parse::<Length>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_shift_follows_the_zone() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let at = 1_774_778_400_000; // 2026-03-29T10:00:00Z
        let hour = 3_600_000;
        let of = |text: &str, zone: &Zone| text.parse::<Length>().unwrap().shift(at, false, zone);
        assert_eq!(of("1d", &berlin), at - 23 * hour);
        assert_eq!(of("1d", &Zone::UTC), at - 24 * hour);
        assert_eq!(of("24h", &berlin), at - 24 * hour);
        assert_eq!(of("1mo", &Zone::UTC), at - 29 * 24 * hour, "there is no 29th of February");
    }
}
