//! What the sessions of a worker share.

use std::{rc::Rc, sync::Arc, time::Duration};

use catchment_partial::Timestamp;
use catchment_settings::supervise::Supervisor;
use tokio_util::sync::CancellationToken;

use super::{commit_waiters::CommitWaiters, protocol::ProtocolOptions, table::SessionTable};
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
}

/// A worker's context over a new shard, whose commits the test makes.
#[cfg(test)]
impl Context {
    /// In this folder.
    pub(crate) fn testing(folder: &std::path::Path) -> Rc<Self> {
        use std::num::NonZeroU16;

        use super::table::SessionBounds;
        use crate::{
            clock::SystemClock,
            config::tests::given,
            mqtt::connection::MqttOptions,
            shard::{Setup, Shard, ShardFacts, ShardLimits},
        };

        let (config, metrics) = (given().check().unwrap(), Metrics::new());
        let clock = Arc::new(SystemClock::new());
        let setup = Setup {
            folder,
            index: 0,
            facts: ShardFacts::default(),
            window: config.window,
            metric_parts: Arc::default(),
            limits: ShardLimits::of(&config, 1),
            clock: Arc::clone(&clock) as _,
            metrics: Arc::clone(&metrics),
            budget: Arc::default(),
        };
        let shard = Shard::open(&setup).unwrap().0;
        let mqtt = MqttOptions { topics: Arc::clone(&config.topics), receive_max: NonZeroU16::MIN };
        let protocols = ProtocolOptions {
            precision: config.line_protocol_precision,
            json: Arc::clone(&config.json),
            mqtt,
        };
        Rc::new(Self {
            limits: DecodeLimits::default(),
            series_max: config.series_max,
            protocols,
            past_max: config.past_max,
            future_max: config.future_max,
            clock,
            shard: Rc::new(ShardCell::new(shard)),
            commit_waiters: CommitWaiters::default(),
            supervisor: Arc::new(Supervisor::default()),
            session_table: SessionTable::new(SessionBounds::of(&config, 1)),
            state_support: StateSupport::default(),
            metrics,
            ending: CancellationToken::new(),
        })
    }
}
