//! What an uplink needs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use catchment_certs::{ClientTls, kept_revocations::KeptRevocations};

use super::known_peer::KnownPeer;
use crate::{
    budget::Budget,
    clock::Clock,
    device_certificates::DeviceCertificates,
    kept::KeepLimits,
    lineage::{Lineage, Numbering},
    raw::RawSettings,
};

/// What an uplink needs.
#[derive(Clone, Debug)]
pub(crate) struct UplinkConfig {
    /// https://HOST:PORT, tried in turn.
    pub(crate) aggregators: Vec<String>,
    /// The gateway's identity as a client.
    pub(crate) tls: ClientTls,
    /// Runs and epochs of the data folder.
    pub(crate) lineage: Arc<Mutex<Lineage>>,
    /// Says when a new epoch begins.
    pub(crate) clock: Arc<dyn Clock>,
    /// Batches of a shard that may wait for their acknowledgement.
    pub(crate) in_flight: usize,
    /// How much of what was delivered stays in the outbox of each shard.
    pub(crate) keep: KeepLimits,
    /// What is answered of raw readings.
    pub(crate) raw: RawSettings,
    /// How long they may wait without a word on them.
    pub(crate) ack_timeout: Duration,
    /// How many series the folder may hold; the aggregator reports it.
    pub(crate) budget: Arc<Budget>,
    /// What the aggregator of the latest stream can read.
    pub(crate) peer: Arc<KnownPeer>,
    /// Takes the revocation lists that the aggregator sends.
    pub(crate) revocations: Arc<KeptRevocations>,
    /// When the certificates of devices end.
    pub(crate) certificates: Arc<DeviceCertificates>,
}

impl UplinkConfig {
    pub(super) fn lineage(&self) -> MutexGuard<'_, Lineage> {
        self.lineage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the batches of each shard are numbered in the present epoch.
    pub(super) fn numbering(&self, shards: usize) -> Vec<Numbering> {
        let lineage = self.lineage();
        (0..shards).map(|shard| lineage.numbering(shard)).collect()
    }
}
