//! Where the decoders put what they found: checks each reading, bounds their number and that of the refusals.
//!
//! One [`Sink`] serves one line or frame. At most [`REPORTED_MAX`] refusals of it are reported one by one; further ones
//! are counted in one refusal a reason, so every refused reading is counted and the list stays short.
//!
//! A sink made by [`Sink::payload`] is for protocols that wrap what a decoder reads: their message is theirs to end and
//! to number, and their address may say labels ([`Sink::labels`]). The labels are merged where a decoder makes them,
//! once an object or line and not once a reading.

use catchment_partial::{STATE_BYTES_MAX, Timestamp};
use catchment_proto::{Labels, LabelsError, series::NAME_BYTES_MAX};
use hashbrown::HashSet;

use super::{DecodeLimits, Decoded, EPOCH_BYTES_MAX, excerpt};
use crate::intake::{
    Intake, MESSAGE_STATE_BYTES_MAX, NO_NUMBER, NameKind, Reading, Reason, Refusal, SeriesTable, TimeRules,
    Value, check_state,
    shapes::{Cursor, Kind},
};

/// Refusals of a message that are reported one by one.
pub(crate) const REPORTED_MAX: usize = 16;
/// Longest text of a refusal: what it quotes from outside may be long.
const MESSAGE_BYTES_MAX: usize = 300;
/// Up to so many readings are compared one by one to find a series given twice; beyond, by a set.
const COMPARED_MAX: usize = 24;

/// A state of the intake to return to.
#[derive(Clone, Copy)]
pub(super) struct SavePoint {
    messages: usize,
    readings: usize,
    refusals: usize,
    tried: usize,
    seq: Option<u64>,
}

/// Takes the readings of one line, frame or payload.
pub(crate) struct Sink<'a> {
    pub(super) intake: &'a mut Intake,
    pub(super) table: &'a mut SeriesTable,
    pub(super) rules: &'a TimeRules,
    pub(super) limits: &'a DecodeLimits,
    /// Ordinal of the message on its connection.
    pub(super) ordinal: u64,
    /// Sequence number of the message at hand.
    pub(super) seq: Option<u64>,
    /// The decoder ends the messages. Otherwise it ends none, and sequence numbers mean nothing.
    pub(super) ends: bool,
    /// Labels of all readings, beside those that they bring along.
    pub(super) base: Labels,
    refusals_start: usize,
    /// Bytes of the intake's states without those of this message.
    states_start: usize,
    /// Where the readings begin that have one time in common: no series occurs twice among them.
    moment_start: usize,
    /// The series of the moment, once they are many.
    moment: Option<HashSet<u32>>,
    /// What the readings of the moment have in common, where their names are learnt.
    shape: Option<Cursor>,
    /// Readings seen so far, refused ones included.
    tried: usize,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        intake: &'a mut Intake,
        table: &'a mut SeriesTable,
        rules: &'a TimeRules,
        limits: &'a DecodeLimits,
        ordinal: u64,
    ) -> Self {
        Self {
            refusals_start: intake.refusals.len(),
            states_start: intake.states.bytes(),
            moment_start: intake.readings.len(),
            moment: None,
            shape: None,
            tried: 0,
            intake,
            table,
            rules,
            limits,
            ordinal,
            seq: None,
            ends: true,
            base: Labels::none(),
        }
    }

    /// For what another protocol's message carries: the caller ends the message, whose ordinal this is. `base`: labels
    /// of all of its readings.
    pub(crate) fn payload(
        intake: &'a mut Intake,
        table: &'a mut SeriesTable,
        rules: &'a TimeRules,
        limits: &'a DecodeLimits,
        ordinal: u64,
        base: Labels,
    ) -> Self {
        Self { ends: false, base, ..Self::new(intake, table, rules, limits, ordinal) }
    }

    /// Labels that readings bring along, with those of the sink beside them. Of two of one name, the reading's own
    /// holds.
    pub(super) fn labels(&self, own: Labels) -> Result<Labels, LabelsError> {
        if self.base.is_empty() {
            return Ok(own);
        }
        if own.is_empty() {
            return Ok(self.base.clone());
        }
        let base = self.base.iter().filter(|(name, _)| own.get(name).is_none());
        Labels::new(own.iter().chain(base))
    }

    /// The labels of the sink alone.
    pub(super) const fn base(&self) -> &Labels {
        &self.base
    }

    pub(super) fn save_point(&self) -> SavePoint {
        SavePoint {
            messages: self.intake.messages.len(),
            readings: self.intake.readings.len(),
            refusals: self.intake.refusals.len(),
            tried: self.tried,
            seq: self.seq,
        }
    }

    /// Forgets what was put in since the save point, except fresh series: their indexes are given out.
    pub(super) fn rewind(&mut self, save_point: SavePoint) {
        self.intake.messages.truncate(save_point.messages);
        self.intake.truncate_readings(save_point.readings);
        self.intake.refusals.truncate(save_point.refusals);
        self.begin_moment();
    }

    /// As [`Sink::rewind`], and as if nothing had been tried since.
    pub(super) fn undo(&mut self, save_point: SavePoint) {
        self.rewind(save_point);
        self.tried = save_point.tried;
        self.seq = save_point.seq;
    }

    /// Notes that `count` readings (at least 1) are refused.
    pub(crate) fn refuse(&mut self, reason: Reason, count: usize, message: impl FnOnce() -> String) {
        let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let (ordinal, seq) = (self.ordinal, self.seq);
        let reported = self.intake.refusals.get_mut(self.refusals_start..).unwrap_or_default();
        if reported.len() < REPORTED_MAX {
            let mut message = message();
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            self.intake.refusals.push(Refusal { reason, message, ordinal, seq, count });
            return;
        }
        match reported.iter_mut().skip(REPORTED_MAX).find(|refusal| refusal.reason == reason) {
            Some(more) => more.count = more.count.saturating_add(count),
            None => {
                let message = format!("further refusals of one message: {}", reason.code());
                self.intake.refusals.push(Refusal { reason, message, ordinal, seq, count });
            }
        }
    }

    /// Refuses the line or frame as a whole.
    pub(super) fn refuse_message(&mut self, reason: Reason, message: impl FnOnce() -> String) -> Decoded {
        self.refuse(reason, 1, message);
        Decoded::Refused
    }

    /// A hello with this epoch, if the epoch keeps the rule.
    pub(super) fn hello(&mut self, epoch: String) -> Decoded {
        if (1..=EPOCH_BYTES_MAX).contains(&epoch.len()) {
            return Decoded::Hello { epoch };
        }
        let bytes = epoch.len();
        self.refuse_message(Reason::Malformed, || {
            format!("an epoch has 1 to {EPOCH_BYTES_MAX} bytes, this one has {bytes}")
        })
    }

    /// Begins a group of readings with one time, in which each series occurs at most once.
    pub(super) fn begin_moment(&mut self) {
        self.moment_start = self.intake.readings.len();
        self.moment = None;
        self.shape = None;
    }

    /// From here to the end of the moment [`Sink::learn`] notes names for this kind of message and this text in front
    /// of them, that identifies its labels.
    pub(super) fn begin_shape(&mut self, kind: Kind, raw: &[u8]) {
        let shapes = &mut self.table.shapes;
        self.shape = shapes.add(kind, &self.base, raw).map(|shape| shapes.cursor(shape));
    }

    /// Notes which series a name means in the shape at hand.
    pub(super) fn learn(&mut self, name: &str, series: u32) {
        if let Some(cursor) = &mut self.shape {
            self.table.shapes.learn(cursor, name.as_bytes(), series);
        }
    }

    /// How many more readings are within the bound.
    pub(super) fn room(&self) -> usize {
        self.limits.readings_max.saturating_sub(self.tried)
    }

    /// Ends a message with what was put in since the last one, unless that is the caller's to do.
    pub(super) fn end_message(&mut self) {
        if self.ends {
            self.intake.end_message(self.seq, self.ordinal);
        }
    }

    /// The line, frame or payload is longer than a message may be.
    pub(super) fn refuse_too_long(&mut self, bytes: usize) -> bool {
        let max = self.limits.message_bytes_max;
        if bytes > max {
            self.refuse(Reason::TooLong, 1, || format!("a message has at most {max} bytes"));
        }
        bytes > max
    }

    /// Whether `count` more readings are within the bound; refuses those that are not and tells how many are.
    pub(super) fn admit(&mut self, count: usize) -> usize {
        let admitted = count.min(self.room());
        self.tried = self.tried.saturating_add(admitted);
        if admitted < count {
            let max = self.limits.readings_max;
            self.refuse(Reason::TooManyReadings, count - admitted, || {
                format!("a message has at most {max} readings")
            });
        }
        admitted
    }

    /// The session's index of a series; a bad name is the error.
    pub(super) fn series(&mut self, metric: &str, labels: &Labels) -> Result<u32, String> {
        // Before the look-up, which would hash all of a long name.
        if metric.len() > NAME_BYTES_MAX {
            return Err(format!(
                "a metric name has at most {NAME_BYTES_MAX} bytes, {:?}… has more",
                excerpt(metric)
            ));
        }
        self.table.index(metric, labels, &mut self.intake.fresh)
    }

    /// Takes a reading of a series; `-0.0` becomes `0.0`.
    pub(super) fn push(&mut self, series: u32, time: Timestamp, value: f64) {
        self.intake.readings.push(Reading { series, time, value: value + 0.0 });
    }

    /// As [`Sink::push`], of a value that [`Sink::admit_value`] has let in.
    pub(super) fn push_value(&mut self, series: u32, time: Timestamp, value: Value<'_>) {
        if let Some(state) = value.state() {
            self.intake.states.push(self.intake.readings.len(), state);
        }
        self.push(series, time, value.number().unwrap_or(NO_NUMBER));
    }

    /// Whether a value may be taken: a number, or a state by the rules. Refuses it otherwise; `what` names the reading.
    pub(super) fn admit_value(&mut self, value: Value<'_>, what: impl FnOnce() -> String) -> bool {
        let Value::State(text) = value else { return true };
        let states = &self.intake.states;
        if states.is_refused() {
            self.refuse(Reason::StatesUnsupported, 1, || {
                format!("{} is a text: the aggregator is of a version before states", what())
            });
        } else if let Err(kind) = check_state(text) {
            self.refuse(Reason::BadState, 1, || bad_state(&what(), kind));
        } else if states.bytes().saturating_sub(self.states_start) + text.len() > MESSAGE_STATE_BYTES_MAX {
            self.refuse(Reason::TooManyReadings, 1, || {
                format!("the states of a message have at most {MESSAGE_STATE_BYTES_MAX} bytes together")
            });
        } else {
            return true;
        }
        false
    }

    /// Takes a reading of the moment, with a checked time, or refuses it. Tells its series.
    pub(super) fn take(
        &mut self,
        metric: &str,
        labels: &Labels,
        time: Timestamp,
        value: Value<'_>,
    ) -> Option<u32> {
        if !self.admit_value(value, || format!("{:?}", excerpt(metric))) {
            return None;
        }
        let series = match self.series(metric, labels) {
            Ok(series) => series,
            Err(message) => {
                self.refuse(Reason::BadMetric, 1, || message);
                return None;
            }
        };
        if self.given(series) {
            let text =
                || format!("{:?} is given twice in one object or line: the first counts", excerpt(metric));
            self.refuse(Reason::Malformed, 1, text);
            return None;
        }
        self.push_value(series, time, value);
        Some(series)
    }

    /// As [`Sink::take`], of a metric whose name was mapped, perhaps, from how it is written.
    pub(super) fn take_mapped(
        &mut self,
        written: &str,
        metric: &str,
        labels: &Labels,
        time: Timestamp,
        value: Value<'_>,
    ) -> Option<u32> {
        if let Err(message) = self.table.check_spelling(written, metric) {
            self.refuse(Reason::BadMetric, 1, || message);
            return None;
        }
        let series = self.take(metric, labels, time, value)?;
        self.table.note_spelling(written, metric);
        self.note_spelling(NameKind::Metric, written, metric);
        Some(series)
    }

    /// Notes how a name is written.
    pub(super) fn note_spelling(&mut self, kind: NameKind, written: &str, name: &str) {
        self.intake.spellings.extend(self.table.seen.note(kind, written, name));
    }

    /// Whether the series has a reading in this moment already; notes that it has one now.
    fn given(&mut self, series: u32) -> bool {
        let before = self.intake.readings.get(self.moment_start..).unwrap_or_default();
        if before.len() <= COMPARED_MAX {
            return before.iter().any(|reading| reading.series == series);
        }
        let moment = self.moment.get_or_insert_with(|| before.iter().map(|reading| reading.series).collect());
        !moment.insert(series)
    }
}

/// The refusal of a text that is no state, in words.
pub(super) fn bad_state(what: &str, kind: &str) -> String {
    format!("{what} is {kind}; a state is a text of 1 to {STATE_BYTES_MAX} bytes without control characters")
}
