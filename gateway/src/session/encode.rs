//! Responses as bytes of each protocol.

use catchment_proto::{frame, wire};

use super::protocol::Protocol;
use crate::intake::Refusal;

/// The encoding half of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    kind: Protocol,
}

impl Encoder {
    /// For a protocol.
    pub const fn new(kind: Protocol) -> Self {
        Self { kind }
    }

    /// Whether the protocol has acknowledgements by number, and refusals of their own.
    pub fn acknowledges(self) -> bool {
        matches!(self.kind, Protocol::Frames | Protocol::Json)
    }

    /// Everything up to `ack` is durable.
    pub fn ack(self, ack: u64, out: &mut Vec<u8>) {
        match self.kind {
            Protocol::Frames => put(wire::gateway_message::Kind::Ack(wire::Ack { ack }), out),
            Protocol::Json => out.extend_from_slice(format!("{{\"ack\":{ack}}}\n").as_bytes()),
            Protocol::LineProtocol | Protocol::Mqtt => {}
        }
    }

    /// Answer to a hello.
    pub fn welcome(self, epoch: &str, ack: u64, out: &mut Vec<u8>) {
        match self.kind {
            Protocol::Frames => {
                put(
                    wire::gateway_message::Kind::Welcome(wire::Welcome { epoch: epoch.to_owned(), ack }),
                    out,
                );
            }
            Protocol::Json => line(&serde_json::json!({ "welcome": { "epoch": epoch, "ack": ack } }), out),
            Protocol::LineProtocol | Protocol::Mqtt => {}
        }
    }

    /// What was not taken.
    pub fn refusal(self, refusal: &Refusal, out: &mut Vec<u8>) {
        let code = refusal.reason.code();
        match self.kind {
            Protocol::Frames => put(
                wire::gateway_message::Kind::Refusal(wire::Refusal {
                    code: code.to_owned(),
                    message: refusal.message.clone(),
                    seq: refusal.seq.unwrap_or(refusal.ordinal),
                }),
                out,
            ),
            Protocol::Json => {
                let mut error = serde_json::json!({
                    "code": code, "message": refusal.message, "line": refusal.ordinal,
                });
                if let (Some(seq), Some(object)) = (refusal.seq, error.as_object_mut()) {
                    object.insert("seq".to_owned(), seq.into());
                }
                line(&serde_json::json!({ "error": error }), out);
            }
            Protocol::LineProtocol | Protocol::Mqtt => {}
        }
    }

    /// Why the connection ends, where no other answer says it. It is about no message: number 0.
    pub fn close_reason(self, code: &str, message: &str, out: &mut Vec<u8>) {
        match self.kind {
            Protocol::Frames => put(
                wire::gateway_message::Kind::Refusal(wire::Refusal {
                    code: code.to_owned(),
                    message: message.to_owned(),
                    seq: 0,
                }),
                out,
            ),
            Protocol::Json => {
                let error = serde_json::json!({ "code": code, "message": message, "line": 0 });
                line(&serde_json::json!({ "error": error }), out);
            }
            Protocol::LineProtocol | Protocol::Mqtt => {}
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
