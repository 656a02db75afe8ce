//! Parts of dates in UTC.

use crate::function::Function;

const DAY_S: i64 = 86_400;

/// What a function gives of a time, Unix seconds.
pub(super) fn part(function: Function) -> Option<fn(i64) -> f64> {
    Some(match function {
        Function::DayOfMonth => |seconds| Date::of(seconds).day as f64,
        // Sunday is 0, and the first day of all, a Thursday, 4.
        Function::DayOfWeek => |seconds| (seconds.div_euclid(DAY_S) + 4).rem_euclid(7) as f64,
        Function::DayOfYear => |seconds| {
            let days = seconds.div_euclid(DAY_S);
            (days - days_before(Date::of(seconds).year, 1) + 1) as f64
        },
        Function::DaysInMonth => |seconds| {
            let Date { year, month, .. } = Date::of(seconds);
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            (days_before(next_year, next_month) - days_before(year, month)) as f64
        },
        Function::Hour => |seconds| (seconds.rem_euclid(DAY_S) / 3600) as f64,
        Function::Minute => |seconds| (seconds.rem_euclid(3600) / 60) as f64,
        Function::Month => |seconds| Date::of(seconds).month as f64,
        Function::Year => |seconds| Date::of(seconds).year as f64,
        _ => return None,
    })
}

/// A part of a number of seconds; fractions are cut off. NaN where it is no time.
pub(super) fn of_value(seconds: f64, part: fn(i64) -> f64) -> f64 {
    if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 { f64::NAN } else { part(seconds as i64) }
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// The date of a time in the proleptic Gregorian calendar: years from March on, in eras of 400 years (Howard Hinnant's
    /// `civil_from_days`). jiff ends at the year 9999, PromQL does not.
    fn of(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY_S) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day: day_of_year - (153 * from_march + 2) / 5 + 1 }
    }
}

/// Days from 1970-01-01 to the first day of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates() {
        use Function::{DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, Year};
        let functions = [Year, Month, DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute];
        let cases = [
            (0.0, [1970, 1, 1, 4, 1, 31, 0, 0]),
            (1_136_239_445.0, [2006, 1, 2, 1, 2, 31, 22, 4]),
            (1_709_164_799.9, [2024, 2, 28, 3, 59, 29, 23, 59]),
            (1_709_164_800.0, [2024, 2, 29, 4, 60, 29, 0, 0]),
            (1_735_689_599.0, [2024, 12, 31, 2, 366, 31, 23, 59]),
            (951_782_400.0, [2000, 2, 29, 2, 60, 29, 0, 0]),
            (-2_203_891_200.0, [1900, 3, 1, 4, 60, 31, 0, 0]),
            (-1.0, [1969, 12, 31, 3, 365, 31, 23, 59]),
            (-0.5, [1970, 1, 1, 4, 1, 31, 0, 0]),
        ];
        for (seconds, expected) in cases {
            let parts = functions.map(|function| of_value(seconds, part(function).unwrap()) as i64);
            assert_eq!(parts, expected, "{seconds}");
        }
        assert!(of_value(f64::NAN, part(Hour).unwrap()).is_nan());
        assert!(of_value(1e300, part(Year).unwrap()).is_nan());
        assert!(of_value(9e18, part(Year).unwrap()) > 2e11);
    }
}
