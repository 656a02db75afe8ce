//! Reads frames: a length, then a protobuf message.

use catchment_proto::frame::{self, FrameTooLong};

use super::{
    super::alpn_mismatch,
    reader::{Closing, Front, ReadMessage, Target, no_message},
};
use crate::{
    decode::{DecodeLimits, frames, too_long},
    intake::Refusal,
};

/// Reads one connection's frames.
pub(super) struct FrameReader {
    aliases: frames::SeriesAliases,
}

impl FrameReader {
    /// For a device of so many series.
    pub(super) fn new(series_max: usize) -> Self {
        Self { aliases: frames::SeriesAliases::new(u32::try_from(series_max).unwrap_or(u32::MAX)) }
    }
}

impl ReadMessage for FrameReader {
    fn read(&mut self, bytes: &[u8], _: Option<Closing>, ordinal: u64, target: &mut Target<'_>) -> Front {
        let Target { table, rules, limits, intake } = target;
        match frame::split(bytes, limits.message_bytes_max) {
            Ok(None) => Front::Incomplete(0),
            Ok(Some((body, _))) => {
                let decoded =
                    frames::decode_frame(body, ordinal, &mut self.aliases, table, rules, limits, intake);
                Front::Message(frame::HEADER_BYTES + body.len(), decoded)
            }
            Err(why) => {
                intake.refusals.push(no_frame(&why, bytes, ordinal, limits));
                Front::Unreadable
            }
        }
    }
}

/// A frame whose length is beyond the bound, as the first bytes of another protocol have it.
fn no_frame(why: &FrameTooLong, bytes: &[u8], ordinal: u64, limits: &DecodeLimits) -> Refusal {
    match alpn_mismatch::not_frames(bytes).filter(|_| ordinal == 1) {
        Some(what) => no_message(ordinal, format!("{why}: {what}")),
        None => too_long(limits, ordinal),
    }
}
