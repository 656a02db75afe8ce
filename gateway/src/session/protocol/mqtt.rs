//! Reads MQTT: packets by the rules of a connection, which counts messages and writes replies itself.

use std::time::Duration;

use bytes::BytesMut;
use rmqtt_codec::v5::DisconnectReasonCode;

use super::{
    super::alpn_mismatch,
    reader::{DecodeStop, Target},
};
use crate::{
    decode::DecodeLimits,
    intake::{Reason, Refusal, Reply},
    mqtt::{
        connection::{Connection, MqttOptions, Stop},
        packets::Violation,
    },
};

/// Reads one MQTT connection.
pub(super) struct MqttReader {
    connection: Connection,
}

impl MqttReader {
    /// A connection before its CONNECT.
    pub(super) fn new(options: MqttOptions, limits: DecodeLimits) -> Self {
        Self { connection: Connection::new(options, limits) }
    }

    /// Reads the whole packets at the front of the bytes: how many bytes that was, and why it stopped.
    pub(super) fn read(&mut self, bytes: &[u8], target: &mut Target<'_>) -> (usize, DecodeStop) {
        let Target { table, rules, intake, .. } = target;
        let (consumed, stop) = self.connection.decode(bytes, table, rules, intake, client_id);
        let stop = match stop {
            Stop::More => DecodeStop::More,
            Stop::Enough => DecodeStop::Enough,
            Stop::Open(open) => DecodeStop::Open(open),
            Stop::Done => DecodeStop::Done,
            Stop::Broken(why) => {
                intake.refusals.push(broken(&why));
                DecodeStop::Broken(self.last_bytes(bytes, &why))
            }
        };
        (consumed, stop)
    }

    /// The answer to bytes that break the rules. A packet that is not CONNECT ends the connection, as the standard
    /// demands; a text gets words.
    fn last_bytes(&mut self, bytes: &[u8], why: &Violation) -> Vec<u8> {
        let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        let begins_text = !bytes.is_empty() && bytes.iter().take(4).all(is_text);
        if self.connection.is_open() || !begins_text {
            self.connection.close_packet(why)
        } else {
            alpn_mismatch::not_mqtt(bytes)
        }
    }

    /// The client's session is open: the bytes of the answer.
    pub(super) fn accept(&mut self, session_present: bool) -> Vec<u8> {
        self.connection.accept(session_present)
    }

    /// Encodes replies; the error holds the last bytes to a client whose connection must end.
    pub(super) fn replies(&mut self, replies: &[Reply]) -> Result<Vec<u8>, Vec<u8>> {
        let mut bytes = BytesMut::new();
        for reply in replies {
            if let Err(why) = self.connection.put(reply, &mut bytes) {
                return Err(self.connection.close_packet(&why));
            }
        }
        Ok(bytes.into())
    }

    /// The last bytes to a client whose connection is ended from here. Before its CONNECT, no version is known for a
    /// DISCONNECT.
    pub(super) fn close_packet(&mut self, reason: DisconnectReasonCode, what: &str) -> Vec<u8> {
        self.connection.close_packet(&Violation::new(reason, what))
    }

    /// How long the client has said that it may be silent; `None` for any time.
    pub(super) fn silence_max(&self) -> Option<Duration> {
        self.connection.silence_max()
    }

    /// Whether the client's session is open.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }
}

/// An identifier for a client that has none.
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
