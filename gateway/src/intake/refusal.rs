//! What was not taken, and why.

/// Why a message or a reading was not taken. The codes are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The message cannot be parsed.
    Malformed,
    /// The message is longer than `message_bytes_max`.
    TooLong,
    /// A value that is no finite number, no boolean and no text.
    NotANumber,
    /// A text that is no state: empty, too long, or with a control character.
    BadState,
    /// A state, which the aggregator cannot take.
    StatesUnsupported,
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
    /// Readings without an acknowledgement that were not taken yet when their session ended. No device is told: the
    /// session is over.
    Ended,
}

impl Reason {
    /// All reasons, for the metrics.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::TooLong,
        Self::NotANumber,
        Self::BadState,
        Self::StatesUnsupported,
        Self::BadMetric,
        Self::BadLabel,
        Self::TooOld,
        Self::TooFarAhead,
        Self::TooManySeries,
        Self::TooManyReadings,
        Self::BadSequence,
        Self::BadTopic,
        Self::Ended,
    ];

    /// The code that devices and metrics see.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::NotANumber => "not_a_number",
            Self::BadState => "bad_state",
            Self::StatesUnsupported => "states_unsupported",
            Self::BadMetric => "bad_metric",
            Self::BadLabel => "bad_label",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::TooManySeries => "too_many_series",
            Self::TooManyReadings => "too_many_readings",
            Self::BadSequence => "bad_sequence",
            Self::BadTopic => "bad_topic",
            Self::Ended => "ended",
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
