//! A connection's decoding state for the targets, with small bounds so that inputs exceed them.

use catchment_gateway::{
    decode::{DecodeLimits, Decoded},
    intake::{Intake, SeriesTable, TimeRules},
};
use catchment_partial::{Partial, Timestamp};

use super::{magnitude, signature};

/// The gateway's clock, Unix nanoseconds.
const NOW: i64 = 1_700_000_000_000_000_000;
const DAY: i64 = 86_400_000_000_000;
/// Refusals of one message: those reported one by one, and one for each reason.
const REFUSALS_MAX: usize = 16 + 13;

pub(super) struct Rig {
    pub(super) table: SeriesTable,
    pub(super) rules: TimeRules,
    pub(super) limits: DecodeLimits,
    pub(super) intake: Intake,
    /// The outcome of each message.
    pub(super) decoded: Vec<Decoded>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            table: SeriesTable::new(50),
            rules: TimeRules {
                now: Timestamp::from_nanos(NOW),
                oldest: Timestamp::from_nanos(NOW - 3_650 * DAY),
                newest: Timestamp::from_nanos(NOW + DAY),
            },
            limits: DecodeLimits { message_bytes_max: 4 << 10, readings_max: 100, depth_max: 8 },
            intake: Intake::default(),
            decoded: Vec::new(),
        }
    }

    /// Records the outcome of a message. `before`: numbers of readings, refusals and messages before it.
    pub(super) fn settle(&mut self, decoded: Decoded, before: [usize; 3]) {
        let [readings, refusals, messages] = self.counts();
        assert!(readings - before[0] <= self.limits.readings_max, "too many readings of one message");
        assert!(refusals - before[1] <= REFUSALS_MAX, "too many refusals of one message");
        match decoded {
            Decoded::Message => assert!(messages > before[2], "a message without its metadata"),
            Decoded::Hello { .. } => assert_eq!(
                [readings, refusals, messages],
                before,
                "a hello adds readings, refusals or messages"
            ),
            Decoded::Refused => {
                assert!(messages == before[2] && readings == before[0], "a refused message leaves readings");
                assert!(refusals > before[1], "refused without a reason");
            }
        }
        self.decoded.push(decoded);
    }

    /// Numbers of readings, refusals and messages.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.intake.readings.len(), self.intake.refusals.len(), self.intake.messages.len()]
    }

    /// Checks the invariants of any input.
    pub(super) fn check(&self) {
        let ends: Vec<_> = self.intake.messages.iter().map(|meta| meta.readings_end).collect();
        assert!(ends.is_sorted());
        assert!(self.intake.messages.iter().all(|meta| meta.seq != Some(0)));
        for (at, reading) in self.intake.readings.iter().enumerate() {
            let state = self.intake.states.get(at);
            assert!(reading.value.is_finite() || (reading.value.is_nan() && state.is_some()));
            assert!(state.is_none_or(Partial::is_state), "not a state: {state:?}");
            assert!(!(reading.value == 0.0 && reading.value.is_sign_negative()), "a negative zero");
            assert_eq!(self.rules.check(reading.time), Ok(reading.time));
            assert!(
                self.intake.fresh.iter().any(|fresh| fresh.0 == reading.series),
                "a series without a name"
            );
        }
        for refusal in &self.intake.refusals {
            assert!(refusal.count > 0);
            assert!(refusal.message.len() <= 300, "a long message");
        }
    }

    /// Asserts that two connections took the same from the same bytes.
    pub(super) fn assert_same(&self, other: &Self) {
        assert_eq!(self.decoded, other.decoded);
        assert_eq!(self.intake.messages, other.intake.messages);
        assert_eq!(self.intake.readings, other.intake.readings);
        assert_eq!(self.intake.states, other.intake.states);
        assert_eq!(self.intake.refusals, other.intake.refusals);
        assert_eq!(self.intake.fresh, other.intake.fresh);
    }

    /// The signature: kinds of messages, refusals with the beginning of their messages, number of readings.
    pub(super) fn signature(&self) -> u64 {
        let kinds: Vec<_> = self.decoded.iter().take(4).map(std::mem::discriminant).collect();
        let mut refusals: Vec<_> = self
            .intake
            .refusals
            .iter()
            .map(|refusal| {
                let words =
                    refusal.message.split(' ').filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
                let words: String = words.take(6).collect();
                (refusal.reason.code(), words)
            })
            .collect();
        refusals.sort();
        refusals.dedup();
        refusals.truncate(4);
        let labels = self.intake.fresh.iter().map(|fresh| fresh.2.len()).max();
        let [readings, _, messages] = self.counts();
        signature((
            kinds,
            refusals,
            labels,
            magnitude(readings),
            magnitude(messages),
            magnitude(self.intake.fresh.len()),
        ))
    }
}
