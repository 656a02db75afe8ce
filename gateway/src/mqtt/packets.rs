//! Packets of both versions as one: what a device may send, and how it is answered.
//!
//! The codec library reads and writes the bytes. This file bounds what it is given (whole packets only, never longer
//! than the bound, so it holds no buffer of its own) and hides the differences of the versions.
//! Sources: MQTT Version 3.1.1 and MQTT Version 5.0, OASIS Standards.

mod borrowed_publish;
mod conformance;
mod disconnect;
mod read;
mod write;

use std::num::{NonZeroU16, NonZeroU32};

use bytes::BytesMut;
use rmqtt_codec::{
    error::{DecodeError, EncodeError},
    types::Publish,
    v3, v5,
    v5::DisconnectReasonCode,
    version::{ProtocolVersion, VersionCodec},
};
use tokio_util::codec::{Decoder as _, Encoder as _};

pub use rmqtt_codec::types::QoS;

pub use self::borrowed_publish::BorrowedPublish;
use self::{
    disconnect::put_fitting,
    read::{from_v3, from_v5, with_clean_start},
    write::{to_v3, to_v5},
};

/// Stands for a version that is not spoken here: there is no such reason for a DISCONNECT.
const VERSION: DisconnectReasonCode = DisconnectReasonCode::ImplementationSpecificError;
/// First byte of a CONNECT.
pub const CONNECT: u8 = 0x10;
/// First byte of a PUBACK.
const PUBACK: u8 = 0x40;
/// How a CONNECT of MQTT 3.1 begins.
const OLD_NAME: &[u8] = b"\0\x06MQIsdp";
/// Longest fixed header: type and four bytes of length.
const HEADER_MAX: usize = 5;

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
    fn version() -> Self {
        Self::new(VERSION, "MQTT: 3.1.1 and 5 are spoken here, no other version")
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

/// What a device sends.
#[derive(Debug)]
pub enum Packet<'a> {
    /// The first packet.
    Connect(Box<Connect>),
    /// An ordinary message.
    BorrowedPublish(BorrowedPublish<'a>),
    /// Any other message.
    Publish(Box<Publish>),
    /// The client has let go of a message of QoS 2.
    Release(NonZeroU16),
    /// It asks for messages.
    Subscribe {
        /// Packet identifier.
        id: NonZeroU16,
        /// Number of filters.
        filters: usize,
    },
    /// It asks for messages no more.
    Unsubscribe {
        /// Packet identifier.
        id: NonZeroU16,
        /// Number of filters.
        filters: usize,
    },
    /// It is alive.
    Ping,
    /// It ends the connection.
    Disconnect {
        /// It also ends its session.
        forget: bool,
        /// Its session is to outlive the connection.
        keep: bool,
    },
}

/// A CONNECT, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Client identifier; may be empty when `clean`.
    pub client: String,
    /// What is kept of an earlier session is to be forgotten.
    pub clean: bool,
    /// The session is to outlive the connection.
    pub persistent: bool,
    /// Longest silence of the client in seconds; 0 for any.
    pub keep_alive: u16,
    /// It wants to authenticate by more than its certificate.
    pub authenticates: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection is accepted.
    Accepted {
        /// Something was kept of the client's earlier session.
        session_present: bool,
        /// Identifier for a client that had none.
        assigned: Option<String>,
        /// The session is kept.
        persistent: bool,
        /// Most messages of QoS 1 and 2 on their way.
        receive_max: NonZeroU16,
        /// Longest packet.
        packet_bytes_max: u32,
        /// Most topic aliases.
        aliases_max: u16,
    },
    /// The message (QoS 1) is durable, or refused.
    Published(NonZeroU16, Message),
    /// The message (QoS 2) is durable, or refused.
    Received(NonZeroU16, Message),
    /// The packet identifier (QoS 2) is free again, durably.
    Completed(NonZeroU16),
    /// No subscription was made.
    NotSubscribed(NonZeroU16, usize),
    /// There was no subscription.
    NotUnsubscribed(NonZeroU16, usize),
    /// Alive too.
    Pong,
}

impl Reply {
    /// The message that this answers, if it answers one.
    pub const fn message_mut(&mut self) -> Option<&mut Message> {
        match self {
            Self::Published(_, message) | Self::Received(_, message) => Some(message),
            _ => None,
        }
    }
}

/// The message that a reply answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its ordinal on the connection.
    pub ordinal: u64,
    /// What became of it: first as decoding sees it, at last as the device's sessions decided.
    pub outcome: Outcome,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken, at least in part; what of it was refused, if anything.
    Taken(Option<String>),
    /// The gateway knows no such topic.
    BadTopic(String),
    /// Nothing of it could be taken.
    BadPayload(String),
}

impl Outcome {
    /// Readings were refused after decoding, in words; `whole`: none was taken.
    pub fn refuse(&mut self, whole: bool, what: &str) {
        let before = match self {
            Self::Taken(reason_text) => reason_text.take(),
            Self::BadTopic(_) | Self::BadPayload(_) => return,
        };
        let words = before.map_or_else(|| what.to_owned(), |before| format!("{before}; {what}"));
        *self = if whole { Self::BadPayload(words) } else { Self::Taken(Some(words)) };
    }

    /// Whether nothing of the message was taken.
    pub const fn is_refused(&self) -> bool {
        !matches!(self, Self::Taken(_))
    }
}

/// Reads and writes the packets of one connection.
#[derive(Debug)]
pub struct Packets {
    version: Version,
    /// Longest packet that is read, without its fixed header.
    bytes_max: u32,
    /// The client wants reasons with its acknowledgements.
    explain: bool,
    /// Longest packet that the client takes, all of it; 0 for any.
    client_max: u32,
}

#[derive(Debug)]
enum Version {
    /// Before CONNECT.
    Unknown,
    V3(v3::Codec),
    V5(Box<v5::Codec>),
}

/// The lengths of the fixed header and of all of the packet at the front of a buffer; `None` when more bytes are needed
/// to tell, an error when it is longer than `bytes_max` and its header.
fn lengths(buffer: &[u8], bytes_max: u32) -> Result<Option<(usize, usize)>, Violation> {
    let (mut length, mut shift) = (0_usize, 0);
    for (at, byte) in buffer.iter().enumerate().skip(1).take(HEADER_MAX - 1) {
        length |= usize::from(byte & 0x7f) << shift;
        if length > bytes_max as usize {
            let what = format!("a packet may have {bytes_max} bytes: see message_bytes_max");
            return Err(Violation::new(DisconnectReasonCode::PacketTooLarge, what));
        }
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, at + 1 + length)));
        }
        shift += 7;
    }
    if buffer.len() >= HEADER_MAX {
        return Err(Violation::new(DisconnectReasonCode::MalformedPacket, "MQTT: a length of five bytes"));
    }
    Ok(None)
}

/// Of version 5, the length of a packet takes no more bytes than it needs.
fn check_length(packet: &[u8], header: usize) -> Result<(), Violation> {
    match packet.get(2..header).and_then(<[u8]>::last) {
        Some(0) => {
            let what = format!("MQTT: {}", conformance::OVERLONG);
            Err(Violation::new(DisconnectReasonCode::MalformedPacket, what))
        }
        _ => Ok(()),
    }
}

impl Packets {
    /// Before the CONNECT; packets are read up to a length without their fixed header.
    pub fn new(bytes_max: u32) -> Self {
        Self { version: Version::Unknown, bytes_max, explain: true, client_max: 0 }
    }

    /// Longest packet that is read, without its fixed header.
    pub const fn bytes_max(&self) -> u32 {
        self.bytes_max
    }

    /// Whether reason codes and properties are understood on the other side.
    pub fn is_v5(&self) -> bool {
        matches!(self.version, Version::V5(_))
    }

    /// The packet at the front of a buffer and its length; `None` when it is not whole.
    ///
    /// # Errors
    /// The connection must end.
    pub fn next<'a>(&mut self, buffer: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, Violation> {
        let Some((header, length)) = lengths(buffer, self.bytes_max)? else { return Ok(None) };
        let Some(packet) = buffer.get(..length) else { return Ok(None) };
        if self.is_v5() {
            check_length(packet, header)?;
        }
        let plain = match self.version {
            Version::Unknown => None,
            Version::V3(_) => BorrowedPublish::read(packet, header, false),
            Version::V5(_) => BorrowedPublish::read(packet, header, true),
        };
        let packet = match plain {
            Some(plain) => Packet::BorrowedPublish(plain),
            None => self.read(packet, header)?,
        };
        Ok(Some((packet, length)))
    }

    fn read<'a>(&mut self, packet: &[u8], header: usize) -> Result<Packet<'a>, Violation> {
        let whole = &mut BytesMut::from(packet);
        if matches!(self.version, Version::Unknown) {
            self.version = match VersionCodec.decode(whole) {
                Ok(Some(ProtocolVersion::MQTT3)) => Version::V3(v3::Codec::new(self.bytes_max)),
                Ok(Some(ProtocolVersion::MQTT5)) => {
                    with_clean_start(whole);
                    Version::V5(Box::new(v5::Codec::new(self.bytes_max, 0)))
                }
                Ok(None) => return Err(truncated()),
                Err(_) => return Err(Violation::version()),
            };
        }
        let is_v5 = self.is_v5();
        // MQTT 3.1 has another beginning, and is refused below.
        if is_v5 {
            check_length(packet, header)?;
        }
        let checked = match whole.get(header..header + OLD_NAME.len()) {
            Some(OLD_NAME) if !is_v5 => Ok(()),
            _ => conformance::check(packet, header, is_v5),
        };
        match &mut self.version {
            Version::Unknown => Err(truncated()),
            Version::V3(codec) => {
                checked?;
                match codec.decode(whole)? {
                    Some((packet, _)) => from_v3(packet),
                    None => Err(truncated()),
                }
            }
            Version::V5(codec) => match (checked, codec.decode(whole)) {
                (Err(violation), decoded) => {
                    // Also what refuses it is no longer than its client takes.
                    if let Ok(Some((v5::Packet::Connect(connect), _))) = &decoded {
                        self.client_max = connect.max_packet_size.map_or(0, NonZeroU32::get);
                    }
                    Err(violation)
                }
                (Ok(()), Ok(Some((packet, _)))) => {
                    if let v5::Packet::Connect(connect) = &packet {
                        self.explain = connect.request_problem_info;
                        self.client_max = connect.max_packet_size.map_or(0, NonZeroU32::get);
                    }
                    from_v5(packet)
                }
                (Ok(()), Ok(None)) => Err(truncated()),
                (Ok(()), Err(error)) => Err(error.into()),
            },
        }
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// It does not fit what the client takes.
    pub fn put(&mut self, reply: &Reply, out: &mut BytesMut) -> Result<(), EncodeError> {
        if let Reply::Published(id, Message { outcome: Outcome::Taken(None), .. }) = reply {
            // Four bytes, the same in both versions: the reason "success" may be left out.
            let [high, low] = id.get().to_be_bytes();
            out.extend_from_slice(&[PUBACK, 2, high, low]);
            return Ok(());
        }
        match &mut self.version {
            Version::Unknown => Ok(()),
            Version::V3(codec) => codec.encode(to_v3(reply), out),
            Version::V5(codec) => {
                put_fitting(codec, self.client_max, out, |in_words| to_v5(reply, in_words && self.explain))
            }
        }
    }
}

fn truncated() -> Violation {
    Violation::new(DisconnectReasonCode::MalformedPacket, "MQTT: a packet's length is wrong")
}
