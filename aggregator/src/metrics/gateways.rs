//! The gateways, each with its state.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

use crate::{
    clock,
    ingest::{ListsState, StreamRegistry},
    store::{Cursor, GatewayEntry, MaintenanceStore, QueryStore},
};

/// Most gateways that have a time series of their own at `/metrics`.
const GATEWAYS_MAX: usize = 1_000;

/// The state of each gateway, read at each scrape.
pub(super) struct Gateways {
    pub(super) gateways: Arc<dyn QueryStore>,
    pub(super) store: Arc<dyn MaintenanceStore>,
    pub(super) streams: Arc<StreamRegistry>,
}

impl Gateways {
    /// The first gateways by name, read page by page: never holds more than these and one page.
    fn first_by_name(&self) -> Vec<GatewayEntry> {
        let (mut gateways, mut next) = (BTreeMap::new(), Some(Cursor::START));
        while let Some(from) = next {
            let page = self.gateways.gateways_page(from);
            for entry in page.entries {
                gateways.insert(entry.epoch.gateway.clone(), entry);
                if gateways.len() > GATEWAYS_MAX {
                    gateways.pop_last();
                }
            }
            next = page.next;
        }
        gateways.into_values().collect()
    }
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateways").finish_non_exhaustive()
    }
}

impl Collector for Gateways {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gateways = self.first_by_name();
        let now = clock::now_ms();
        let mut gauge = |name: &str, help: &str, values: Vec<([(&str, String); 2], f64)>| {
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in values {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            fmt::Result::Ok(())
        };
        let labels = |gateway: &catchment_proto::GatewayId| {
            [("site", gateway.site.to_string()), ("gateway", gateway.name.to_string())]
        };
        let lags = gateways.iter().filter_map(|entry| {
            let lag = now.saturating_sub(entry.watermark?.as_millis()).max(0);
            Some((labels(&entry.epoch.gateway), lag as f64 / 1_000.0))
        });
        gauge("gateway_lag_seconds", "How far a gateway's watermark is behind the clock", lags.collect())?;
        let connected = gateways.iter().map(|entry| {
            let connected = self.streams.version(&entry.epoch.gateway).is_some();
            (labels(&entry.epoch.gateway), f64::from(u8::from(connected)))
        });
        gauge("gateway_connected", "Whether a gateway has a stream open", connected.collect())?;
        let series = gateways.iter().map(|entry| (labels(&entry.epoch.gateway), entry.series as f64));
        gauge("gateway_series", "Series of a gateway", series.collect())?;
        let budgets = gateways
            .iter()
            .filter_map(|entry| Some((labels(&entry.epoch.gateway), entry.series_max? as f64)));
        gauge("gateway_series_max", "Most series that a gateway may have here", budgets.collect())?;
        let lists: Vec<_> = gateways
            .iter()
            .filter_map(|entry| {
                Some((labels(&entry.epoch.gateway), self.streams.lists(&entry.epoch.gateway)?))
            })
            .collect();
        let numbers = |of: fn(&ListsState) -> Option<u64>| {
            lists.iter().filter_map(|(labels, state)| Some((labels.clone(), of(state)? as f64))).collect()
        };
        let held = "Number of the root's revocation list that a connected gateway holds";
        gauge("gateway_revocation_list", held, numbers(|state| state.held))?;
        let sent = "Number of the root's revocation list that a connected gateway was sent";
        gauge("gateway_revocation_list_sent", sent, numbers(|state| state.sent))?;
        let behind = ConstGauge::new(self.streams.behind_revocations() as f64);
        let help = "Connected gateways that do not hold the newest revocation lists";
        let name = "gateways_behind_revocations";
        behind.encode(encoder.encode_descriptor(name, help, None, behind.metric_type())?)?;
        let failed = f64::from(u8::from(self.store.failure().is_some()));
        let kind = ConstGauge::new(0.0_f64).metric_type();
        let family = encoder.encode_descriptor(
            "store_failed",
            "1 when the store has failed and accepts nothing more",
            None,
            kind,
        )?;
        ConstGauge::new(failed).encode(family)
    }
}
