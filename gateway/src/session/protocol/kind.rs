//! The protocols that devices may speak.

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
    /// By the negotiated ALPN; `None` for a protocol that is not spoken here. Without ALPN, the first bytes decide: see
    /// [`super::super::protocol_detection`].
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
