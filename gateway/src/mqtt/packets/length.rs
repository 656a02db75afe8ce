//! Where a packet ends: its length, before a byte of it is kept.

use rmqtt_codec::v5::DisconnectReasonCode;

use super::{conformance::OVERLONG, violation::Violation};

/// Longest fixed header: type and four bytes of length.
const HEADER_MAX: usize = 5;

/// The lengths of the fixed header and of the whole packet at the front of a buffer; `None` while the length is
/// incomplete, an error if the packet is longer than `bytes_max` and its header.
pub(super) fn lengths(buffer: &[u8], bytes_max: u32) -> Result<Option<(usize, usize)>, Violation> {
    let (mut length, mut shift) = (0_usize, 0);
    for (at, byte) in buffer.iter().enumerate().skip(1).take(HEADER_MAX - 1) {
        length |= usize::from(byte & 0x7f) << shift;
        if length > bytes_max as usize {
            let what = format!("a packet may have at most {bytes_max} bytes: see message_bytes_max");
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

/// In version 5, the length of a packet is encoded in as few bytes as possible.
pub(super) fn check_length(packet: &[u8], header: usize) -> Result<(), Violation> {
    match packet.get(2..header).and_then(<[u8]>::last) {
        Some(0) => {
            let what = format!("MQTT: {}", OVERLONG);
            Err(Violation::new(DisconnectReasonCode::MalformedPacket, what))
        }
        _ => Ok(()),
    }
}
