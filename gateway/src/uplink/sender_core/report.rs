//! What operators learn of a shard's delivery.

use catchment_journal::Damage;

use super::TranscodeError;

/// Something that operators learn of.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// So many batches more are acknowledged.
    Acknowledged(u64),
    /// A batch that was delivered before leaves again, because this aggregator lacks it.
    Resent {
        /// Its own number.
        number: u64,
    },
    /// Batches are acknowledged again, after so many refusals.
    RefusalsOver(u64),
    /// Damage of the outbox that was not met before.
    Damage(Damage),
    /// A batch of the outbox cannot be decoded and is left out.
    Unreadable {
        /// Its own number.
        number: u64,
        /// Why.
        error: Unreadable,
    },
    /// So many partials more left without their optional parts, because the aggregator does not read them.
    PartsLeftOut(u64),
    /// A batch cannot be expressed to this aggregator: it and all later ones wait for another stream.
    Held {
        /// Its own number.
        number: u64,
        /// Why.
        error: TranscodeError,
    },
}

/// Why a batch of the outbox cannot be decoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// It is no message.
    #[error(transparent)]
    Message(#[from] prost::DecodeError),
    /// Its partials cannot be read.
    #[error(transparent)]
    Partials(#[from] TranscodeError),
}
