//! Encodes device messages and decodes gateway replies. Pure; one codec per protocol.
//!
//! Replies are untrusted: nothing here panics on them, and none is kept beyond 64 KiB.

use std::{collections::HashMap, fmt::Write as _};

use catchment_proto::{frame, wire};
use prost::{
    Message as _,
    bytes::{Buf as _, BytesMut},
};
use serde::Deserialize;

use super::{
    values::{Value, Values},
    window::Message,
};

/// Longest reply of a gateway in bytes; real ones are far shorter.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Most series that a connection names by index; further ones are sent with their full names.
const INDEXES_MAX: usize = 1024;

/// A gateway's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The hello was accepted; holds the highest durable sequence number of the epoch.
    Welcome(u64),
    /// Everything up to this sequence number is durable.
    Ack(u64),
    /// A message or a part of it was refused.
    Refusal(Refusal),
}

/// Why a message or one of its readings was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The message that it concerns.
    pub about: About,
}

/// How a refusal names its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// By its ordinal on the connection, from 1, the hello included.
    Line(u64),
    /// By its sequence number.
    Seq(u64),
}

/// Bytes that are not a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer than any reply of a gateway.
    #[error("the reply exceeds {ANSWER_BYTES_MAX} bytes; is the peer a Catchment gateway?")]
    TooLong,
    /// Malformed; holds the reason.
    #[error("the reply is in another protocol ({0}); is the peer a Catchment gateway?")]
    Malformed(String),
}

/// A device protocol. One value per device; [`Codec::begin`] starts each connection.
pub trait Codec {
    /// Payload of a message.
    type Body: Send;

    /// Starts a new connection: forgets the state of the last one.
    fn begin(&mut self) {}

    /// Appends the first message of a connection.
    fn hello(&self, epoch: &str, out: &mut Vec<u8>);

    /// Appends a message.
    fn message(&mut self, message: &Message<Self::Body>, out: &mut Vec<u8>);

    /// Takes the next complete reply from the received bytes; `None` until one is complete.
    ///
    /// # Errors
    /// Bytes that are not a reply; the connection cannot be read any further.
    fn next_reply(&self, input: &mut BytesMut) -> Result<Option<Reply>, CodecError>;

    /// An upper estimate of the memory that a message takes, in bytes.
    fn size(body: &Self::Body) -> usize;
}

/// [`Values`] as JSON lines.
#[derive(Clone, Debug, Default)]
pub struct JsonLines;

/// JSON objects given as text, sent unchanged after their sequence number.
#[derive(Clone, Debug, Default)]
pub struct RawLines;

/// A line of [`RawLines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLine {
    /// The members of the object, without braces and `seq`.
    pub members: String,
    /// Number of the line in the input, from 1.
    pub line: u64,
    /// Another message of that line was refused before it was sent.
    pub refused_beside: bool,
    /// This is the last message of that line.
    pub last_of_line: bool,
}

/// [`Values`] as frames of `catchment/1`.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Indexes given to series on the present connection.
    indexes: HashMap<(String, Vec<(String, String)>), u32>,
}

fn values_size(values: &Values) -> usize {
    let labels: usize = values.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    values.readings.iter().map(|(metric, _)| metric.len() + 48).sum::<usize>() + labels + 64
}

impl Codec for JsonLines {
    type Body = Values;

    fn hello(&self, epoch: &str, out: &mut Vec<u8>) {
        json_hello(epoch, out);
    }

    fn message(&mut self, message: &Message<Values>, out: &mut Vec<u8>) {
        let body = &message.body;
        let mut line = format!("{{\"seq\":{},\"ts\":{},\"values\":{{", message.seq, body.time_ms);
        for (index, (metric, value)) in body.readings.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = match value {
                Value::Number(number) => write!(line, "{comma}{}:{number:?}", json_text(metric)),
                Value::Bool(state) => write!(line, "{comma}{}:{state}", json_text(metric)),
            };
        }
        line.push('}');
        for (index, (name, value)) in body.labels.iter().enumerate() {
            let begin = if index == 0 { ",\"labels\":{" } else { "," };
            let _ = write!(line, "{begin}{}:{}", json_text(name), json_text(value));
        }
        line.push_str(if body.labels.is_empty() { "}\n" } else { "}}\n" });
        out.extend_from_slice(line.as_bytes());
    }

    fn next_reply(&self, input: &mut BytesMut) -> Result<Option<Reply>, CodecError> {
        json_reply(input)
    }

    fn size(body: &Values) -> usize {
        values_size(body)
    }
}

impl Codec for RawLines {
    type Body = RawLine;

    fn hello(&self, epoch: &str, out: &mut Vec<u8>) {
        json_hello(epoch, out);
    }

    fn message(&mut self, message: &Message<RawLine>, out: &mut Vec<u8>) {
        let comma = if message.body.members.is_empty() { "" } else { "," };
        let line = format!("{{\"seq\":{}{comma}{}}}\n", message.seq, message.body.members);
        out.extend_from_slice(line.as_bytes());
    }

    fn next_reply(&self, input: &mut BytesMut) -> Result<Option<Reply>, CodecError> {
        json_reply(input)
    }

    fn size(body: &RawLine) -> usize {
        body.members.len() + 64
    }
}

impl Frames {
    /// The index of a series on this connection; a new one is added to `define`. `None` when there are too many.
    fn index(&mut self, metric: &str, body: &Values, define: &mut Vec<wire::SeriesName>) -> Option<u32> {
        let key = (metric.to_owned(), body.labels.clone());
        if let Some(index) = self.indexes.get(&key) {
            return Some(*index);
        }
        if self.indexes.len() >= INDEXES_MAX {
            return None;
        }
        let index = u32::try_from(self.indexes.len()).ok()?.checked_add(1)?;
        self.indexes.insert(key, index);
        let labels = body.labels.iter().cloned().collect();
        define.push(wire::SeriesName { index, metric: metric.to_owned(), labels });
        Some(index)
    }
}

impl Codec for Frames {
    type Body = Values;

    fn begin(&mut self) {
        self.indexes.clear();
    }

    fn hello(&self, epoch: &str, out: &mut Vec<u8>) {
        let hello = wire::device_message::Kind::Hello(wire::Hello { epoch: epoch.to_owned() });
        frame::put(&wire::DeviceMessage { kind: Some(hello) }, out);
    }

    fn message(&mut self, message: &Message<Values>, out: &mut Vec<u8>) {
        let body = &message.body;
        let time_ns = body.time_ms.saturating_mul(1_000_000);
        let mut readings = wire::Readings { seq: message.seq, ..wire::Readings::default() };
        for (metric, value) in &body.readings {
            let value = value.number();
            match self.index(metric, body, &mut readings.define) {
                Some(series) => readings.columns.push(wire::Column {
                    series,
                    first_time_ns: time_ns,
                    step_ns: Vec::new(),
                    values: vec![value],
                    states: Vec::new(),
                }),
                None => readings.readings.push(wire::Reading {
                    metric: metric.clone(),
                    labels: body.labels.iter().cloned().collect(),
                    time_ns,
                    value,
                    state: String::new(),
                }),
            }
        }
        let kind = Some(wire::device_message::Kind::Readings(readings));
        frame::put(&wire::DeviceMessage { kind }, out);
    }

    fn next_reply(&self, input: &mut BytesMut) -> Result<Option<Reply>, CodecError> {
        use wire::gateway_message::Kind;
        loop {
            let Some((body, _)) = frame::split(input, ANSWER_BYTES_MAX).map_err(|_| CodecError::TooLong)?
            else {
                return Ok(None);
            };
            let length = body.len();
            let message = wire::GatewayMessage::decode(body)
                .map_err(|error| CodecError::Malformed(error.to_string()))?;
            input.advance(frame::HEADER_BYTES.saturating_add(length));
            match message.kind {
                Some(Kind::Welcome(welcome)) => return Ok(Some(Reply::Welcome(welcome.ack))),
                Some(Kind::Ack(ack)) => return Ok(Some(Reply::Ack(ack.ack))),
                Some(Kind::Refusal(wire::Refusal { code, message, seq })) => {
                    let refusal = Refusal { code, message, about: About::Seq(seq) };
                    return Ok(Some(Reply::Refusal(refusal)));
                }
                // A kind that only a newer gateway sends.
                None => {}
            }
        }
    }

    fn size(body: &Values) -> usize {
        values_size(body)
    }
}

/// A text as a JSON string.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json_hello(epoch: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"hello\":{{\"epoch\":{}}}}}\n", json_text(epoch)).as_bytes());
}

#[derive(Deserialize)]
struct JsonReply {
    ack: Option<u64>,
    welcome: Option<JsonWelcome>,
    error: Option<JsonRefusal>,
}

#[derive(Deserialize)]
struct JsonWelcome {
    ack: u64,
}

#[derive(Deserialize)]
struct JsonRefusal {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    line: u64,
    seq: Option<u64>,
}

fn json_reply(input: &mut BytesMut) -> Result<Option<Reply>, CodecError> {
    loop {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return if input.len() > ANSWER_BYTES_MAX { Err(CodecError::TooLong) } else { Ok(None) };
        };
        let line = input.split_to(end.saturating_add(1));
        let answer: JsonReply =
            serde_json::from_slice(&line).map_err(|error| CodecError::Malformed(error.to_string()))?;
        match answer {
            JsonReply { welcome: Some(welcome), .. } => return Ok(Some(Reply::Welcome(welcome.ack))),
            JsonReply { ack: Some(ack), .. } => return Ok(Some(Reply::Ack(ack))),
            JsonReply { error: Some(JsonRefusal { code, message, line, seq }), .. } => {
                let about = seq.map_or(About::Line(line), About::Seq);
                return Ok(Some(Reply::Refusal(Refusal { code, message, about })));
            }
            // A reply that only a newer gateway sends.
            JsonReply { .. } => {}
        }
    }
}
