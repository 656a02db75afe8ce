//! What the sessions of a worker share.

use std::{rc::Rc, sync::Arc, time::Duration};

use catchment_partial::Timestamp;
use catchment_settings::supervise::Supervisor;
use tokio_util::sync::CancellationToken;

use super::{
    close_reason::CloseReason, commit_waiters::CommitWaiters, protocol::ProtocolOptions, table::SessionTable,
};
use crate::{
    clock::{Clock, nanos},
    decode::DecodeLimits,
    intake::{StateSupport, TimeRules},
    metrics::Metrics,
    shard::ShardCell,
};

/// What a session shares with its worker.
pub struct Context {
    /// Bounds of one message.
    pub limits: DecodeLimits,
    /// Most series of a device.
    pub series_max: usize,
    /// What the protocols need of the configuration.
    pub protocols: ProtocolOptions,
    /// Oldest age taken.
    pub past_max: Duration,
    /// Farthest future taken.
    pub future_max: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The worker's shard.
    pub shard: Rc<ShardCell>,
    /// How far its journal is synced.
    pub commit_waiters: CommitWaiters,
    /// Who learns of a defect that the shard does not survive.
    pub supervisor: Arc<Supervisor>,
    /// The worker's sessions, by when they were heard, and what they may take.
    pub session_table: SessionTable,
    /// Whether the aggregator takes states.
    pub state_support: StateSupport,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the gateway stops.
    pub ending: CancellationToken,
}

impl Context {
    /// Which event times are taken now.
    pub(super) fn rules(&self) -> TimeRules {
        let now = self.clock.wall();
        TimeRules {
            now,
            oldest: Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos(self.past_max))),
            newest: Timestamp::from_nanos(now.as_nanos().saturating_add(nanos(self.future_max))),
        }
    }

    /// Why a session ends whose token was cancelled.
    pub(super) fn cancel_reason(&self) -> CloseReason {
        if self.ending.is_cancelled() { CloseReason::Stopping } else { CloseReason::Replaced }
    }
}
