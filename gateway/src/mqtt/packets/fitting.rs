//! Packets of version 5 within the bound of their client.

use bytes::BytesMut;
use rmqtt_codec::{error::EncodeError, v5};
use tokio_util::codec::Encoder as _;

/// Writes a packet with its reasons in words, which are there for people, or without them where it is longer than the
/// client takes. `client_max`: the longest packet, all of it; 0 for any.
///
/// # Errors
/// It does not fit without them either: nothing is written.
pub(super) fn put_fitting(
    codec: &mut v5::Codec,
    client_max: u32,
    out: &mut BytesMut,
    packet: impl Fn(bool) -> v5::Packet,
) -> Result<(), EncodeError> {
    let (start, mut size) = (out.len(), 0);
    for in_words in [true, false] {
        codec.encode(packet(in_words), out)?;
        size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        if client_max == 0 || size <= client_max {
            return Ok(());
        }
        out.truncate(start);
    }
    Err(EncodeError::OverMaxPacketSize { size, max: client_max })
}
