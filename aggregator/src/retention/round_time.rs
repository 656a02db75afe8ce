//! The time from which a round of retention counts ages. Pure: times are arguments.
//!
//! A clock that jumps ahead must not remove years of partials. If it is this machine's alone, the watermarks of the
//! gateways do not follow. If a gateway's alone, its watermark is not believed ([`crate::clock_bound`]). If all of them
//! jump (one machine, one time server), a round still advances by a few hours only.

use std::time::Duration;

use catchment_partial::Timestamp;

/// The time of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundTime {
    /// Ages are counted from here.
    pub(super) at: Timestamp,
    /// How far clock and watermarks are ahead of it, if the bound by the round before counts.
    pub(super) held_back: Option<Duration>,
}

/// Time of the next round; `None`: nothing confirms the clock. `newest`: newest watermark of the gateways; `previous`:
/// time of the round before, if there was one; `step`: how far a round may advance.
pub(super) fn round_time(
    clock: Timestamp,
    newest: Option<Timestamp>,
    previous: Option<Timestamp>,
    step: Duration,
) -> Option<RoundTime> {
    let believed = newest?.min(clock);
    let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX);
    let at = previous.map_or(believed, |previous| previous.saturating_add_nanos(step).min(believed));
    let ahead = u64::try_from(believed.saturating_nanos_since(at)).unwrap_or(0);
    Some(RoundTime { at, held_back: (ahead > 0).then(|| Duration::from_nanos(ahead)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const NOW: i64 = 1_800_000_000_000;
    const STEP: Duration = Duration::from_secs(4 * 3_600);

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn of(clock: i64, newest: i64, previous: Option<i64>) -> RoundTime {
        round_time(at(clock), Some(at(newest)), previous.map(at), STEP).unwrap()
    }

    #[test]
    fn one_wrong_clock_removes_nothing() {
        let right = RoundTime { at: at(NOW), held_back: None };
        assert_eq!(of(NOW, NOW, None), right);
        assert_eq!(of(NOW + YEAR, NOW, None), right, "this machine's");
        assert_eq!(of(NOW, NOW + YEAR, None), right, "a gateway's, believed by an earlier version");
        assert_eq!(round_time(at(NOW), None, Some(at(NOW)), STEP), None, "no gateway confirms the clock");
        assert_eq!(of(HOUR, NOW, Some(NOW)).at, at(HOUR), "a clock behind keeps more");
    }

    #[test]
    fn if_all_clocks_jump_a_round_still_advances_by_hours() {
        let ahead = NOW + YEAR;
        let mut previous = NOW;
        for round in 1..=10 {
            let time = of(ahead, ahead, Some(previous));
            assert_eq!(time.at, at(NOW + round * 4 * HOUR));
            assert_eq!(time.held_back.unwrap().as_millis() as i64, YEAR - round * 4 * HOUR);
            previous = time.at.as_millis();
        }
        // The clocks are right again: so is retention, at once.
        assert_eq!(
            of(NOW + HOUR, NOW + HOUR, Some(previous)),
            RoundTime { at: at(NOW + HOUR), held_back: None }
        );
    }

    #[test]
    fn extreme_times_are_taken() {
        let extremes = [Timestamp::MIN, Timestamp::MAX];
        for (clock, newest, previous) in triples(extremes) {
            let time = round_time(clock, Some(newest), Some(previous), Duration::MAX).unwrap();
            assert!(time.at <= clock && time.at <= newest);
        }
    }

    fn triples(values: [Timestamp; 2]) -> impl Iterator<Item = (Timestamp, Timestamp, Timestamp)> {
        values.into_iter().flat_map(move |a| values.into_iter().flat_map(move |b| values.map(|c| (a, b, c))))
    }
}
