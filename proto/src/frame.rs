//! Framing of `catchment/1`: a 4-byte big-endian length, then that many bytes.
//!
//! Incomplete is not malformed: [`split`] returns `None` until a frame is complete, and an error only for a
//! length beyond the bound, before any byte of the frame is buffered.

use prost::Message;

/// Bytes of the length before each frame.
pub const HEADER_BYTES: usize = 4;

/// A frame that announces more bytes than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of {announced} bytes, at most {allowed} are allowed")]
pub struct FrameTooLong {
    /// The value of the length field.
    pub announced: usize,
    /// The bound.
    pub allowed: usize,
}

/// The body of a frame, and the bytes after it.
pub type Split<'b> = (&'b [u8], &'b [u8]);

/// Splits the first complete frame off the bytes: its body, and the bytes after it.
///
/// # Errors
/// The announced length exceeds `bytes_max`; the rest of the connection is unreadable.
pub fn split(bytes: &[u8], bytes_max: usize) -> Result<Option<Split<'_>>, FrameTooLong> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*header) as usize;
    if announced > bytes_max {
        return Err(FrameTooLong { announced, allowed: bytes_max });
    }
    Ok(rest.split_at_checked(announced))
}

/// Appends a message as a frame.
///
/// # Panics
/// If the message is longer than 4 GiB; all our messages are bounded far below.
pub fn put(message: &impl Message, out: &mut Vec<u8>) {
    let length = u32::try_from(message.encoded_len()).expect("messages are bounded far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    message.encode(out).expect("a Vec has room");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn a_frame_is_found_wherever_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        put(&wire::Ack { ack: 300 }, &mut bytes);
        put(&wire::Ack { ack: 1 }, &mut bytes);
        let first = HEADER_BYTES + wire::Ack { ack: 300 }.encoded_len();
        for cut in 0..bytes.len() {
            let found = split(&bytes[..cut], 100).unwrap();
            assert_eq!(found.is_some(), cut >= first, "cut at {cut}");
        }
        let (body, rest) = split(&bytes, 100).unwrap().unwrap();
        assert_eq!(wire::Ack::decode(body).unwrap().ack, 300);
        let (body, rest) = split(rest, 100).unwrap().unwrap();
        assert_eq!(wire::Ack::decode(body).unwrap().ack, 1);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header_alone() {
        let error = split(&101_u32.to_be_bytes(), 100).unwrap_err();
        assert_eq!(error, FrameTooLong { announced: 101, allowed: 100 });
        assert_eq!(split(&100_u32.to_be_bytes(), 100), Ok(None));
        assert_eq!(split(&0_u32.to_be_bytes(), 100), Ok(Some((&[][..], &[][..]))));
    }
}
