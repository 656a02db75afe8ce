//! What decoding hands on: checked readings of one session, ready for its device's actor.
//!
//! Series travel as small indexes that hold within a session ([`SeriesTable`]), so a name is checked and copied
//! once and not with every reading. Everything here is checked: names, finite values, times within bounds.

mod cost;
pub mod name_collisions;
pub(crate) mod shapes;

use catchment_partial::{Timestamp, Width};
use catchment_proto::{Labels, MetricName};
use hashbrown::HashMap;

use self::{
    cost::IntakeCost,
    name_collisions::{MetricSpellings, NameSpelling, SeenSpellings},
    shapes::Shapes,
};
use crate::mqtt::packets::Reply;

/// One reading of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Index of its series: the session's own (see [`SeriesTable`]) until the device's actor puts its own in place.
    pub series: u32,
    /// Event time.
    pub time: Timestamp,
    /// Finite.
    pub value: f64,
}

/// Metadata of one message of a session; sequence numbers count these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMeta {
    /// Sequence number, when the device gave one.
    pub seq: Option<u64>,
    /// Ordinal of the message on its connection, from 1.
    pub ordinal: u64,
    /// Where its readings end in [`Intake::readings`]; they begin where those of the message before end.
    pub readings_end: usize,
    /// What it means for its client's packet identifiers (MQTT).
    pub effect: MqttEffect,
}

/// What a message means for the packet identifiers of its client (MQTT, QoS 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttEffect {
    /// Nothing.
    #[default]
    None,
    /// A QoS 2 PUBLISH: it counts once until its identifier is released. A client that redelivers it sets DUP.
    Qos2 {
        /// The identifier.
        id: u16,
        /// The client has sent it before on this connection, or says that it may have on another one. Else it is a
        /// new message, whatever is kept of the identifier: the client has lost its own state.
        redelivered: bool,
        /// A refusal of all its readings ends the message (MQTT 5): its identifier is free again with the answer.
        ends_refused: bool,
    },
    /// The identifier is free again.
    Release(u16),
    /// The client's session is to be forgotten.
    Forget,
}

/// Messages of one session that are handed on together.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    /// Series that a reading here is the first to use, with their session's index.
    pub fresh: Vec<(u32, MetricName, Labels)>,
    /// The messages in order.
    pub messages: Vec<MessageMeta>,
    /// The readings of all messages, in order.
    pub readings: Vec<Reading>,
    /// Names that the session uses for the first time, as it writes them.
    pub spellings: Vec<NameSpelling>,
    /// What was refused while decoding.
    pub refusals: Vec<Refusal>,
    /// What is answered once all of it is durable (MQTT; the other protocols acknowledge by number).
    pub replies: Vec<Reply>,
    /// How far its readings lie apart; boxed, because each session waits with an intake at times.
    cost: Option<Box<IntakeCost>>,
}

/// Readings or messages of an intake beyond which it is handed on before more is decoded.
const LARGE: usize = 16_384;
/// What a window costs that is opened, in readings of one that is open.
const WINDOW_COST: usize = 15;
/// Room that is kept for the next intake.
const REUSED_MAX: usize = 2 * LARGE;

impl Intake {
    /// Empties it for the next one; its memory is kept up to a bound.
    pub fn reuse(&mut self) {
        fn clear<T>(items: &mut Vec<T>) {
            items.clear();
            items.shrink_to(REUSED_MAX);
        }
        clear(&mut self.fresh);
        clear(&mut self.spellings);
        clear(&mut self.messages);
        clear(&mut self.readings);
        clear(&mut self.refusals);
        clear(&mut self.replies);
        if let Some(cost) = &mut self.cost {
            **cost = IntakeCost::default();
        }
    }

    /// Windows have this width: an intake with readings of many is large sooner.
    pub fn measure_by(&mut self, width: Option<Width>) {
        self.cost.get_or_insert_default().measure_by(width);
    }

    /// Ends a message: the readings pushed since the last one are its.
    pub fn end_message(&mut self, seq: Option<u64>, ordinal: u64) {
        self.messages.push(MessageMeta {
            seq,
            ordinal,
            readings_end: self.readings.len(),
            effect: MqttEffect::None,
        });
    }

    /// Puts into the replies what the device's sessions refused of their messages, before they are written. `refusals` are in
    /// the order of the messages.
    pub fn amend_replies(&mut self, refusals: &[Refusal]) {
        if refusals.is_empty() {
            return;
        }
        let Self { messages, replies, .. } = self;
        for message in replies.iter_mut().filter_map(Reply::message_mut) {
            let first = refusals.partition_point(|refusal| refusal.ordinal < message.ordinal);
            let rest = refusals.get(first..).unwrap_or_default();
            let own = rest.iter().take_while(|refusal| refusal.ordinal == message.ordinal);
            let refused: usize = own.clone().map(|refusal| refusal.count as usize).sum();
            let at = messages.partition_point(|meta| meta.ordinal < message.ordinal);
            let start =
                at.checked_sub(1).and_then(|before| messages.get(before)).map_or(0, |meta| meta.readings_end);
            let end = messages.get(at).map_or(start, |meta| meta.readings_end);
            for refusal in own {
                message.outcome.refuse(refused >= end - start, &refusal.message);
            }
        }
    }

    /// Whether it is to be handed on before more is decoded: what a worker does at once is bounded, whatever it is. Looked at
    /// after each message.
    pub fn is_large(&mut self) -> bool {
        let windows = self.cost.as_mut().map_or(0, |cost| cost.windows_opened(&self.readings));
        let windows = windows.min(self.readings.len());
        let cost = self.readings.len().saturating_add(windows.saturating_mul(WINDOW_COST));
        cost >= LARGE || self.messages.len() >= LARGE || self.replies.len() >= LARGE
    }

    /// Whether there is nothing to hand on.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.refusals.is_empty()
    }
}

/// Why a message or a reading was not taken. The codes are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The message cannot be parsed.
    Malformed,
    /// The message is longer than `message_bytes_max`.
    TooLong,
    /// A value that is no finite number and no boolean.
    NotANumber,
    /// A metric name outside of the rule.
    BadMetric,
    /// A label outside of the rule.
    BadLabel,
    /// Event time before `past_max`.
    TooOld,
    /// Event time beyond `future_max`.
    TooFarAhead,
    /// The device has `series_max` series already, or the gateway all that its aggregator allows.
    TooManySeries,
    /// More readings in one message than `readings_max`.
    TooManyReadings,
    /// A sequence number without a hello, a message without one after it, or a hello out of place.
    BadSequence,
    /// A topic that the gateway does not know.
    BadTopic,
}

impl Reason {
    /// All reasons, for the metrics.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::TooLong,
        Self::NotANumber,
        Self::BadMetric,
        Self::BadLabel,
        Self::TooOld,
        Self::TooFarAhead,
        Self::TooManySeries,
        Self::TooManyReadings,
        Self::BadSequence,
        Self::BadTopic,
    ];

    /// The code that devices and metrics see.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::NotANumber => "not_a_number",
            Self::BadMetric => "bad_metric",
            Self::BadLabel => "bad_label",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::TooManySeries => "too_many_series",
            Self::TooManyReadings => "too_many_readings",
            Self::BadSequence => "bad_sequence",
            Self::BadTopic => "bad_topic",
        }
    }
}

/// A refusal, as reported to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// For a person: which member, which rule.
    pub message: String,
    /// Ordinal of the message on its connection.
    pub ordinal: u64,
    /// Its sequence number, when it had one.
    pub seq: Option<u64>,
    /// How many readings (or messages that cannot be read) it stands for, at least 1.
    pub count: u32,
}

/// Which event times are taken, seen from now.
#[derive(Clone, Copy, Debug)]
pub struct TimeRules {
    /// The gateway's clock: given to readings without a time.
    pub now: Timestamp,
    /// Oldest time taken.
    pub oldest: Timestamp,
    /// Newest time taken.
    pub newest: Timestamp,
}

impl TimeRules {
    /// Checks the event time of a reading.
    ///
    /// # Errors
    /// [`Reason::TooOld`] or [`Reason::TooFarAhead`].
    pub fn check(&self, time: Timestamp) -> Result<Timestamp, Reason> {
        if time < self.oldest {
            return Err(Reason::TooOld);
        }
        if time > self.newest {
            return Err(Reason::TooFarAhead);
        }
        Ok(time)
    }
}

/// The series that a session has used, by name: each gets an index at its first use.
///
/// Bounded: beyond `max` the table starts anew with higher indexes, so a device that invents labels costs time
/// but no memory. Indexes are never reused within a session. Only indexes of the table as it stands are good for
/// readings: who keeps one for longer compares [`SeriesTable::generation`].
#[derive(Debug)]
pub struct SeriesTable {
    plain: HashMap<MetricName, u32>,
    labelled: HashMap<Labels, HashMap<MetricName, u32>>,
    /// How the names were written that are a metric's only as they are mapped: at most one a metric.
    spellings: Option<Box<MetricSpellings>>,
    known: usize,
    next: u32,
    max: usize,
    generation: u64,
    /// How the session's messages looked so far: their names are found there without a look-up here.
    pub(crate) shapes: Shapes,
    /// The names that it has used.
    pub(crate) seen: SeenSpellings,
}

impl SeriesTable {
    /// A table of at most so many series.
    pub fn new(max: usize) -> Self {
        Self {
            plain: HashMap::new(),
            labelled: HashMap::new(),
            spellings: None,
            known: 0,
            next: 0,
            max: max.max(1),
            generation: 0,
            shapes: Shapes::new(max),
            seen: SeenSpellings::default(),
        }
    }

    /// The index of a series; a new one is added to `fresh`.
    ///
    /// # Errors
    /// When the metric's name breaks the rule: the message for the device.
    pub fn index(
        &mut self,
        metric: &str,
        labels: &Labels,
        fresh: &mut Vec<(u32, MetricName, Labels)>,
    ) -> Result<u32, String> {
        let known = if labels.is_empty() {
            self.plain.get(metric)
        } else {
            self.labelled.get(labels).and_then(|metrics| metrics.get(metric))
        };
        if let Some(index) = known {
            return Ok(*index);
        }
        let metric = MetricName::new(metric).map_err(|e| e.to_string())?;
        if self.known >= self.max {
            self.plain.clear();
            self.labelled.clear();
            self.spellings = None;
            self.shapes.clear();
            self.known = 0;
            self.generation += 1;
        }
        let index = self.next;
        self.next = self.next.wrapping_add(1);
        self.known += 1;
        if labels.is_empty() {
            self.plain.insert(metric.clone(), index);
        } else {
            self.labelled.entry(labels.clone()).or_default().insert(metric.clone(), index);
        }
        fresh.push((index, metric, labels.clone()));
        Ok(index)
    }

    /// How often the table started anew. An index given out under another generation may mean nothing to the device's
    /// sessions any more: the series is to be looked up again.
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_its_index_once() {
        let mut table = SeriesTable::new(2);
        let mut fresh = Vec::new();
        let room = Labels::new([("room", "3")]).unwrap();
        assert_eq!(table.index("a", &Labels::none(), &mut fresh), Ok(0));
        assert_eq!(table.index("a", &room, &mut fresh), Ok(1));
        assert_eq!(table.index("a", &Labels::none(), &mut fresh), Ok(0));
        assert_eq!(fresh.len(), 2);
        assert!(table.index("9", &Labels::none(), &mut fresh).is_err());
        // The bound: the table starts anew, indexes go on.
        assert_eq!(table.index("c", &Labels::none(), &mut fresh), Ok(2));
        assert_eq!(table.index("a", &Labels::none(), &mut fresh), Ok(3));
    }

    #[test]
    fn an_intake_of_many_windows_is_large_sooner_and_one_of_few_is_not() {
        let messages = |step_ms: i64, width: Option<Width>| {
            let mut intake = Intake::default();
            intake.measure_by(width);
            let mut count = 0;
            while !intake.is_large() {
                let times = (0..10).map(|n| Timestamp::from_millis((10 * count + n) * step_ms).unwrap());
                intake.readings.extend(times.map(|time| Reading { series: 0, time, value: 1.0 }));
                count += 1;
            }
            10 * count as usize
        };
        let width = Width::from_millis(1_000).ok();
        assert_eq!(messages(-1_000, width), LARGE.div_ceil(1 + WINDOW_COST).next_multiple_of(10));
        assert_eq!(messages(0, width), LARGE.next_multiple_of(10));
        assert_eq!(messages(1_000, None), LARGE.next_multiple_of(10), "the width is not known");
        assert!((LARGE / 3..LARGE / 2).contains(&messages(100, width)), "ten readings a window");
        let mut emptied = Intake::default();
        emptied.readings.push(Reading { series: 0, time: Timestamp::MIN, value: 0.0 });
        emptied.readings.push(Reading { series: 0, time: Timestamp::MAX, value: 0.0 });
        emptied.measure_by(width);
        assert!(!emptied.is_large(), "no more windows than readings");
        emptied.reuse();
        assert!(!emptied.is_large());
    }
}
