//! What the readers of all protocols have in common: where messages go, and how reading stops.

use crate::{
    decode::{DecodeLimits, Decoded, refuse_too_long},
    intake::{Intake, Reason, Refusal, SeriesTable, TimeRules},
    mqtt::connection::Open,
};

/// How a device's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// With TLS's close_notify: what came is all that was sent.
    Orderly,
    /// Without: the last line may have lost its end.
    Abrupt,
}

/// Why decoding stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeStop {
    /// More bytes are needed.
    More,
    /// The intake is large enough to be handed on.
    Enough,
    /// The device numbers its messages from here on; the messages decoded before are not numbered.
    Hello(String),
    /// A client asks for a session; nothing more is decoded before [`super::Decoder::accept`].
    Open(Open),
    /// The device has ended the connection in order.
    Done,
    /// The bytes cannot be read any further: the connection must end, with these last bytes to the device.
    Broken(Vec<u8>),
}

/// Where a reader puts what it reads, and by which rules.
pub(super) struct Target<'a> {
    pub(super) table: &'a mut SeriesTable,
    pub(super) rules: &'a TimeRules,
    pub(super) limits: &'a DecodeLimits,
    pub(super) intake: &'a mut Intake,
}

/// What stands at the front of the bytes.
pub(super) enum Front {
    /// No whole message; so many bytes are of no use.
    Incomplete(usize),
    /// A message of so many bytes, which is in the intake.
    Message(usize, Decoded),
    /// Nothing that can be read. The refusal is in the intake.
    Unreadable,
}

/// Reads a protocol whose messages the gateway counts: one line or frame at a time.
pub(super) trait ReadMessage {
    /// Reads the message at the front of the bytes, which has this ordinal on its connection. `closing`: no more bytes
    /// will come.
    fn read(
        &mut self,
        bytes: &[u8],
        closing: Option<Closing>,
        ordinal: u64,
        target: &mut Target<'_>,
    ) -> Front;
}

impl Target<'_> {
    /// Refuses a line or frame beyond the bound.
    pub(super) fn refuse_too_long(&mut self, ordinal: u64) -> Decoded {
        refuse_too_long(self.limits, ordinal, self.intake);
        Decoded::Refused
    }
}

/// The refusal of bytes that are no message.
pub(super) fn no_message(ordinal: u64, message: String) -> Refusal {
    Refusal { reason: Reason::Malformed, message, ordinal, seq: None, count: 1 }
}
