//! The time by which windows close: wall-clock time, ignoring forward jumps until they persist.
//!
//! The watermark never goes back. If the clock were wrongly ahead for a moment, everything after that would be late.
//! So a forward step counts only once it has lasted; until then time continues from where it was, by the monotonic
//! clock. A backward step counts at once: it closes nothing too early. Pure; see docs/decisions/0009-clocks.md.

use std::time::Duration;

use catchment_partial::Timestamp;

/// Smaller differences are no step: a time server corrects the clock, and the two clocks are read one after the other.
const TOLERANCE_NS: i128 = 1_000_000_000;
/// How long a forward step must last before it counts.
pub const FORWARD_JUMP_HOLD: Duration = Duration::from_secs(60);

/// One observation of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardedTime {
    /// The time by which windows close.
    pub time: Timestamp,
    /// By how many nanoseconds the clock was stepped since the last observation.
    pub step: Option<i64>,
}

/// Follows wall-clock time against the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct ClockGuard {
    /// Wall-clock time minus monotonic time, nanoseconds.
    offset: Option<i128>,
    /// The offset of a forward step that has not lasted yet, and the monotonic time at which it began.
    ahead: Option<(i128, Duration)>,
}

impl ClockGuard {
    /// Observes both clocks.
    pub fn observe(&mut self, wall: Timestamp, mono: Duration) -> GuardedTime {
        let mono_ns = i128::try_from(mono.as_nanos()).unwrap_or(i128::MAX / 2);
        let seen = i128::from(wall.as_nanos()) - mono_ns;
        let offset = *self.offset.get_or_insert(seen);
        let by = seen - offset;
        let mut step = None;
        if by <= TOLERANCE_NS {
            // Also the end of a forward step that did not last.
            let before = self.ahead.take().map_or(offset, |(ahead, _)| ahead);
            step = Some(seen - before).filter(|by| *by < -TOLERANCE_NS);
            self.offset = Some(seen);
        } else if let Some((ahead, since)) = self.ahead
            && (seen - ahead).abs() <= TOLERANCE_NS
        {
            if mono.saturating_sub(since) >= FORWARD_JUMP_HOLD {
                (self.offset, self.ahead) = (Some(seen), None);
            }
        } else {
            step = Some(seen - self.ahead.map_or(offset, |(ahead, _)| ahead));
            self.ahead = Some((seen, mono));
        }
        let time = self.offset.unwrap_or(seen).saturating_add(mono_ns);
        GuardedTime { time: Timestamp::from_nanos(clamped(time)), step: step.map(clamped) }
    }

    /// How far wall-clock time is ahead of the time by which windows close, nanoseconds: 0 unless a step is held back.
    pub fn held_back(&self) -> i64 {
        self.offset.zip(self.ahead).map_or(0, |(offset, (ahead, _))| clamped(ahead - offset))
    }
}

fn clamped(nanos: i128) -> i64 {
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn at(guard: &mut ClockGuard, wall_s: i64, mono_s: u64) -> (i64, Option<i64>) {
        let observed = guard.observe(Timestamp::from_nanos(wall_s * S), Duration::from_secs(mono_s));
        (observed.time.as_nanos() / S, observed.step.map(|step| step / S))
    }

    #[test]
    fn a_forward_step_counts_once_it_has_lasted_and_a_backward_step_at_once() {
        let mut guard = ClockGuard::default();
        assert_eq!(at(&mut guard, 1_000, 0), (1_000, None));
        assert_eq!(at(&mut guard, 1_010, 10), (1_010, None));
        // An hour ahead, then back: ignored.
        assert_eq!(at(&mut guard, 4_620, 20), (1_020, Some(3_600)));
        assert_eq!(guard.held_back() / S, 3_600);
        assert_eq!(at(&mut guard, 4_650, 50), (1_050, None));
        assert_eq!(at(&mut guard, 1_060, 60), (1_060, Some(-3_600)));
        assert_eq!(guard.held_back(), 0);
        // Ahead for good.
        assert_eq!(at(&mut guard, 4_670, 70), (1_070, Some(3_600)));
        assert_eq!(at(&mut guard, 4_729, 129), (1_129, None));
        assert_eq!(at(&mut guard, 4_730, 130), (4_730, None));
        // Back.
        assert_eq!(at(&mut guard, 1_140, 140), (1_140, Some(-3_600)));
        // Ahead twice before either has lasted.
        assert_eq!(at(&mut guard, 1_240, 141), (1_141, Some(99)));
        assert_eq!(at(&mut guard, 1_340, 142), (1_142, Some(99)));
        assert_eq!(at(&mut guard, 1_399, 201), (1_201, None));
        assert_eq!(at(&mut guard, 1_400, 202), (1_400, None));
    }

    #[test]
    fn a_stopped_clock_is_followed() {
        let mut guard = ClockGuard::default();
        for second in 0..100 {
            assert_eq!(at(&mut guard, 500, second).0, 500);
        }
        // Before 1970.
        let mut guard = ClockGuard::default();
        assert_eq!(at(&mut guard, -500, 0).0, -500);
        assert_eq!(at(&mut guard, -400, 100).0, -400);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut guard = ClockGuard::default();
        for (nanos, mono) in
            [(i64::MIN, 0), (i64::MAX, u64::MAX), (i64::MIN, 1), (0, 7), (i64::MAX, u64::MAX)]
        {
            let _ = guard.observe(Timestamp::from_nanos(nanos), Duration::from_secs(mono));
            let _ = guard.held_back();
        }
    }
}
