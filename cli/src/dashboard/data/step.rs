//! The width of a chart's points.

use std::time::Duration;

use crate::{aggregator_client::ClientError, length::Length, time::whole_millis};

use super::error::DataError;

/// Most points of a series in a panel.
pub(super) const POINTS_MAX: u32 = 2_000;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;

/// Widths to choose from, seconds: each divides an hour, a day or a number of days, so points begin at round times.
const NICE: [u64; 27] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    20 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    8 * HOUR,
    12 * HOUR,
    24 * HOUR,
    48 * HOUR,
    7 * 24 * HOUR,
    28 * 24 * HOUR,
    84 * 24 * HOUR,
    364 * 24 * HOUR,
];

/// The steps to try for a range of so many milliseconds with at most so many points, the narrowest first.
pub(super) fn candidates(range_ms: i64, points: u32) -> impl Iterator<Item = Length> {
    // Aligned points: one more may be needed at the beginning.
    let least = range_ms.div_euclid(i64::from(points.clamp(2, POINTS_MAX)) - 1);
    // Wider than all of them only if there are hardly any pixels.
    let year = NICE.last().copied().unwrap_or(HOUR);
    let widest = (least.unsigned_abs() / 1_000 / year + 1) * year;
    let nice = NICE.into_iter().chain([widest]).map(Duration::from_secs);
    nice.filter(move |step| whole_millis(*step) >= least).map(Length::Fixed)
}

/// Whether an aggregator refuses a step because the stored windows do not fit into it, so that a wider one may do.
pub(super) fn is_too_narrow(error: &DataError) -> bool {
    matches!(error, DataError::Client(ClientError::Request(words)) if words.contains("not a multiple of the stored window"))
}

/// The width of a point, of calendar steps about: milliseconds.
pub(super) fn width_ms(step: Length) -> i64 {
    match step {
        Length::Fixed(step) => whole_millis(step),
        Length::Calendar(step) => {
            use catchment_aggregator::calendar::Unit;
            let days = match step.unit() {
                Unit::Day => 1,
                Unit::Week => 7,
                Unit::Month => 30,
                Unit::Year => 365,
            };
            i64::from(step.count()).saturating_mul(days * 86_400_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(range: u64, points: u32) -> Option<u64> {
        let range_ms = i64::try_from(range * 1_000).unwrap();
        match candidates(range_ms, points).next()? {
            Length::Fixed(step) => Some(step.as_secs()),
            Length::Calendar(_) => None,
        }
    }

    #[test]
    fn a_chosen_step_never_makes_more_points_than_there_are_pixels() {
        assert_eq!(first(900, 1_000), Some(1));
        assert_eq!(first(86_400, 700), Some(5 * MINUTE));
        assert_eq!(first(10 * 366 * 86_400, 800), Some(7 * 24 * HOUR));
        for points in [0, 2, 320, 1_440, POINTS_MAX, u32::MAX] {
            for range in [1, 59, 900, 86_400, 30 * 86_400, 3 * 366 * 86_400] {
                let step = first(range, points).unwrap();
                assert!(range / step < u64::from(points.clamp(2, POINTS_MAX)), "{range} s, {points} points");
            }
        }
        assert!(NICE.is_sorted());
    }
}
