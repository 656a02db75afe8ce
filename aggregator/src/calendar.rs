//! Days, weeks, months and years in time zones: where they begin.
//!
//! The zones come with the program, so that an answer does not depend on the machine. A day begins at its first moment:
//! at midnight, where clocks show it, at the first one if they show two, otherwise when clocks jump over it. A day that
//! was skipped has no moment; the next one begins where it would have begun.

use std::sync::LazyLock;

use catchment_settings::text::distance;
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, date},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

/// Most points that begin at calendar times, of one query: the days of a century.
pub const POINTS_MAX: usize = 36_600;
/// Longest name of a zone that is looked up, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most years of a step.
const YEARS_MAX: u32 = 1_000;
const EPOCH: Date = date(1970, 1, 1);

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// There is no time zone of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time zone {name:?} is not known: {advice}")]
pub struct ZoneError {
    /// The name, or its beginning.
    name: String,
    advice: String,
}

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// From midnight to midnight.
    Day,
    /// From Monday on.
    Week,
    /// From the first of a month on.
    Month,
    /// From the first of January on.
    Year,
}

/// A number of days, weeks, months or years: at least 1, at most some thousand years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarStep {
    unit: Unit,
    count: u32,
}

/// A range has more than [`POINTS_MAX`] steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySteps;

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of an IANA name, such as `Europe/Berlin`; empty: UTC.
    ///
    /// # Errors
    /// There is none; the message names the nearest ones.
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        if name.is_empty() {
            return Ok(Self::UTC);
        }
        if name.len() <= NAME_BYTES_MAX
            && let Ok(zone) = ZONES.get(name)
        {
            return Ok(Self(zone));
        }
        Err(ZoneError { name: name.chars().take(NAME_BYTES_MAX).collect(), advice: advice(name) })
    }

    /// As the library has it.
    pub fn time_zone(&self) -> &TimeZone {
        &self.0
    }

    /// The first moment of a date, Unix milliseconds; `None`: it lies too many millennia away.
    pub fn day_start(&self, date: Date) -> Option<i64> {
        let midnight = date.at(0, 0, 0, 0);
        let ambiguous = self.0.to_ambiguous_timestamp(midnight);
        let start = match ambiguous.offset() {
            AmbiguousOffset::Gap { after, .. } => {
                // With the later offset, midnight would have been before the clocks were changed.
                let before = after.to_timestamp(midnight).ok()?;
                self.0.following(before).next()?.timestamp()
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        };
        Some(start.as_millisecond())
    }

    /// The date that clocks show at a time, Unix milliseconds.
    fn date_at(&self, ms: i64) -> Option<Date> {
        Some(self.0.to_datetime(Timestamp::from_millisecond(ms).ok()?).date())
    }
}

/// What to write in place of a name that is not one of a zone.
fn advice(name: &str) -> String {
    let general = "use an IANA name such as Europe/Berlin, or UTC";
    if name.len() > NAME_BYTES_MAX {
        return general.to_owned();
    }
    let wanted = name.to_lowercase();
    let of = |known: &str| {
        let known = known.to_lowercase();
        let city = known.rsplit('/').next().unwrap_or_default();
        // A city alone is meant more likely than a name that differs as much.
        (2 * distance(&wanted, &known)).min(2 * distance(&wanted, city) + 1)
    };
    let nearest = ZONES.available().map(|known| (of(known.as_str()), known.to_string())).min();
    match nearest {
        Some((far, known)) if far <= 2 * (1 + wanted.chars().count() / 3) => {
            format!("did you mean {known}?")
        }
        _ => general.to_owned(),
    }
}

impl CalendarStep {
    /// So many units; `None` for none, or more than a thousand years.
    pub fn new(count: u32, unit: Unit) -> Option<Self> {
        let a_year = match unit {
            Unit::Day => 366,
            Unit::Week => 53,
            Unit::Month => 12,
            Unit::Year => 1,
        };
        (1..=YEARS_MAX * a_year).contains(&count).then_some(Self { unit, count })
    }

    /// The unit.
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// The number of units.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Number of the step that holds a date.
    fn index_of(self, date: Date) -> i64 {
        let days = date.duration_since(EPOCH).as_hours() / 24;
        let years = i64::from(date.year()) - 1970;
        let (units, count) = match self.unit {
            Unit::Day => (days, 1),
            // The Unix epoch was a Thursday.
            Unit::Week => (days + 3, 7),
            Unit::Month => (years * 12 + i64::from(date.month()) - 1, 1),
            Unit::Year => (years, 1),
        };
        units.div_euclid(count * i64::from(self.count))
    }

    /// First date of the step of this number; `None`: it lies too many millennia away.
    fn date_of(self, index: i64) -> Option<Date> {
        let units = index.checked_mul(i64::from(self.count))?;
        let day = |days: i64| EPOCH.checked_add(SignedDuration::from_hours(24_i64.checked_mul(days)?)).ok();
        let first =
            |year: i64, month: i64| Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok();
        match self.unit {
            Unit::Day => day(units),
            Unit::Week => day(units.checked_mul(7)? - 3),
            Unit::Month => first(1970 + units.div_euclid(12), 1 + units.rem_euclid(12)),
            Unit::Year => first(1970 + units, 1),
        }
    }

    /// Where the steps begin that hold times in `[from_ms, to_ms)`, and where the last of them ends: Unix milliseconds,
    /// in order. Steps without a moment are left out.
    ///
    /// # Errors
    /// There are more than [`POINTS_MAX`].
    pub fn starts(self, zone: &Zone, from_ms: i64, to_ms: i64) -> Result<Vec<i64>, TooManySteps> {
        let Some(first) = zone.date_at(from_ms).map(|date| self.index_of(date)) else {
            return Ok(Vec::new());
        };
        let mut starts: Vec<i64> = Vec::new();
        for index in first.. {
            let Some(start) = self.date_of(index).and_then(|date| zone.day_start(date)) else { break };
            if start <= from_ms {
                starts.clear();
            }
            if starts.last().is_none_or(|last| *last < start) {
                starts.push(start);
            }
            if start >= to_ms {
                break;
            }
            if starts.len() > POINTS_MAX {
                return Err(TooManySteps);
            }
        }
        Ok(starts)
    }

    /// The time so many steps before or after another, at the same time of day and on the same day of the month as far
    /// as there is such; Unix milliseconds. `None`: it lies too many millennia away.
    pub fn shift(self, zone: &Zone, ms: i64, steps: i64) -> Option<i64> {
        let count = steps.checked_mul(i64::from(self.count))?;
        let span = jiff::Span::new();
        let span = match self.unit {
            Unit::Day => span.try_days(count),
            Unit::Week => span.try_weeks(count),
            Unit::Month => span.try_months(count),
            Unit::Year => span.try_years(count),
        };
        let at = Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.0.clone());
        Some(at.checked_add(span.ok()?).ok()?.timestamp().as_millisecond())
    }
}

#[cfg(test)]
mod tests;
