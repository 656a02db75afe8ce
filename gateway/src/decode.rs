//! Bytes of a device into [`crate::intake::Intake`]: the pure half of a session, without sockets and clocks.
//!
//! ```text
//! bytes ─▶ lines::Lines, or catchment_proto::frame::split ─▶ json | line_protocol | frames ─▶ Intake
//! payload of another protocol ─▶ json | line_protocol | value ─▶ Intake
//! ```
//!
//! * [`lines`] cuts a stream into lines in bounded memory; each decoder takes one whole line or frame.
//! * What cannot be taken becomes a [`crate::intake::Refusal`], reading by reading; the good readings beside it are
//!   kept. A message that cannot be parsed leaves no readings ([`Decoded::Refused`]).
//! * No input panics, and what a message makes us hold is bounded by its own length and by [`DecodeLimits`].
//! * Series that a refused message was the first to name stay in `Intake::fresh`: they are known without readings.

mod decimal;
#[cfg(test)]
pub(crate) mod fixture;
pub mod frames;
pub mod json;
pub mod line_protocol;
pub mod lines;
pub(crate) mod names;
pub(crate) mod sink;
pub(crate) mod value;

use catchment_proto::series::excerpt;
pub use lines::{Lines, Next, refuse_too_long, too_long};

/// Bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest message in bytes: a line without its end, or the body of a frame.
    pub message_bytes_max: usize,
    /// Most readings of a message, refused ones included; those beyond are refused.
    pub readings_max: usize,
    /// Deepest nesting of JSON objects, the outermost being 1; members nested deeper are refused.
    pub depth_max: usize,
}

impl Default for DecodeLimits {
    /// 256 KiB, 10,000 readings, depth 16: far above what one message of a device needs, and small beside
    /// the memory of a connection.
    fn default() -> Self {
        Self { message_bytes_max: 256 << 10, readings_max: 10_000, depth_max: 16 }
    }
}

/// What a line or frame was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Readings: one message or several were ended in the intake, possibly with refusals or without readings.
    Message,
    /// The device numbers its messages from here on.
    Hello {
        /// One life of the sender, 1 to 64 bytes.
        epoch: String,
    },
    /// No message: there is a refusal in the intake, and no message was ended. Where acks count messages, the
    /// caller ends one ([`crate::intake::Intake::end_message`]) so that the ack covers it.
    Refused,
}

/// Longest epoch in bytes.
const EPOCH_BYTES_MAX: usize = 64;
