//! How a device is answered whose protocol answers message by message (MQTT).

use std::num::NonZeroU16;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection is accepted.
    Accepted {
        /// Something was kept of the client's earlier session.
        session_present: bool,
        /// Identifier for a client that had none.
        assigned: Option<String>,
        /// The session is kept.
        persistent: bool,
        /// Most messages of QoS 1 and 2 on their way.
        receive_max: NonZeroU16,
        /// Longest packet.
        packet_bytes_max: u32,
        /// Most topic aliases.
        aliases_max: u16,
    },
    /// The message (QoS 1) is durable, or refused.
    Published(NonZeroU16, Message),
    /// The message (QoS 2) is durable, or refused.
    Received(NonZeroU16, Message),
    /// The packet identifier (QoS 2) is free again, durably.
    Completed(NonZeroU16),
    /// No subscription was made.
    NotSubscribed(NonZeroU16, usize),
    /// There was no subscription.
    NotUnsubscribed(NonZeroU16, usize),
    /// Alive too.
    Pong,
}

impl Reply {
    /// The message that this answers, if it answers one.
    pub const fn message(&self) -> Option<&Message> {
        match self {
            Self::Published(_, message) | Self::Received(_, message) => Some(message),
            _ => None,
        }
    }

    /// Bytes of the words about its message.
    pub(super) fn text_bytes(&self) -> usize {
        self.message().map_or(0, |message| message.outcome.text_bytes())
    }

    /// As [`Reply::message`], to change what became of it.
    pub const fn message_mut(&mut self) -> Option<&mut Message> {
        match self {
            Self::Published(_, message) | Self::Received(_, message) => Some(message),
            _ => None,
        }
    }
}

/// The message that a reply answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its ordinal on the connection.
    pub ordinal: u64,
    /// What became of it: first as decoding sees it, at last as the device's sessions decided.
    pub outcome: Outcome,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken, at least in part; what of it was refused, if anything.
    Taken(Option<String>),
    /// The gateway knows no such topic.
    BadTopic(String),
    /// Nothing of it could be taken.
    BadPayload(String),
}

impl Outcome {
    /// Readings were refused after decoding, in words; `whole`: none was taken.
    pub fn refuse(&mut self, whole: bool, what: &str) {
        let before = match self {
            Self::Taken(reason_text) => reason_text.take(),
            Self::BadTopic(_) | Self::BadPayload(_) => return,
        };
        let words = before.map_or_else(|| what.to_owned(), |before| format!("{before}; {what}"));
        *self = if whole { Self::BadPayload(words) } else { Self::Taken(Some(words)) };
    }

    fn text_bytes(&self) -> usize {
        match self {
            Self::Taken(reason_text) => reason_text.as_ref().map_or(0, String::capacity),
            Self::BadTopic(reason_text) | Self::BadPayload(reason_text) => reason_text.capacity(),
        }
    }

    /// Whether nothing of the message was taken.
    pub const fn is_refused(&self) -> bool {
        !matches!(self, Self::Taken(_))
    }
}
