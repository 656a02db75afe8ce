//! Why a connection ends whose device breaks the rules.

use rmqtt_codec::{error::DecodeError, v5::DisconnectReasonCode};

/// Stands for a version that is not spoken here: there is no such reason for a DISCONNECT.
pub(super) const VERSION: DisconnectReasonCode = DisconnectReasonCode::ImplementationSpecificError;

/// Why bytes are no packet, or a packet is against the rules; the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Violation {
    /// What a DISCONNECT or CONNACK of version 5 says.
    pub reason: DisconnectReasonCode,
    /// For a person.
    pub what: String,
}

impl Violation {
    /// A violation.
    pub fn new(reason: DisconnectReasonCode, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }

    /// A version that is not spoken here.
    pub(super) fn version() -> Self {
        Self::new(VERSION, "only MQTT 3.1.1 and 5 are supported")
    }

    /// A packet that is not whole within its length.
    pub(super) fn truncated() -> Self {
        Self::new(DisconnectReasonCode::MalformedPacket, "MQTT: a packet's length is wrong")
    }

    /// The most frequent kind.
    pub fn protocol(what: impl Into<String>) -> Self {
        Self::new(DisconnectReasonCode::ProtocolError, what)
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        use rmqtt_codec::v5::ToReasonCode as _;
        // The library answers an unknown packet type and bad text with codes that mean something else.
        let reason = match &error {
            DecodeError::UnsupportedPacketType | DecodeError::Utf8Error => {
                DisconnectReasonCode::MalformedPacket
            }
            error => error.to_reason_code(),
        };
        Self::new(reason, format!("MQTT: {error}"))
    }
}
