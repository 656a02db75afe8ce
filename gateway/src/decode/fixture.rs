//! For the decoders' tests: an intake with its names, and its content as text to compare.

use catchment_partial::Timestamp;
use catchment_proto::Labels;
use hashbrown::HashMap;
use proptest::prelude::*;

use super::{DecodeLimits, Decoded, json::Options};
use crate::intake::{Intake, Reason, SeriesTable, TimeRules};

/// The gateway's clock in the tests, Unix milliseconds.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// A time as the tests write it.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

/// What a connection holds for its decoder.
pub(crate) struct Fixture {
    pub(crate) table: SeriesTable,
    pub(crate) rules: TimeRules,
    pub(crate) limits: DecodeLimits,
    pub(crate) intake: Intake,
    known: HashMap<u32, String>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            table: SeriesTable::new(100),
            rules: TimeRules {
                now: at(NOW_MS),
                oldest: at(NOW_MS - 86_400_000),
                newest: at(NOW_MS + 60_000),
            },
            limits: DecodeLimits::default(),
            intake: Intake::default(),
            known: HashMap::new(),
        }
    }

    /// Decodes a JSON line.
    pub(crate) fn json(&mut self, line: impl AsRef<[u8]>, ordinal: u64) -> Decoded {
        self.json_with(line, &Options::default(), ordinal)
    }

    /// Decodes a JSON line with the options of a configuration.
    pub(crate) fn json_with(&mut self, line: impl AsRef<[u8]>, options: &Options, ordinal: u64) -> Decoded {
        super::json::decode_line(
            line.as_ref(),
            options,
            ordinal,
            &mut self.table,
            &self.rules,
            &self.limits,
            &mut self.intake,
        )
    }

    fn learn(&mut self) {
        for (index, metric, labels) in self.intake.fresh.drain(..) {
            self.known.insert(index, format!("{metric}{}", shown(&labels)));
        }
    }

    /// The readings as `series=value@milliseconds from now in decimals`, then forgets them. A boolean is a number and,
    /// behind a slash, its state.
    pub(crate) fn readings(&mut self) -> Vec<String> {
        self.learn();
        let now = self.rules.now;
        let Intake { readings, states, .. } = &self.intake;
        let shown = readings.iter().enumerate().map(|(at, reading)| {
            let value = match (reading.number(), states.get(at)) {
                (Some(number), None) => format!("{number:?}"),
                (Some(number), Some(state)) => format!("{number:?}/{state}"),
                (None, state) => state.unwrap().to_owned(),
            };
            let millis = reading.time.saturating_nanos_since(now) as f64 / 1e6;
            let moved = if millis == 0.0 { String::new() } else { format!("@{millis:?}") };
            format!("{}={value}{moved}", self.known[&reading.series])
        });
        let shown = shown.collect();
        self.intake.truncate_readings(0);
        shown
    }

    /// The reasons of the refusals with their counts, then forgets them.
    pub(crate) fn refusals(&mut self) -> Vec<(Reason, u32)> {
        self.intake.refusals.drain(..).map(|refusal| (refusal.reason, refusal.count)).collect()
    }

    /// The messages as (seq, ordinal, end), then forgets them.
    pub(crate) fn messages(&mut self) -> Vec<(Option<u64>, u64, usize)> {
        self.intake.messages.drain(..).map(|meta| (meta.seq, meta.ordinal, meta.readings_end)).collect()
    }

    /// What holds whatever came in.
    pub(crate) fn check(&mut self) {
        let readings = self.intake.readings.len();
        let ends: Vec<_> = self.intake.messages.iter().map(|meta| meta.readings_end).collect();
        assert!(ends.is_sorted(), "{ends:?}");
        assert_eq!(ends.last().copied().unwrap_or(0), readings, "readings outside of a message");
        for (at, reading) in self.intake.readings.iter().enumerate() {
            assert!(reading.value.is_finite() || self.intake.states.get(at).is_some());
            assert_eq!(self.rules.check(reading.time), Ok(reading.time));
        }
        assert!(self.intake.refusals.iter().all(|refusal| refusal.count > 0 && refusal.message.len() < 400));
        self.learn();
        assert!(self.intake.readings.iter().all(|reading| self.known.contains_key(&reading.series)));
        let states = &self.intake.states;
        assert!(
            states
                .of(0..usize::MAX)
                .all(|(at, text)| { at < readings && crate::intake::check_state(states.text(text)).is_ok() })
        );
    }
}

/// Changes to bytes that are mostly right: each one puts a byte in place of another, in front of it, or takes one away.
pub(crate) fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Option<u8>, bool)>> {
    let edit = (any::<prop::sample::Index>(), any::<Option<u8>>(), any::<bool>());
    prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(edit, 1..4)]
}

/// The bytes with the edits.
pub(crate) fn edited(mut bytes: Vec<u8>, edits: &[(prop::sample::Index, Option<u8>, bool)]) -> Vec<u8> {
    for (at, byte, between) in edits {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match byte {
            Some(byte) if *between => bytes.insert(at, *byte),
            Some(byte) => bytes[at] = *byte,
            None => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Decodes messages one after the other, and again with nothing known of those before: both must come to the same.
pub(crate) fn same_unknown(
    messages: impl IntoIterator<Item = Vec<u8>>,
    decode: impl Fn(&mut Fixture, &[u8], u64) -> Decoded,
) {
    let (mut knowing, mut forgetting) = (Fixture::new(), Fixture::new());
    for (ordinal, message) in (1..).zip(messages) {
        forgetting.table.shapes.clear();
        let decoded = decode(&mut knowing, &message, ordinal);
        let expected = decode(&mut forgetting, &message, ordinal);
        let text = String::from_utf8_lossy(&message);
        assert_eq!(decoded, expected, "{text}");
        assert_eq!(format!("{:?}", knowing.intake), format!("{:?}", forgetting.intake), "{text}");
        if knowing.intake.is_large() | forgetting.intake.is_large() || ordinal % 8 == 0 {
            knowing.intake = Intake::default();
            forgetting.intake = Intake::default();
        }
    }
}

fn shown(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(","))
}
