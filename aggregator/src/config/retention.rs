//! How long partials are kept: the keys `retention_…` for all series, and tables `[[retention]]` for some of them.

use std::{fmt, str::FromStr, time::Duration};

use catchment_settings::HumanDuration;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Options};
use crate::{selector::Selector, store::RetentionRule};

/// Most tables `[[retention]]`: every series is matched against each of them.
const TABLES_MAX: usize = 100;
/// Shortest retention. A gateway that was cut off delivers its windows late; they must be there for a while to be read.
const KEEP_MIN: HumanDuration = HumanDuration::secs(3_600);
/// Longest retention other than `forever`.
const KEEP_MAX: HumanDuration = HumanDuration::secs(100 * YEAR);
const DAY: u64 = 86_400;
/// The year of `2y`: 365.25 days.
const YEAR: u64 = 31_557_600;

/// The resolutions: the key in a table, the key for all series, and the default.
const KEYS: [(&str, &str, Option<Duration>); 4] = [
    ("windows", "retention_windows", Some(Duration::from_secs(30 * DAY))),
    ("minute", "retention_minute", Some(Duration::from_secs(90 * DAY))),
    ("hour", "retention_hour", Some(Duration::from_secs(2 * YEAR))),
    ("day", "retention_day", None),
];

/// How long to keep something: a duration, or the word `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeepFor {
    /// This long after its end.
    Duration(HumanDuration),
    /// Until somebody removes it.
    Forever,
}

/// A text is neither a duration nor `forever`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time to keep something for: write, for example, 12h, 30d, 2y or forever")]
pub struct KeepForError(String);

impl FromStr for KeepFor {
    type Err = KeepForError;

    fn from_str(text: &str) -> Result<Self, KeepForError> {
        if text.trim() == "forever" {
            return Ok(Self::Forever);
        }
        text.parse().map(Self::Duration).map_err(|_| KeepForError(text.to_owned()))
    }
}

impl TryFrom<String> for KeepFor {
    type Error = KeepForError;

    fn try_from(text: String) -> Result<Self, KeepForError> {
        text.parse()
    }
}

impl From<Option<Duration>> for KeepFor {
    /// `None`: forever.
    fn from(keep: Option<Duration>) -> Self {
        keep.map_or(Self::Forever, |time| Self::Duration(HumanDuration(time)))
    }
}

impl From<KeepFor> for String {
    fn from(keep: KeepFor) -> Self {
        keep.to_string()
    }
}

impl fmt::Display for KeepFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Duration(duration) = self else { return f.write_str("forever") };
        // As people write them: 90 days would be two months, 29 days and some hours.
        let seconds = duration.0.as_secs();
        let is_whole = duration.0.subsec_nanos() == 0 && seconds > 0;
        match [(YEAR, "y"), (DAY, "d")]
            .into_iter()
            .find(|(unit, _)| is_whole && seconds.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", seconds / unit),
            None => duration.fmt(f),
        }
    }
}

/// A table `[[retention]]`. A missing time is that of all series, or that of the finer resolution if that is longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSetting {
    /// The series; missing: all.
    pub selector: Option<String>,
    /// How long windows are kept.
    pub windows: Option<KeepFor>,
    /// How long rows of a minute are kept.
    pub minute: Option<KeepFor>,
    /// How long rows of an hour are kept.
    pub hour: Option<KeepFor>,
    /// How long rows of a day are kept.
    pub day: Option<KeepFor>,
}

/// A value that is out of its range.
struct OutOfRange {
    /// Number of its resolution.
    resolution: usize,
    value: KeepFor,
    limit: Limit,
}

enum Limit {
    /// [`KEEP_MIN`] to [`KEEP_MAX`].
    Bounds,
    /// At least as long as the finer resolution before it, which is kept this long.
    Finer(KeepFor),
}

impl OutOfRange {
    /// Key and range, with the names of keys that `name` takes from [`KEYS`].
    fn named(
        &self,
        name: fn(&(&'static str, &'static str, Option<Duration>)) -> &'static str,
    ) -> (&'static str, String) {
        let key = |number: usize| KEYS.get(number).map_or("retention", name);
        let range = match &self.limit {
            Limit::Bounds => {
                format!("from {} to {}, or forever", KeepFor::Duration(KEEP_MIN), KeepFor::Duration(KEEP_MAX))
            }
            Limit::Finer(finer) => {
                format!("at least as long as {} ({finer})", key(self.resolution.saturating_sub(1)))
            }
        };
        (key(self.resolution), range)
    }
}

/// Completes the times of one rule, from the finest resolution to the coarsest.
fn complete(
    given: [Option<KeepFor>; 4],
    default: [Option<Duration>; 4],
) -> Result<[Option<Duration>; 4], OutOfRange> {
    // `None`, forever, is the longest.
    let longest = |keep: Option<Duration>| keep.unwrap_or(Duration::MAX);
    let mut keep = default;
    let mut finer = Some(Duration::ZERO);
    for (resolution, (kept, given)) in keep.iter_mut().zip(given).enumerate() {
        *kept = match given {
            Some(value) => {
                let refused = |limit| OutOfRange { resolution, value, limit };
                let time = match value {
                    KeepFor::Forever => None,
                    KeepFor::Duration(time) if time < KEEP_MIN || time > KEEP_MAX => {
                        return Err(refused(Limit::Bounds));
                    }
                    KeepFor::Duration(time) => Some(time.0),
                };
                if longest(time) < longest(finer) {
                    return Err(refused(Limit::Finer(finer.into())));
                }
                time
            }
            // Whoever keeps windows longer need not name the coarser resolutions too.
            None if longest(*kept) < longest(finer) => finer,
            None => *kept,
        };
        finer = *kept;
    }
    Ok(keep)
}

/// The rules: those of the tables, in their order, then one for all other series.
pub(super) fn rules(options: &Options) -> Result<Vec<RetentionRule>, ConfigError> {
    let given =
        [options.retention_windows, options.retention_minute, options.retention_hour, options.retention_day];
    let all = complete(given, KEYS.map(|(_, _, default)| default)).map_err(|error| {
        let (key, range) = error.named(|(_, key, _)| key);
        ConfigError::Range { key, value: error.value.to_string(), range }
    })?;
    let tables = options.retention.as_deref().unwrap_or_default();
    if tables.len() > TABLES_MAX {
        let value = format!("{} tables", tables.len());
        return Err(ConfigError::Range { key: "retention", value, range: format!("at most {TABLES_MAX}") });
    }
    let mut rules = Vec::with_capacity(tables.len() + 1);
    let mut for_all = None;
    for (number, table) in (1..).zip(tables) {
        let RetentionSetting { selector: text, windows, minute, hour, day } = table;
        let refused = |reason| ConfigError::Retention { number, selector: text.clone(), reason };
        if let Some(before) = for_all {
            return Err(refused(format!(
                "is never used: table {before}, without a selector, matches all series"
            )));
        }
        let selector = Selector::parse_or_all(text.as_deref().unwrap_or_default())
            .map_err(|error| refused(format!("selector: {error}")))?;
        let keep = complete([*windows, *minute, *hour, *day], all).map_err(|error| {
            let (key, range) = error.named(|(key, ..)| key);
            refused(format!("{key} is {}, it must be {range}", error.value))
        })?;
        for_all = text.is_none().then_some(number);
        rules.push(RetentionRule { selector, keep });
    }
    rules.push(RetentionRule { selector: Selector::default(), keep: all });
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<Vec<[Option<Duration>; 4]>, String> {
        let options: Options = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let rules = rules(&options).map_err(|error| error.to_string())?;
        Ok(rules.into_iter().map(|rule| rule.keep).collect())
    }

    fn days(days: u64) -> Option<Duration> {
        Some(Duration::from_secs(days * DAY))
    }

    const TWO_YEARS: Option<Duration> = Some(Duration::from_secs(63_115_200));

    #[test]
    fn missing_times_are_completed_from_the_finest_on() {
        let default = [days(30), days(90), TWO_YEARS, None];
        assert_eq!(given(""), Ok(vec![default]));
        assert_eq!(
            given("retention_windows = '1h'"),
            Ok(vec![[Some(KEEP_MIN.0), days(90), TWO_YEARS, None]])
        );
        assert_eq!(given("retention_windows = '100d'"), Ok(vec![[days(100), days(100), TWO_YEARS, None]]));
        assert_eq!(given("retention_windows = 'forever'"), Ok(vec![[None; 4]]));
        assert_eq!(
            given("retention_hour = '3y'\n[[retention]]\nselector = 'a'\nwindows = '7d'\nday = '10y'"),
            Ok(vec![
                [days(7), days(90), Some(TWO_YEARS.unwrap() / 2 * 3), Some(TWO_YEARS.unwrap() * 5)],
                [days(30), days(90), Some(TWO_YEARS.unwrap() / 2 * 3), None],
            ]),
            "a table takes what it does not name from the keys for all series"
        );
        assert_eq!(given("[[retention]]\nwindows = '5y'").unwrap()[0][2], Some(TWO_YEARS.unwrap() / 2 * 5));
    }

    #[test]
    fn errors_name_table_and_key() {
        for (text, expected) in [
            ("retention_windows = '59m'", "retention_windows is 59m, it must be from 1h to 100y, or forever"),
            ("retention_day = '200y'", "retention_day is 200y, it must be from"),
            (
                "retention_minute = '20d'",
                "minute is 20d, it must be at least as long as retention_windows (30d)",
            ),
            (
                "[[retention]]\nselector = 'a'\n[[retention]]\nselector = 'b'\nhour = '1d'",
                "[[retention]] table 2 (b): hour is 1d, it must be at least as long as minute (90d)",
            ),
            (
                "[[retention]]\nwindows = 'forever'\nday = '9y'",
                "table 1: day is 9y, it must be at least as long as hour (forever)",
            ),
            ("[[retention]]\nselector = 'a{'", "table 1 (a{): selector: the selector cannot be read"),
            (
                "[[retention]]\nwindows = '1d'\n[[retention]]\nselector = 'a'",
                "table 2 (a): is never used: table 1",
            ),
            ("[[retention]]\nminutes = '1d'", "unknown field `minutes`"),
            ("[[retention]]\nwindows = '1 parsec'", "\"1 parsec\" is not a time to keep"),
            ("retention_windows = 30", "expected a string"),
        ] {
            let error = given(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let many = "[[retention]]\nselector = 'a'\n".repeat(TABLES_MAX + 1);
        assert!(given(&many).unwrap_err().contains("retention is 101 tables, it must be at most 100"));
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let text = "[[retention]]\nselector = '{site=\"berlin\"}'\n[[retention]]\nselector = 'temperature'\n";
        let rules = rules(&toml::from_str(text).unwrap()).unwrap();
        let first = |site: &str, metric| {
            let (gateway, key) = (crate::testing::gateway(site, "g"), crate::testing::key("d", metric, &[]));
            rules.iter().position(|rule| rule.selector.matches(&gateway, &key))
        };
        assert_eq!(first("berlin", "temperature"), Some(0));
        assert_eq!(first("lyon", "temperature"), Some(1));
        assert_eq!(first("lyon", "power"), Some(2));
    }

    #[test]
    fn settings_round_trip_through_the_layers() {
        let table = RetentionSetting { windows: Some(KeepFor::Forever), ..RetentionSetting::default() };
        let options = Options {
            retention_hour: Some("2y".parse().unwrap()),
            retention: Some(vec![table]),
            ..Options::default()
        };
        let merged = catchment_settings::layered(&options, None).unwrap();
        assert_eq!(merged.retention_hour, options.retention_hour);
        assert_eq!(merged.retention, options.retention);
        for text in ["forever", "1h", "36h", "90d", "2y", "100y", "1h 30m"] {
            let keep: KeepFor = text.parse().unwrap();
            assert_eq!(keep.to_string().parse(), Ok(keep), "{text}");
        }
    }
}
