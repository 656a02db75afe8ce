//! Rewrites batches for an aggregator that reads only partials of encoding version 1. Pure.
//!
//! Optional parts and the times of single values have no place there and are left out: version 1 never promised them.
//! States that stand beside no number are readings, and nothing in version 1 can stand for them: a closed batch with such
//! states is not rewritten. Of a boolean, the number stays.
//!
//! A batch holds at most `BATCH_MEMORY` of partials, which are smaller in any encoding: it keeps within its bound.

use catchment_partial::{DecodeError, Partial};
use catchment_proto::{BatchError, batch::rewrite_bodies, wire};

/// The first byte of a body that passes untouched.
const VERSION_1: u8 = 1;

/// Why a batch cannot be rewritten. It is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeError {
    /// A partial holds states.
    #[error("it holds states")]
    States,
    /// A partial is of a version that only a later gateway wrote.
    #[error("it holds a partial of a later version: {0}")]
    Later(DecodeError),
    /// The columns contradict.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A partial cannot be decoded.
    #[error("a partial: {0}")]
    Partial(DecodeError),
}

impl TranscodeError {
    /// Whether the batch is whole, and another aggregator can take it.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::States | Self::Later(_))
    }
}

/// Rewrites a batch of closed windows. Returns how many partials were rewritten.
///
/// # Errors
/// See [`TranscodeError`].
pub(super) fn closed_to_version_1(batch: &mut wire::Batch) -> Result<u64, TranscodeError> {
    to_version_1(batch, Err)
}

/// Rewrites a batch of open windows. A partial with states, or that cannot be rewritten, is left out: what replaces it
/// comes with its closed window. Returns how many partials were rewritten or left out.
///
/// # Errors
/// [`TranscodeError::Batch`].
pub(super) fn live_to_version_1(batch: &mut wire::Batch) -> Result<u64, TranscodeError> {
    to_version_1(batch, |_| Ok(()))
}

/// `refuse` decides on a partial that cannot be rewritten: to leave it out, or to leave the batch.
fn to_version_1(
    batch: &mut wire::Batch,
    refuse: impl Fn(TranscodeError) -> Result<(), TranscodeError>,
) -> Result<u64, TranscodeError> {
    let mut rewritten = 0;
    rewrite_bodies(batch, |window, body, out| {
        if body.first() == Some(&VERSION_1) {
            out.extend_from_slice(body);
            return Ok(true);
        }
        rewritten += 1;
        let refused = match Partial::decode(body, window.start()) {
            Ok(partial) if !partial.encode_version_1(window.start(), out) => return Ok(true),
            Ok(_) => TranscodeError::States,
            Err(error @ DecodeError::Version(_)) => TranscodeError::Later(error),
            Err(error) => TranscodeError::Partial(error),
        };
        refuse(refused).map(|()| false)
    })?;
    Ok(rewritten)
}
