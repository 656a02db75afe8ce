//! Raw readings, which only gateways hold: asks those of the selected series, one after the other, over their streams.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use catchment_proto::{
    GatewayId, SeriesKey,
    wire::{self, RawGateway, RawRequest, RawResponse, RawStatus, raw_response::Kind},
};
use prost::Message as _;
use tokio::time::timeout;

use super::{error::QueryError, plan::PlanError, sink::Sink, walk};
use crate::{
    ingest::{CREDIT, StreamRegistry},
    selector::Selector,
    store::QueryStore,
};

/// Most selected series: a gateway is told each by name.
const SERIES_MAX: usize = 1_000;
/// Most readings where the request does not say, and whatever it says.
const READINGS_DEFAULT: u64 = 1_000_000;
const READINGS_MAX: u64 = 100_000_000;
/// Memory of a selected series.
const SERIES_BYTES: usize = 512;
/// A gateway says something that often while it answers.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Answers a request.
///
/// # Errors
/// What ended it early; the messages sent before are valid.
pub(super) async fn execute(
    store: Arc<dyn QueryStore>,
    streams: &StreamRegistry,
    request: RawRequest,
    sink: &Sink<RawResponse>,
) -> Result<(), QueryError> {
    let RawRequest { selector, from_ms, to_ms, readings_max } = request;
    let selector = Selector::parse(&selector)?;
    if from_ms >= to_ms {
        return Err(PlanError::EmptyRange { from_ms, to_ms }.into());
    }
    let (mut gateways, mut count) = (BTreeMap::<GatewayId, Vec<SeriesKey>>::new(), 0);
    walk::each_series(&*store, &selector, sink, |entry| {
        count += 1;
        if count <= SERIES_MAX {
            gateways.entry(entry.gateway).or_default().push(entry.key);
        }
        count.min(SERIES_MAX) * SERIES_BYTES
    })
    .await?;
    if count > SERIES_MAX {
        return Err(PlanError::TooMany { what: "selected series", count, max: SERIES_MAX }.into());
    }
    sink.set_memory(SERIES_MAX * SERIES_BYTES + CREDIT as usize)?;
    let mut left = if readings_max == 0 { READINGS_DEFAULT } else { readings_max.min(READINGS_MAX) };
    for (gateway, series) in gateways {
        let query = wire::RawQuery {
            from_ms,
            to_ms,
            readings_max: left,
            series: series.iter().map(wire::SeriesRef::from).collect(),
            ..Default::default()
        };
        let answer = match left {
            0 => RawGateway { status: RawStatus::Limit.into(), ..of(&gateway) },
            _ => ask(streams, &gateway, query, sink).await?,
        };
        left = left.saturating_sub(answer.readings);
        let bytes = answer.encoded_len();
        sink.send(RawResponse { kind: Some(Kind::Gateway(answer)) }, bytes).await?;
    }
    Ok(())
}

fn of(gateway: &GatewayId) -> RawGateway {
    RawGateway { site: gateway.site.to_string(), gateway: gateway.name.to_string(), ..Default::default() }
}

/// Asks one gateway and passes its readings on. A slow reader holds it back.
async fn ask(
    streams: &StreamRegistry,
    gateway: &GatewayId,
    query: wire::RawQuery,
    sink: &Sink<RawResponse>,
) -> Result<RawGateway, QueryError> {
    let mut answer = of(gateway);
    let ended = |answer: RawGateway, status: RawStatus, message: &str| {
        Ok(RawGateway { status: status.into(), message: message.to_owned(), ..answer })
    };
    let asking = match streams.raw(gateway) {
        None => return ended(answer, RawStatus::NotConnected, "the gateway has no stream open"),
        Some(None) => {
            return ended(answer, RawStatus::Unsupported, "the gateway is of a version without raw readings");
        }
        Some(Some(asking)) => asking,
    };
    let most = query.readings_max;
    let mut route = streams.raw_routes.open(gateway, asking);
    if !route.ask(query).await {
        return ended(answer, RawStatus::NotConnected, "the gateway's stream has ended");
    }
    loop {
        let message = match timeout(SILENCE_MAX, route.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => {
                return ended(
                    answer,
                    RawStatus::NotConnected,
                    "the gateway's stream ended while it answered",
                );
            }
            Err(_) => return ended(answer, RawStatus::NotConnected, "the gateway did not answer in time"),
        };
        let granted = message.encoded_len() as u64;
        for series in message.series {
            let bytes = series.encoded_len();
            let Some(series) = readable(gateway, series) else {
                return ended(answer, RawStatus::Failed, "the gateway sent readings that cannot be read");
            };
            answer.readings = answer.readings.saturating_add(series.time_ns.len() as u64);
            if answer.readings > most {
                return ended(
                    answer,
                    RawStatus::Failed,
                    "the gateway sent more readings than were asked for",
                );
            }
            sink.send(RawResponse { kind: Some(Kind::Series(series)) }, bytes).await?;
        }
        if message.end {
            let status =
                i32::try_from(message.status).ok().and_then(|status| RawStatus::try_from(status).ok());
            let status =
                status.filter(|status| *status != RawStatus::Unspecified).unwrap_or(RawStatus::Failed);
            answer.held_from_ms = message.held_from_ms;
            return ended(answer, status, &message.message);
        }
        route.grant(granted).await;
    }
}

/// A series as operators read it; `None`: its columns contradict.
fn readable(gateway: &GatewayId, series: wire::RawReadingsSeries) -> Option<wire::RawSeries> {
    let wire::RawReadingsSeries { series, time_ns, values, texts, states } = series;
    let key = SeriesKey::try_from(&series?).ok()?;
    let is_text = |value: &f64| *value >= 0.0 && *value < texts.len() as f64;
    if time_ns.len() != values.len() || states && !values.iter().all(is_text) {
        return None;
    }
    let mut labels: BTreeMap<String, String> =
        key.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in [
        ("__name__", key.metric.to_string()),
        ("site", gateway.site.to_string()),
        ("gateway", gateway.name.to_string()),
        ("device", key.device.to_string()),
    ] {
        labels.insert(name.to_owned(), value);
    }
    Some(wire::RawSeries { labels, time_ns, values, texts, states })
}
