//! The reply to a device that negotiated one protocol by ALPN and speaks another.

use super::{
    protocol::Protocol,
    protocol_detection::{Detection, Foreign, ProtocolDetector},
};

/// The last bytes to a device that negotiated MQTT and speaks something else.
pub(super) fn not_mqtt(first_bytes: &[u8]) -> Vec<u8> {
    match ProtocolDetector::default().inspect(first_bytes, true).1 {
        Detection::Foreign(foreign) => foreign.answer(),
        _ => Foreign::NotMqtt.answer(),
    }
}

/// What the first bytes look like if they are no frame although frames were negotiated; `None` if they look like
/// nothing known.
pub(super) fn not_frames(first_bytes: &[u8]) -> Option<String> {
    let detection = match ProtocolDetector::default().inspect(first_bytes, true).1 {
        Detection::Speaks(Protocol::Json) => "JSON lines: connect without ALPN",
        Detection::Speaks(Protocol::LineProtocol) => {
            "text: connect without ALPN for JSON lines or line protocol"
        }
        Detection::Speaks(Protocol::Mqtt) => "MQTT: connect without ALPN, or with mqtt",
        Detection::Foreign(Foreign::Http { .. }) => "HTTP",
        _ => return None,
    };
    Some(format!("ALPN selected frames (catchment/1), but this looks like {detection}"))
}
