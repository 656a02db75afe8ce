//! The state of the fleet in numbers, and its problems.

use std::collections::BTreeMap;

use catchment_proto::{
    GatewayId,
    wire::{self, SiteSummary, SummaryRequest},
};

use super::{
    lists::{GATEWAY_BYTES, MESSAGE_BYTES, collect_devices, gateway_message},
    pages::{BEHIND_MS, EXPIRING_S, SILENT_MS, is_behind, is_problem},
    selector,
};
use crate::{
    clock_bound::ClockBound,
    ingest::StreamRegistry,
    query::{QueryError, Sink, each_gateway},
    store::{Gap, QueryStore},
};

/// Most sites of a summary.
const SITES_MAX: usize = 1_000;
/// Most gateways with problems of a summary.
const PROBLEMS_MAX: usize = 200;

/// Counts gateways and devices by site.
pub(super) async fn summarize(
    store: &dyn QueryStore,
    (streams, clock): (&StreamRegistry, ClockBound),
    request: &SummaryRequest,
    sink: &Sink<wire::FleetSummary>,
) -> Result<(), QueryError> {
    let or = |given: i64, default| if given <= 0 { default } else { given };
    let behind_ms = or(request.behind_ms, BEHIND_MS);
    let silent_ms = clock.now_ms().saturating_sub(or(request.silent_ms, SILENT_MS));
    let expiring_s = (clock.now_ms() / 1_000).saturating_add(or(request.expires_within_s, EXPIRING_S));
    let everything = selector("", &[])?;
    let mut sites: BTreeMap<String, SiteSummary> = BTreeMap::new();
    // Number of devices and series of each gateway, from one walk over all series.
    let mut counts: BTreeMap<GatewayId, (usize, u32)> = BTreeMap::new();
    for ((gateway, _), state) in collect_devices(store, &streams.certificates, &everything, sink).await? {
        sink.yield_point().await?;
        let site = site(&mut sites, gateway.site.as_str());
        // Once, at the gateway that saw it last.
        site.devices += u64::from(!state.moved);
        site.silent += u64::from(state.is_silent(silent_ms));
        site.expiring += u64::from(state.is_expiring(expiring_s));
        let (devices, all) = counts.entry(gateway).or_default();
        (*devices, *all) = (*devices + 1, all.saturating_add(state.series));
    }
    let (mut gateways, mut held) = (Vec::new(), 0);
    each_gateway(store, sink, |entry| {
        held += GATEWAY_BYTES + entry.gaps.len() * size_of::<Gap>();
        gateways.push(entry);
        held
    })
    .await?;
    let (mut problems, mut until): (Vec<wire::Gateway>, _) = (Vec::new(), Some(i64::MAX));
    for entry in &gateways {
        sink.yield_point().await?;
        let of = counts.get(&entry.epoch.gateway).copied().unwrap_or_default();
        let gateway = gateway_message(entry, of, streams, clock);
        count(site(&mut sites, &gateway.site), &gateway, behind_ms);
        if !gateway.retired {
            until = until.zip(gateway.watermark_ms).map(|(until, watermark)| until.min(watermark));
        }
        if is_problem(&gateway, behind_ms, expiring_s) {
            problems.push(gateway);
        }
    }
    let summary = finish(sites, problems, until.filter(|until| *until < i64::MAX));
    let bytes = (summary.sites.len() + summary.problems.len()) * MESSAGE_BYTES;
    sink.send(summary, bytes).await
}

fn site<'a>(sites: &'a mut BTreeMap<String, SiteSummary>, name: &str) -> &'a mut SiteSummary {
    if !sites.contains_key(name) {
        sites.insert(name.to_owned(), SiteSummary { site: name.to_owned(), ..SiteSummary::default() });
    }
    sites.entry(name.to_owned()).or_default()
}

fn count(site: &mut SiteSummary, gateway: &wire::Gateway, behind_ms: i64) {
    if !gateway.retired {
        // Before it is counted: the first one that is not retired.
        let worst = if site.gateways == site.retired { Some(0) } else { site.lag_ms };
        site.lag_ms = worst.zip(gateway.lag_ms).map(|(worst, lag)| worst.max(lag));
    }
    site.gateways += 1;
    site.series = site.series.saturating_add(gateway.series.into());
    site.retired += u64::from(gateway.retired);
    site.down += u64::from(!gateway.connected && !gateway.retired);
    site.behind += u64::from(is_behind(gateway, behind_ms));
}

fn finish(
    sites: BTreeMap<String, SiteSummary>,
    mut problems: Vec<wire::Gateway>,
    complete_until_ms: Option<i64>,
) -> wire::FleetSummary {
    let (sites_total, problems_total) = (sites.len() as u64, problems.len() as u64);
    let mut sites: Vec<SiteSummary> = sites.into_values().collect();
    let total = sites.iter().fold(SiteSummary::default(), |total, site| SiteSummary {
        site: String::new(),
        gateways: total.gateways + site.gateways,
        down: total.down + site.down,
        behind: total.behind + site.behind,
        retired: total.retired + site.retired,
        devices: total.devices + site.devices,
        silent: total.silent + site.silent,
        series: total.series.saturating_add(site.series),
        expiring: total.expiring + site.expiring,
        lag_ms: match (total.gateways == total.retired, site.gateways == site.retired) {
            (_, true) => total.lag_ms,
            (true, false) => site.lag_ms,
            (false, false) => total.lag_ms.zip(site.lag_ms).map(|(a, b)| a.max(b)),
        },
    });
    sites.sort_by_key(|site| (site.down == 0, site.behind == 0, site.silent == 0, site.expiring == 0));
    sites.truncate(SITES_MAX);
    problems.sort_by_key(|gateway| gateway.connected);
    problems.truncate(PROBLEMS_MAX);
    let total = Some(total);
    wire::FleetSummary { total, sites, sites_total, problems, problems_total, complete_until_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_first_and_retired_gateways_do_not_count() {
        let gateway = |site: &str, connected, retired| wire::Gateway {
            site: site.to_owned(),
            connected,
            retired,
            lag_ms: Some(if site == "c" { 3_000 } else { 1_000 }),
            series: 2,
            ..wire::Gateway::default()
        };
        let all = [gateway("a", true, false), gateway("b", false, true), gateway("c", false, false)];
        let mut sites = BTreeMap::new();
        for gateway in &all {
            count(site(&mut sites, &gateway.site), gateway, BEHIND_MS);
        }
        site(&mut sites, "a").silent = 1;
        site(&mut sites, "d").expiring = 2;
        let problems: Vec<_> = all.iter().filter(|one| is_problem(one, BEHIND_MS, 0)).cloned().collect();
        let summary = finish(sites, problems, Some(800));
        let names: Vec<&str> = summary.sites.iter().map(|site| site.site.as_str()).collect();
        assert_eq!(names, ["c", "a", "d", "b"]);
        let lags: Vec<_> = summary.sites.iter().map(|site| site.lag_ms).collect();
        assert_eq!(lags, [Some(3_000), Some(1_000), None, None]);
        let SiteSummary { gateways, down, behind, retired, silent, series, expiring, lag_ms, .. } =
            summary.total.unwrap();
        assert_eq!(lag_ms, Some(3_000));
        assert_eq!((gateways, down, behind, retired, silent, series, expiring), (3, 1, 0, 1, 1, 6, 2));
        assert_eq!((summary.problems.len(), summary.problems_total, summary.sites_total), (1, 1, 4));
    }
}
