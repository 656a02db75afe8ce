//! The state of the fleet, asked for once for all pages and kept for a moment; and whole lists, of an aggregator that is too
//! old to count.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use catchment_proto::wire;
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{connection::Connection, error::DataError};
use crate::{aggregator_client::Listed, moved::moved, time::now_ms};

/// How long lists are kept: any number of pages costs the aggregator one listing in this time.
const KEPT: Duration = Duration::from_secs(3);
/// Most devices held, some 40 MB.
const DEVICES_MAX: usize = 200_000;
/// Most gateways held.
const GATEWAYS_MAX: usize = 20_000;

/// The lists of one moment.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// When they were made, Unix milliseconds.
    pub(super) now_ms: i64,
    pub(super) devices: Listed<wire::Device>,
    pub(super) gateways: Listed<wire::Gateway>,
}

impl Listing {
    /// Of lists made then, Unix milliseconds. Devices that have moved are marked: an older aggregator does not.
    pub(super) fn new(
        now_ms: i64,
        mut devices: Listed<wire::Device>,
        gateways: Listed<wire::Gateway>,
    ) -> Self {
        let seen = devices
            .entries
            .iter()
            .map(|one| (one.site.as_str(), one.gateway.as_str(), one.device.as_str(), one.last_seen_ms));
        let marks = moved(seen);
        for (device, moved) in devices.entries.iter_mut().zip(marks) {
            device.moved = moved;
        }
        Self { now_ms, devices, gateways }
    }
}

/// The last lists.
#[derive(Default)]
pub(super) struct Lists {
    last: Mutex<Option<(Instant, Arc<Listing>)>>,
    summary: Mutex<Option<(Instant, wire::SummaryRequest, Arc<wire::FleetSummary>)>>,
}

impl Lists {
    /// The state of the fleet in the last seconds.
    ///
    /// # Errors
    /// The aggregator refuses, does not know this, or does not answer.
    pub(super) async fn summary(
        &self,
        connection: &Connection,
        request: wire::SummaryRequest,
    ) -> Result<Arc<wire::FleetSummary>, DataError> {
        // Held while asking, as below.
        let mut last = self.summary.lock().await;
        if let Some((at, asked, summary)) = &*last
            && *asked == request
            && at.elapsed() < KEPT
        {
            return Ok(Arc::clone(summary));
        }
        let asking = async { Ok(connection.client().await?.summary(request).await?) };
        let summary = Arc::new(connection.note(asking.await).await?);
        *last = Some((Instant::now(), request, Arc::clone(&summary)));
        Ok(summary)
    }

    /// Lists of the last seconds.
    ///
    /// # Errors
    /// The aggregator refuses, or does not answer.
    pub(super) async fn fresh(&self, connection: &Connection) -> Result<Arc<Listing>, DataError> {
        // Held while listing: who comes meanwhile gets the same lists.
        let mut last = self.last.lock().await;
        if let Some((at, listing)) = &*last
            && at.elapsed() < KEPT
        {
            return Ok(Arc::clone(listing));
        }
        let listed = async {
            let mut client = connection.client().await?;
            let gateways = client.first_gateways(GATEWAYS_MAX).await?;
            let devices = client.first_devices(DEVICES_MAX).await?;
            // All of a large fleet take a while.
            let made = spawn_blocking(move || Listing::new(now_ms(), devices, gateways));
            Ok(Arc::new(made.await?))
        };
        let listing = connection.note(listed.await).await?;
        *last = Some((Instant::now(), Arc::clone(&listing)));
        Ok(listing)
    }
}
