//! The decoding half of a connection: bytes into an [`Intake`], by the reader of its protocol.

use std::{sync::Arc, time::Duration};

use rmqtt_codec::v5::DisconnectReasonCode;

use super::{
    frames::FrameReader,
    json_lines::JsonReader,
    kind::Protocol,
    line_protocol::LineReader,
    mqtt::MqttReader,
    options::ProtocolOptions,
    reader::{Closing, DecodeStop, Target},
    sequence::MessageSequence,
};
use crate::{
    decode::DecodeLimits,
    intake::{Intake, Reply, SeriesTable, TimeRules},
};

enum Reader {
    Frames(FrameReader),
    Json(JsonReader),
    LineProtocol(LineReader),
    Mqtt(Box<MqttReader>),
}

/// The decoding half of a connection.
pub struct Decoder {
    reader: Reader,
    sequence: MessageSequence,
    table: SeriesTable,
    limits: DecodeLimits,
}

impl Decoder {
    /// The beginning of a connection.
    pub fn new(kind: Protocol, limits: DecodeLimits, series_max: usize, options: &ProtocolOptions) -> Self {
        let bytes_max = limits.message_bytes_max;
        let reader = match kind {
            Protocol::Frames => Reader::Frames(FrameReader::new(series_max)),
            Protocol::Json => Reader::Json(JsonReader::new(bytes_max, Arc::clone(&options.json))),
            Protocol::LineProtocol => Reader::LineProtocol(LineReader::new(bytes_max, options.precision)),
            Protocol::Mqtt => Reader::Mqtt(Box::new(MqttReader::new(options.mqtt.clone(), limits))),
        };
        Self { reader, sequence: MessageSequence::default(), table: SeriesTable::new(series_max), limits }
    }

    /// Decodes the whole messages at the front of the buffer: how many bytes that was, and why it stopped.
    ///
    /// `closing`: no more bytes will come.
    pub fn decode(
        &mut self,
        buffer: &[u8],
        closing: Option<Closing>,
        rules: &TimeRules,
        intake: &mut Intake,
    ) -> (usize, DecodeStop) {
        let Self { reader, sequence, table, limits } = self;
        let mut target = Target { table, rules, limits, intake };
        match reader {
            Reader::Frames(frames) => sequence.read_all(frames, buffer, closing, &mut target),
            Reader::Json(lines) => sequence.read_all(lines, buffer, closing, &mut target),
            Reader::LineProtocol(lines) => sequence.read_all(lines, buffer, closing, &mut target),
            Reader::Mqtt(mqtt) => mqtt.read(buffer, &mut target),
        }
    }

    /// The session of an MQTT client is open: the bytes of the answer.
    pub fn accept(&mut self, session_present: bool) -> Vec<u8> {
        match &mut self.reader {
            Reader::Mqtt(mqtt) => mqtt.accept(session_present),
            _ => Vec::new(),
        }
    }

    /// Encodes replies; the error holds the last bytes to a device whose connection must end.
    ///
    /// # Errors
    /// A reply does not fit what the device takes.
    pub fn replies(&mut self, replies: &[Reply]) -> Result<Vec<u8>, Vec<u8>> {
        match &mut self.reader {
            Reader::Mqtt(mqtt) => mqtt.replies(replies),
            _ => Ok(Vec::new()),
        }
    }

    /// The last bytes to a device whose connection is ended from here.
    pub fn close_packet(&mut self, reason: DisconnectReasonCode, what: &str) -> Vec<u8> {
        match &mut self.reader {
            Reader::Mqtt(mqtt) => mqtt.close_packet(reason, what),
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
            Reader::Mqtt(mqtt) => mqtt.silence_max(),
            _ => None,
        }
    }

    /// Whether an MQTT client has not opened its session yet.
    pub fn is_opening(&self) -> bool {
        matches!(&self.reader, Reader::Mqtt(mqtt) if !mqtt.is_open())
    }

    /// Where it is: messages counted so far, and whether it skips the rest of a line that was too long.
    pub fn progress(&self) -> (u64, bool) {
        let skips = match &self.reader {
            Reader::Json(lines) => lines.skips(),
            Reader::LineProtocol(lines) => lines.skips(),
            Reader::Frames(_) | Reader::Mqtt(_) => false,
        };
        (self.sequence.ordinal(), skips)
    }
}
