//! The protocols of a session: which one, how its bytes become an [`Intake`], how answers look in it.
//!
//! Pure: the session feeds it bytes and the time, and writes what it encodes.

use catchment_proto::{frame, wire};

use crate::{
    decode::{Decoded, Limits, Lines, Next, frames, json, line_protocol, refuse_too_long},
    intake::{Intake, Names, Reason, Refusal, TimeRules},
};

/// ALPN of device frames.
pub const ALPN_FRAMES: &[u8] = b"catchment/1";
/// Readings of an intake beyond which it is handed on before more is decoded.
const READINGS_AT_ONCE: usize = 16_384;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Length-prefixed protobuf messages.
    Frames,
    /// One JSON value a line.
    Json,
    /// InfluxDB line protocol.
    LineProtocol,
}

impl Kind {
    /// By the agreed ALPN, else by the first byte; `None` for a protocol that is not spoken here.
    pub fn choose(alpn: Option<&[u8]>, first: u8) -> Option<Self> {
        match (alpn, first) {
            (Some(alpn), _) if alpn == ALPN_FRAMES => Some(Self::Frames),
            (Some(_), _) | (None, 0x10) => None,
            (None, b'{' | b'[') => Some(Self::Json),
            (None, _) => Some(Self::LineProtocol),
        }
    }

    /// Name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Json => "json",
            Self::LineProtocol => "line_protocol",
        }
    }
}

/// How a device's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// With TLS's close_notify: what came is all that was sent.
    Orderly,
    /// Without: the last line may have lost its end.
    Cut,
}

/// Why decoding stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// More bytes are needed.
    More,
    /// The intake is large enough to be handed on.
    Enough,
    /// The device numbers its messages from here on; what was decoded before belongs to the time before.
    Hello(String),
    /// The bytes cannot be read any further: the connection must end.
    Broken,
}

enum Reader {
    Frames(frames::FrameNames),
    Json(Lines),
    LineProtocol(Lines),
}

/// The decoding half of a connection.
pub struct Decoder {
    reader: Reader,
    names: Names,
    limits: Limits,
    ordinal: u64,
    numbered: bool,
}

impl Decoder {
    /// The beginning of a connection.
    pub fn new(kind: Kind, limits: Limits, series_max: usize) -> Self {
        let bytes_max = limits.message_bytes_max;
        let reader = match kind {
            Kind::Frames => {
                Reader::Frames(frames::FrameNames::new(u32::try_from(series_max).unwrap_or(u32::MAX)))
            }
            Kind::Json => Reader::Json(Lines::json(bytes_max)),
            Kind::LineProtocol => Reader::LineProtocol(Lines::line_protocol(bytes_max)),
        };
        Self { reader, names: Names::new(series_max), limits, ordinal: 0, numbered: false }
    }

    /// Decodes what is whole at the front of the buffer: how many bytes that was, and why it stopped.
    ///
    /// `ended`: no more bytes will come.
    pub fn decode(
        &mut self,
        buffer: &[u8],
        ended: Option<Closing>,
        rules: &TimeRules,
        intake: &mut Intake,
    ) -> (usize, Stop) {
        let mut consumed = 0;
        loop {
            if intake.readings.len() >= READINGS_AT_ONCE {
                return (consumed, Stop::Enough);
            }
            let rest = buffer.get(consumed..).unwrap_or_default();
            let (used, stop) = self.one(rest, ended, rules, intake);
            consumed += used;
            if let Some(stop) = stop {
                return (consumed, stop);
            }
        }
    }

    /// Decodes one line or frame.
    fn one(
        &mut self,
        rest: &[u8],
        ended: Option<Closing>,
        rules: &TimeRules,
        intake: &mut Intake,
    ) -> (usize, Option<Stop>) {
        let ordinal = self.ordinal + 1;
        let before = (intake.heads.len(), intake.readings.len());
        let (consumed, decoded) = match &mut self.reader {
            Reader::Frames(frame_names) => match frame::split(rest, self.limits.message_bytes_max) {
                Ok(None) => return (0, Some(Stop::More)),
                Ok(Some((body, _))) => {
                    let used = frame::HEADER_BYTES + body.len();
                    let names = &mut self.names;
                    (
                        used,
                        frames::decode_frame(body, ordinal, frame_names, names, rules, &self.limits, intake),
                    )
                }
                Err(_) => {
                    refuse_too_long(&self.limits, ordinal, intake);
                    return (rest.len(), Some(Stop::Broken));
                }
            },
            Reader::Json(lines) => {
                // A JSON object or array that lost its end is no JSON, so a last line without end can be trusted.
                let next = if ended.is_some() { lines.finish(rest) } else { lines.next(rest) };
                match next {
                    Next::More { consumed } => return (consumed, Some(Stop::More)),
                    Next::TooLong { consumed } => (consumed, refused_too_long(&self.limits, ordinal, intake)),
                    Next::Line { line, consumed } => {
                        let names = &mut self.names;
                        (consumed, json::decode_line(line, ordinal, names, rules, &self.limits, intake))
                    }
                }
            }
            Reader::LineProtocol(lines) => {
                let whole = ended == Some(Closing::Orderly);
                let next = if whole { lines.finish(rest) } else { lines.next(rest) };
                match next {
                    Next::More { consumed } => {
                        if ended.is_some() && consumed < rest.len() {
                            intake.refusals.push(cut_line(ordinal));
                        }
                        return (consumed, Some(Stop::More));
                    }
                    Next::TooLong { consumed } => (consumed, refused_too_long(&self.limits, ordinal, intake)),
                    Next::Line { line, consumed } => {
                        let precision = line_protocol::Precision::Nanoseconds;
                        let (names, limits) = (&mut self.names, &self.limits);
                        let decoded = line_protocol::decode_line(
                            line, precision, ordinal, names, rules, limits, intake,
                        );
                        (consumed, decoded)
                    }
                }
            }
        };
        self.ordinal = ordinal;
        (consumed, self.settle(decoded, before, intake))
    }

    /// Holds the message to the rule of sequence numbers.
    fn settle(
        &mut self,
        decoded: Decoded,
        (heads, readings): (usize, usize),
        intake: &mut Intake,
    ) -> Option<Stop> {
        let ordinal = self.ordinal;
        match decoded {
            Decoded::Hello { epoch } => {
                self.numbered = true;
                return Some(Stop::Hello(epoch));
            }
            Decoded::Message => {
                let new = intake.heads.get(heads..).unwrap_or_default();
                let wrong = new.iter().find(|head| head.seq.is_some() != self.numbered)?;
                let message = match wrong.seq {
                    Some(_) => {
                        "a sequence number without a hello before: send {\"hello\":{\"epoch\":…}} first"
                    }
                    None => "a message without a sequence number after a hello: add \"seq\"",
                };
                let refusal = Refusal {
                    reason: Reason::BadSequence,
                    message: message.to_owned(),
                    ordinal,
                    seq: wrong.seq,
                    count: u32::try_from(intake.readings.len() - readings).unwrap_or(u32::MAX).max(1),
                };
                intake.heads.truncate(heads);
                intake.readings.truncate(readings);
                intake.refusals.push(refusal);
            }
            Decoded::Refused => {}
        }
        // Where acknowledgements count messages, a refused one counts too.
        if !self.numbered {
            intake.end_message(None, ordinal);
        }
        None
    }
}

fn refused_too_long(limits: &Limits, ordinal: u64, intake: &mut Intake) -> Decoded {
    refuse_too_long(limits, ordinal, intake);
    Decoded::Refused
}

/// A line of line protocol without its end may read as another value: `21.57` cut to `21.5`.
fn cut_line(ordinal: u64) -> Refusal {
    let message = "the connection broke within a line".to_owned();
    Refusal { reason: Reason::Malformed, message, ordinal, seq: None, count: 1 }
}

/// The answering half of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    kind: Kind,
}

impl Encoder {
    /// For a protocol.
    pub const fn new(kind: Kind) -> Self {
        Self { kind }
    }

    /// Whether the protocol has answers at all.
    pub fn answers(self) -> bool {
        self.kind != Kind::LineProtocol
    }

    /// Everything up to `ack` is durable.
    pub fn ack(self, ack: u64, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Frames => put(wire::gateway_message::Kind::Ack(wire::Ack { ack }), out),
            Kind::Json => out.extend_from_slice(format!("{{\"ack\":{ack}}}\n").as_bytes()),
            Kind::LineProtocol => {}
        }
    }

    /// Answer to a hello.
    pub fn welcome(self, epoch: &str, ack: u64, out: &mut Vec<u8>) {
        match self.kind {
            Kind::Frames => {
                put(
                    wire::gateway_message::Kind::Welcome(wire::Welcome { epoch: epoch.to_owned(), ack }),
                    out,
                );
            }
            Kind::Json => line(&serde_json::json!({ "welcome": { "epoch": epoch, "ack": ack } }), out),
            Kind::LineProtocol => {}
        }
    }

    /// What was not taken.
    pub fn refusal(self, refusal: &Refusal, out: &mut Vec<u8>) {
        let code = refusal.reason.code();
        match self.kind {
            Kind::Frames => put(
                wire::gateway_message::Kind::Refusal(wire::Refusal {
                    code: code.to_owned(),
                    message: refusal.message.clone(),
                    seq: refusal.seq.unwrap_or(refusal.ordinal),
                }),
                out,
            ),
            Kind::Json => {
                let mut error = serde_json::json!({
                    "code": code, "message": refusal.message, "line": refusal.ordinal,
                });
                if let (Some(seq), Some(object)) = (refusal.seq, error.as_object_mut()) {
                    object.insert("seq".to_owned(), seq.into());
                }
                line(&serde_json::json!({ "error": error }), out);
            }
            Kind::LineProtocol => {}
        }
    }
}

fn put(kind: wire::gateway_message::Kind, out: &mut Vec<u8>) {
    frame::put(&wire::GatewayMessage { kind: Some(kind) }, out);
}

fn line(value: &serde_json::Value, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'\n');
}
