//! Reads and writes the packets of one connection.

use std::num::NonZeroU32;

use bytes::BytesMut;
use rmqtt_codec::{
    error::EncodeError,
    v3, v5,
    version::{ProtocolVersion, VersionCodec},
};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::{
    borrowed_publish::BorrowedPublish,
    conformance,
    fitting::put_fitting,
    length::{check_length, lengths},
    packet::Packet,
    read::{from_v3, from_v5, with_clean_start},
    violation::Violation,
    write::{to_v3, to_v5},
};
use crate::intake::{Message, Outcome, Reply};

/// First byte of a PUBACK.
const PUBACK: u8 = 0x40;
/// How a CONNECT of MQTT 3.1 begins.
const OLD_NAME: &[u8] = b"\0\x06MQIsdp";

/// Reads and writes the packets of one connection.
#[derive(Debug)]
pub struct Packets {
    pub(super) version: Version,
    /// Longest packet that is read, without its fixed header.
    bytes_max: u32,
    /// The client wants reasons with its acknowledgements.
    explain: bool,
    /// Longest packet that the client takes, all of it; 0 for any.
    pub(super) client_max: u32,
}

/// The version that the client speaks.
#[derive(Debug)]
pub(super) enum Version {
    /// Before CONNECT.
    Unknown,
    V3(v3::Codec),
    V5(Box<v5::Codec>),
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

    pub(super) fn read<'a>(&mut self, packet: &[u8], header: usize) -> Result<Packet<'a>, Violation> {
        let whole = &mut BytesMut::from(packet);
        if matches!(self.version, Version::Unknown) {
            self.version = match VersionCodec.decode(whole) {
                Ok(Some(ProtocolVersion::MQTT3)) => Version::V3(v3::Codec::new(self.bytes_max)),
                Ok(Some(ProtocolVersion::MQTT5)) => {
                    with_clean_start(whole);
                    Version::V5(Box::new(v5::Codec::new(self.bytes_max, 0)))
                }
                Ok(None) => return Err(Violation::truncated()),
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
            Version::Unknown => Err(Violation::truncated()),
            Version::V3(codec) => {
                checked?;
                match codec.decode(whole)? {
                    Some((packet, _)) => from_v3(packet),
                    None => Err(Violation::truncated()),
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
                (Ok(()), Ok(None)) => Err(Violation::truncated()),
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
