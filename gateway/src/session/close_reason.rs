//! Why a session ended, and what its device is sent about it.

use catchment_certs::EndReason;
use rmqtt_codec::v5::DisconnectReasonCode;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The device closed the connection, or it broke.
    Peer,
    /// The device sent bytes that cannot be read any further.
    Broken,
    /// The device was silent for longer than it said it would be.
    Silent,
    /// No byte came after the handshake, or no whole CONNECT.
    NoFirst,
    /// A message was not finished in time.
    Unfinished,
    /// No message came for too long.
    Idle,
    /// The device has not read its responses for too long, and they may not be dropped.
    Unread,
    /// Unfinished messages take too many bytes, and this one's was the oldest.
    Crowded,
    /// All connections are in use; this one had delivered nothing.
    GaveWay,
    /// The device speaks a protocol that is not spoken here.
    UnknownProtocol,
    /// An HTTP client.
    Http,
    /// Text that is not UTF-8.
    Encoding,
    /// The device has as many connections as it may, and all others are alive.
    TooMany,
    /// The gateway knows as many devices as it may, and this one is new.
    DevicesFull,
    /// As `TooMany`, and this one was silent: a newer one has its place.
    Displaced,
    /// Another session of the same client took its place.
    Replaced,
    /// The device's certificate, or that of its issuer, was revoked.
    Revoked,
    /// The device's certificate, or that of its issuer, has expired.
    Expired,
    /// The root of the device's certificate is no longer trusted.
    Untrusted,
    /// The connection has reached its maximum age.
    ConnectionAge,
    /// The gateway stops.
    Stopping,
    /// The journal has failed.
    Failed,
}

impl CloseReason {
    /// All reasons, for the metrics.
    pub const ALL: [Self; 22] = [
        Self::Peer,
        Self::Broken,
        Self::Silent,
        Self::NoFirst,
        Self::Unfinished,
        Self::Idle,
        Self::Unread,
        Self::Crowded,
        Self::GaveWay,
        Self::UnknownProtocol,
        Self::Http,
        Self::Encoding,
        Self::TooMany,
        Self::DevicesFull,
        Self::Displaced,
        Self::Replaced,
        Self::Revoked,
        Self::Expired,
        Self::Untrusted,
        Self::ConnectionAge,
        Self::Stopping,
        Self::Failed,
    ];

    /// A label for counters, and the code that devices see.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Peer => "closed",
            Self::Broken => "broken",
            Self::Silent => "keep_alive",
            Self::NoFirst => "first_byte_timeout",
            Self::Unfinished => "message_timeout",
            Self::Idle => "idle_timeout",
            Self::Unread => "unread",
            Self::Crowded => "unfinished_bytes",
            Self::GaveWay => "gave_way",
            Self::UnknownProtocol => "unknown_protocol",
            Self::Http => "http",
            Self::Encoding => "utf_16",
            Self::TooMany => "too_many_connections",
            Self::DevicesFull => "too_many_devices",
            Self::Displaced => "displaced",
            Self::Replaced => EndReason::TakenOver.reason(),
            Self::Revoked => EndReason::Revoked.reason(),
            Self::Expired => EndReason::Expired.reason(),
            Self::Untrusted => EndReason::Untrusted.reason(),
            Self::ConnectionAge => EndReason::MaxAge.reason(),
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }

    /// The DISCONNECT reason for an MQTT client of version 5.
    pub(super) const fn to_client(self) -> Option<(DisconnectReasonCode, &'static str)> {
        let what = match self.to_device() {
            Some(what) => what,
            None => match self {
                Self::Replaced => EndReason::TakenOver.message(),
                Self::Stopping => "the gateway stops",
                Self::Silent => "silent for too long",
                _ => return None,
            },
        };
        let reason = match self {
            Self::Replaced => DisconnectReasonCode::SessionTakenOver,
            Self::Stopping => DisconnectReasonCode::ServerShuttingDown,
            Self::Crowded | Self::TooMany | Self::DevicesFull | Self::Displaced => {
                DisconnectReasonCode::QuotaExceeded
            }
            Self::GaveWay => DisconnectReasonCode::ServerBusy,
            Self::Revoked | Self::Expired | Self::Untrusted => DisconnectReasonCode::NotAuthorized,
            Self::ConnectionAge => DisconnectReasonCode::MaximumConnectTime,
            _ => DisconnectReasonCode::KeepAliveTimeout,
        };
        Some((reason, what))
    }

    /// The error message for a device that speaks JSON or frames.
    pub(super) const fn to_device(self) -> Option<&'static str> {
        match self {
            Self::NoFirst => Some("nothing came within first_byte_timeout: the connection ends"),
            Self::Unfinished => {
                Some("a message was not finished within message_timeout: the connection ends")
            }
            Self::Idle => Some("no message came within idle_timeout: the connection ends"),
            Self::Crowded => Some(
                "the gateway holds too many unfinished messages (unfinished_bytes_max): the connection ends",
            ),
            Self::GaveWay => {
                Some("all connections are in use and this one has delivered nothing: the connection ends")
            }
            Self::TooMany => Some(
                "the device has as many connections as it may (sessions_max), and all are alive: this one ends; give each \
                 program an identity of its own",
            ),
            Self::DevicesFull => Some(
                "the gateway knows as many devices as it may (devices_max), and this one is new: the connection ends; nothing of \
                 the message was taken",
            ),
            Self::Displaced => Some(
                "the device has more connections than it may (sessions_max), and this one was silent for longest: it ends; \
                 give each program an identity of its own",
            ),
            Self::Revoked => Some(EndReason::Revoked.message()),
            Self::Expired => Some(EndReason::Expired.message()),
            Self::Untrusted => Some(EndReason::Untrusted.message()),
            Self::ConnectionAge => Some(EndReason::MaxAge.message()),
            _ => None,
        }
    }

    /// Whether the device would be refused if it came again: it has no claim to a farewell that takes long.
    pub(super) const fn distrusts(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Untrusted)
    }
}

impl From<EndReason> for CloseReason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Revoked => Self::Revoked,
            EndReason::Expired => Self::Expired,
            EndReason::Untrusted => Self::Untrusted,
            EndReason::MaxAge => Self::ConnectionAge,
            EndReason::TakenOver => Self::Replaced,
        }
    }
}
