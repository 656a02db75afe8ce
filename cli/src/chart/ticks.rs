//! The marks of the time axis, at round times of the time zone.

use catchment_aggregator::calendar::{CalendarStep, Unit, Zone};
use jiff::{Timestamp, Zoned, civil::DateTime};

/// Most marks: two labels must not touch.
const MARKS_MAX: i64 = 10;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Distances of marks below an hour.
const SHORT_MS: [i64; 20] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    SECOND_MS,
    2 * SECOND_MS,
    5 * SECOND_MS,
    10 * SECOND_MS,
    15 * SECOND_MS,
    30 * SECOND_MS,
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    15 * MINUTE_MS,
];
/// Distances of marks below a day, in hours; one of half an hour is rounded by minutes.
const HOURS: [i64; 5] = [1, 2, 3, 6, 12];
/// Distances of marks from a day on, with the longest time that one takes, in days.
const CALENDAR: [(u32, Unit, i64); 13] = [
    (1, Unit::Day, 1),
    (2, Unit::Day, 2),
    (1, Unit::Week, 7),
    (2, Unit::Week, 14),
    (1, Unit::Month, 28),
    (2, Unit::Month, 59),
    (3, Unit::Month, 90),
    (6, Unit::Month, 181),
    (1, Unit::Year, 365),
    (2, Unit::Year, 730),
    (5, Unit::Year, 1826),
    (10, Unit::Year, 3652),
    (100, Unit::Year, 36_524),
];

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// Where it is, Unix milliseconds.
    pub(super) ms: i64,
    /// The time of day; of a mark at the start of a day or later, the date.
    pub(super) label: String,
    /// The date, at the first mark and where it is another than before.
    pub(super) date: Option<String>,
}

/// The marks of a range, at most 13.
pub(super) fn ticks(from_ms: i64, to_ms: i64, zone: &Zone) -> Vec<Tick> {
    let least = to_ms.saturating_sub(from_ms).saturating_add(MARKS_MAX - 1) / MARKS_MAX;
    let within = |ms: &i64| (from_ms..=to_ms).contains(ms);
    if let Some(step) = SHORT_MS.into_iter().chain([30 * MINUTE_MS]).find(|step| *step >= least) {
        let format = match step {
            ..SECOND_MS => "%H:%M:%S%.3f",
            SECOND_MS..MINUTE_MS => "%H:%M:%S",
            _ => "%H:%M",
        };
        return labelled(short(from_ms, to_ms, step, zone), format, zone);
    }
    if let Some(hours) = HOURS.into_iter().find(|hours| hours * HOUR_MS >= least) {
        return labelled(hourly(from_ms, to_ms, hours, zone).into_iter().filter(within), "%H:%M", zone);
    }
    let last = CALENDAR.len() - 1;
    let fits = |(index, (_, _, days)): &(usize, (u32, Unit, i64))| days * DAY_MS >= least || *index == last;
    let Some((_, (count, unit, _))) = CALENDAR.into_iter().enumerate().find(fits) else { return Vec::new() };
    let format = match unit {
        Unit::Day | Unit::Week => "%Y-%m-%d",
        Unit::Month => "%Y-%m",
        Unit::Year => "%Y",
    };
    let starts = CalendarStep::new(count, unit).and_then(|step| step.starts(zone, from_ms, to_ms).ok());
    let ticks = starts.unwrap_or_default().into_iter().filter(within).filter_map(|ms| local(ms, zone));
    ticks
        .map(|at| Tick {
            ms: at.timestamp().as_millisecond(),
            label: at.strftime(format).to_string(),
            date: None,
        })
        .collect()
}

/// A time as clocks of the zone show it.
pub(super) fn local_text(ms: i64, zone: &Zone) -> String {
    local(ms, zone).map_or_else(|| ms.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn local(ms: i64, zone: &Zone) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.time_zone().clone()))
}

/// Multiples of a step by the offset from UTC at the start of the range: clocks are set by whole half hours.
fn short(from_ms: i64, to_ms: i64, step: i64, zone: &Zone) -> impl Iterator<Item = i64> {
    let offset = local(from_ms, zone).map_or(0, |at| i64::from(at.offset().seconds()) * SECOND_MS);
    let local_from = from_ms.saturating_add(offset);
    let beyond = (step - local_from.rem_euclid(step)) % step;
    let first = local_from.saturating_add(beyond).saturating_sub(offset);
    (0..=MARKS_MAX).map(move |index| first.saturating_add(index * step)).take_while(move |ms| *ms <= to_ms)
}

/// Hours of the clock that are multiples of `hours`; of a range of at most some days.
fn hourly(from_ms: i64, to_ms: i64, hours: i64, zone: &Zone) -> Vec<i64> {
    let (Some(first), Some(last)) = (local(from_ms, zone), local(to_ms, zone)) else { return Vec::new() };
    let mut marks = Vec::new();
    let mut date = first.date();
    while date <= last.date() {
        for hour in (0..24).step_by(usize::try_from(hours).unwrap_or(1)) {
            let at = i8::try_from(hour)
                .ok()
                .and_then(|hour| DateTime::new(date.year(), date.month(), date.day(), hour, 0, 0, 0).ok());
            let at = at.and_then(|at| zone.time_zone().to_timestamp(at).ok());
            marks.extend(at.map(Timestamp::as_millisecond));
        }
        let Ok(next) = date.tomorrow() else { break };
        date = next;
    }
    // An hour that clocks skip is the next one.
    marks.dedup();
    marks
}

fn labelled(times: impl Iterator<Item = i64>, format: &str, zone: &Zone) -> Vec<Tick> {
    let mut before = None;
    let mut tick = |at: Zoned| {
        let date = at.date();
        let named = (before.replace(date) != Some(date)).then(|| date.to_string());
        Tick { ms: at.timestamp().as_millisecond(), label: at.strftime(format).to_string(), date: named }
    };
    times.filter_map(|ms| local(ms, zone)).map(&mut tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn labels(from: &str, to: &str, zone: &str) -> Vec<String> {
        let ticks = ticks(ms(from), ms(to), &Zone::named(zone).unwrap());
        ticks
            .into_iter()
            .map(|tick| tick.date.map_or(tick.label.clone(), |date| format!("{date} {}", tick.label)))
            .collect()
    }

    #[test]
    fn marks_are_round_times_of_the_zone() {
        let found = labels("2026-11-22T09:58:30Z", "2026-11-22T10:13:30Z", "Asia/Kathmandu");
        assert_eq!(found.first().unwrap(), "2026-11-22 15:44");
        assert_eq!(&found[1..3], ["15:46", "15:48"]);
        let found = labels("2026-11-22T22:10:00Z", "2026-11-23T06:00:00Z", "Europe/Berlin");
        assert_eq!(found[..3], ["2026-11-23 00:00", "01:00", "02:00"]);
        let found = labels("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", "Europe/Berlin");
        assert_eq!(found[..3], ["2026-03-28 18:00", "2026-03-29 00:00", "06:00"]);
        // From winter to summer time: months begin at midnight all the same.
        let found = labels("2026-01-15T00:00:00Z", "2026-06-15T00:00:00Z", "Europe/Berlin");
        assert_eq!(found, ["2026-02", "2026-03", "2026-04", "2026-05", "2026-06"]);
    }

    #[test]
    fn no_range_has_too_many_marks() {
        let zone = Zone::named("America/New_York").unwrap();
        let mut length = 1;
        while length < 900 * 366 * DAY_MS {
            for from in [ms("2026-03-07T20:17:00Z"), ms("2026-10-31T20:17:00Z"), ms("1969-12-31T23:59:59Z")] {
                let marks = ticks(from, from + length, &zone);
                assert!(marks.len() <= 13, "{length}: {marks:?}");
                assert!(length < 10 || marks.len() >= 2 || length > 36_000 * DAY_MS, "{length}: {marks:?}");
                assert!(marks.is_sorted_by_key(|tick| tick.ms));
                assert!(marks.iter().all(|tick| (from..=from + length).contains(&tick.ms)));
            }
            length = length * 3 / 2 + 1;
        }
        assert!(ticks(i64::MIN, i64::MAX, &zone).len() <= 13);
    }
}
