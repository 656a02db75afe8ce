//! The protocols of a session: which one, how its bytes become an [`Intake`], how responses look in it.
//!
//! Pure: the session feeds it bytes and the time, and writes what it encodes.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use catchment_proto::frame::{self, FrameTooLong};
use rmqtt_codec::v5::DisconnectReasonCode;

use super::alpn_mismatch;
use crate::{
    decode::{self, DecodeLimits, Decoded, Lines, Next, frames, json, line_protocol, refuse_too_long},
    intake::{Intake, Reason, Refusal, SeriesTable, TimeRules},
    mqtt::{
        connection::{self, Connection, MqttOptions, Open},
        packets::{Reply, Violation},
    },
};

/// ALPN of device frames.
pub const ALPN_FRAMES: &[u8] = b"catchment/1";
/// ALPN of MQTT: its own, that of AWS IoT's device libraries, and one that some clients of version 5 offer.
pub const ALPN_MQTT: [&[u8]; 3] = [b"mqtt", b"x-amzn-mqtt-ca", b"mqttv5"];

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Length-prefixed protobuf messages.
    Frames,
    /// One JSON value a line.
    Json,
    /// InfluxDB line protocol.
    LineProtocol,
    /// MQTT 3.1.1 or 5.
    Mqtt,
}

impl Protocol {
    /// By the agreed ALPN; `None` for a protocol that is not spoken here. Where none was agreed on, the first bytes tell:
    /// see [`super::opening`].
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        match alpn {
            ALPN_FRAMES => Some(Self::Frames),
            _ => ALPN_MQTT.contains(&alpn).then_some(Self::Mqtt),
        }
    }

    /// Name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Json => "json",
            Self::LineProtocol => "line_protocol",
            Self::Mqtt => "mqtt",
        }
    }
}

/// What the protocols need of the configuration.
#[derive(Clone, Debug)]
pub struct ProtocolOptions {
    /// Unit of the times of line protocol.
    pub precision: line_protocol::Precision,
    /// How JSON lines are read.
    pub json: Arc<json::Options>,
    /// The rules of MQTT connections.
    pub mqtt: MqttOptions,
}

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
    /// The device numbers its messages from here on; what was decoded before belongs to the time before.
    Hello(String),
    /// A client asks for a session; nothing more is decoded before [`Decoder::accept`].
    Open(Open),
    /// The device has ended the connection in order.
    Done,
    /// The bytes cannot be read any further: the connection must end, with these last bytes to the device.
    Broken(Vec<u8>),
}

enum Reader {
    Frames(frames::SeriesAliases),
    Json(Lines, Arc<json::Options>),
    LineProtocol(Lines),
    Mqtt(Box<Connection>),
}

/// The decoding half of a connection.
pub struct Decoder {
    reader: Reader,
    precision: line_protocol::Precision,
    table: SeriesTable,
    limits: DecodeLimits,
    ordinal: u64,
    numbered: bool,
}

impl Decoder {
    /// The beginning of a connection.
    pub fn new(kind: Protocol, limits: DecodeLimits, series_max: usize, protocols: &ProtocolOptions) -> Self {
        let bytes_max = limits.message_bytes_max;
        let reader = match kind {
            Protocol::Frames => {
                Reader::Frames(frames::SeriesAliases::new(u32::try_from(series_max).unwrap_or(u32::MAX)))
            }
            Protocol::Json => Reader::Json(Lines::json(bytes_max), Arc::clone(&protocols.json)),
            Protocol::LineProtocol => Reader::LineProtocol(Lines::line_protocol(bytes_max)),
            Protocol::Mqtt => Reader::Mqtt(Box::new(Connection::new(protocols.mqtt.clone(), limits))),
        };
        Self {
            reader,
            precision: protocols.precision,
            table: SeriesTable::new(series_max),
            limits,
            ordinal: 0,
            numbered: false,
        }
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
    ) -> (usize, DecodeStop) {
        if let Reader::Mqtt(connection) = &mut self.reader {
            let (consumed, stop) = connection.decode(buffer, &mut self.table, rules, intake, client_id);
            let stop = match stop {
                connection::Stop::More => DecodeStop::More,
                connection::Stop::Enough => DecodeStop::Enough,
                connection::Stop::Open(open) => DecodeStop::Open(open),
                connection::Stop::Done => DecodeStop::Done,
                connection::Stop::Broken(why) => {
                    intake.refusals.push(broken(&why));
                    // A packet that is not CONNECT ends the connection, as the standard demands; a text gets words.
                    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
                    let begins_text = !buffer.is_empty() && buffer.iter().take(4).all(is_text);
                    let is_mqtt = connection.is_open() || !begins_text;
                    DecodeStop::Broken(if is_mqtt {
                        connection.close_packet(&why)
                    } else {
                        alpn_mismatch::not_mqtt(buffer)
                    })
                }
            };
            return (consumed, stop);
        }
        let mut consumed = 0;
        loop {
            if intake.is_large() {
                return (consumed, DecodeStop::Enough);
            }
            let rest = buffer.get(consumed..).unwrap_or_default();
            let (used, stop) = self.decode_one(rest, ended, rules, intake);
            consumed += used;
            if let Some(stop) = stop {
                return (consumed, stop);
            }
        }
    }

    /// The session of an MQTT client is open: the bytes of the answer.
    pub fn accept(&mut self, session_present: bool) -> Vec<u8> {
        match &mut self.reader {
            Reader::Mqtt(connection) => connection.accept(session_present),
            _ => Vec::new(),
        }
    }

    /// Encodes replies; the error holds the last bytes to a device whose connection must end.
    ///
    /// # Errors
    /// A reply does not fit what the device takes.
    pub fn replies(&mut self, replies: &[Reply]) -> Result<Vec<u8>, Vec<u8>> {
        let Reader::Mqtt(connection) = &mut self.reader else { return Ok(Vec::new()) };
        let mut bytes = BytesMut::new();
        for reply in replies {
            if let Err(why) = connection.put(reply, &mut bytes) {
                return Err(connection.close_packet(&why));
            }
        }
        Ok(bytes.into())
    }

    /// The last bytes to a device whose connection is ended from here.
    pub fn close_packet(&mut self, reason: DisconnectReasonCode, what: &str) -> Vec<u8> {
        match &mut self.reader {
            // Before its CONNECT, no version is known for a DISCONNECT.
            Reader::Mqtt(connection) => connection.close_packet(&Violation::new(reason, what)),
            _ => Vec::new(),
        }
    }

    /// Whether it speaks MQTT, whose clients say who they are before anything else.
    pub const fn is_mqtt(&self) -> bool {
        matches!(self.reader, Reader::Mqtt(_))
    }

    /// How long the device has said that it may be silent; `None` for any time.
    pub fn silence_max(&self) -> Option<Duration> {
        match &self.reader {
            Reader::Mqtt(connection) => connection.silence_max(),
            _ => None,
        }
    }

    /// Whether an MQTT client has not opened its session yet.
    pub fn is_opening(&self) -> bool {
        matches!(&self.reader, Reader::Mqtt(connection) if !connection.is_open())
    }

    /// Where it is: messages begun so far, and whether it skips the rest of a line that was too long.
    pub fn progress(&self) -> (u64, bool) {
        let skips = match &self.reader {
            Reader::Json(lines, _) | Reader::LineProtocol(lines) => lines.skips(),
            Reader::Frames(_) | Reader::Mqtt(_) => false,
        };
        (self.ordinal, skips)
    }

    /// Decodes one line or frame.
    fn decode_one(
        &mut self,
        rest: &[u8],
        ended: Option<Closing>,
        rules: &TimeRules,
        intake: &mut Intake,
    ) -> (usize, Option<DecodeStop>) {
        let ordinal = self.ordinal + 1;
        let before = (intake.messages.len(), intake.readings.len());
        let (consumed, decoded) = match &mut self.reader {
            Reader::Mqtt(_) => return (0, Some(DecodeStop::More)),
            Reader::Frames(aliases) => match frame::split(rest, self.limits.message_bytes_max) {
                Ok(None) => return (0, Some(DecodeStop::More)),
                Ok(Some((body, _))) => {
                    let used = frame::HEADER_BYTES + body.len();
                    let table = &mut self.table;
                    (used, frames::decode_frame(body, ordinal, aliases, table, rules, &self.limits, intake))
                }
                Err(too_long) => {
                    intake.refusals.push(no_frame(&too_long, rest, ordinal, &self.limits));
                    return (rest.len(), Some(DecodeStop::Broken(Vec::new())));
                }
            },
            Reader::Json(lines, options) => {
                // A JSON object or array that lost its end is no JSON, so a last line without end can be trusted.
                let next = if ended.is_some() { lines.finish(rest) } else { lines.next(rest) };
                match next {
                    Next::More { consumed } => return (consumed, Some(DecodeStop::More)),
                    Next::TooLong { consumed } => (consumed, refused_too_long(&self.limits, ordinal, intake)),
                    Next::Line { line, consumed } => {
                        let (table, limits) = (&mut self.table, &self.limits);
                        let decoded = json::decode_line(line, options, ordinal, table, rules, limits, intake);
                        (consumed, decoded)
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
                        return (consumed, Some(DecodeStop::More));
                    }
                    Next::TooLong { consumed } => (consumed, refused_too_long(&self.limits, ordinal, intake)),
                    Next::Line { line, consumed } => {
                        let (table, limits) = (&mut self.table, &self.limits);
                        let decoded = line_protocol::decode_line(
                            line,
                            self.precision,
                            ordinal,
                            table,
                            rules,
                            limits,
                            intake,
                        );
                        (consumed, decoded)
                    }
                }
            }
        };
        self.ordinal = ordinal;
        (consumed, self.check_sequence(decoded, before, intake))
    }

    /// Holds the message to the rule of sequence numbers.
    fn check_sequence(
        &mut self,
        decoded: Decoded,
        (messages, readings): (usize, usize),
        intake: &mut Intake,
    ) -> Option<DecodeStop> {
        let ordinal = self.ordinal;
        match decoded {
            Decoded::Hello { epoch } => {
                self.numbered = true;
                return Some(DecodeStop::Hello(epoch));
            }
            Decoded::Message => {
                let new = intake.messages.get(messages..).unwrap_or_default();
                let wrong = new.iter().find(|meta| meta.seq.is_some() != self.numbered)?;
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
                intake.messages.truncate(messages);
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

/// An identifier for an MQTT client that has none.
fn client_id() -> String {
    format!("auto-{:016x}", rand::random::<u64>())
}

/// A packet against the rules, for the counters.
fn broken(why: &Violation) -> Refusal {
    let reason = match why.reason {
        DisconnectReasonCode::PacketTooLarge => Reason::TooLong,
        DisconnectReasonCode::TopicNameInvalid => Reason::BadTopic,
        _ => Reason::Malformed,
    };
    Refusal { reason, message: why.what.clone(), ordinal: 0, seq: None, count: 1 }
}

fn refused_too_long(limits: &DecodeLimits, ordinal: u64, intake: &mut Intake) -> Decoded {
    refuse_too_long(limits, ordinal, intake);
    Decoded::Refused
}

/// A line of line protocol without its end may read as another value: `21.57` cut to `21.5`.
fn cut_line(ordinal: u64) -> Refusal {
    no_message(ordinal, "the connection broke within a line".to_owned())
}

fn no_message(ordinal: u64, message: String) -> Refusal {
    Refusal { reason: Reason::Malformed, message, ordinal, seq: None, count: 1 }
}

/// A frame whose length is beyond the bound, as the first bytes of another protocol have it.
fn no_frame(why: &FrameTooLong, bytes: &[u8], ordinal: u64, limits: &DecodeLimits) -> Refusal {
    match alpn_mismatch::not_frames(bytes).filter(|_| ordinal == 1) {
        Some(what) => no_message(ordinal, format!("{why}: {what}")),
        None => decode::too_long(limits, ordinal),
    }
}
