//! The state of the fleet in a few numbers, and its problems.

use std::collections::BTreeMap;

use catchment_proto::wire;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    connection::Connection,
    devices::{SILENT_SECONDS, is_expiring_device, is_silent, silent_before},
    error::DataError,
    gateways::{behind_ms, is_behind, problems},
    lists::{Listing, Lists},
    parameters::Parameters,
    text,
};
use crate::{expiry::EXPIRING_S, time::now_ms};

/// Most problems in an answer.
const PROBLEMS_MAX: usize = 200;
/// Most sites in an answer.
const SITES_MAX: usize = 1_000;

/// The state of the fleet.
#[derive(Debug, Serialize)]
pub(super) struct Fleet<'a> {
    now_ms: i64,
    total: Numbers,
    /// In the order of their names, those with problems first.
    sites: Vec<Site<'a>>,
    sites_total: usize,
    problems: Vec<Problem<'a>>,
    problems_total: usize,
    /// The aggregator has more devices or gateways than are listed.
    more: bool,
    /// Time up to which every gateway that counts has delivered, Unix milliseconds; absent: not known of one.
    complete_until_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Numbers {
    gateways: usize,
    down: usize,
    behind: usize,
    retired: usize,
    devices: usize,
    silent: usize,
    /// Devices whose certificate has ended or ends soon.
    expiring: usize,
    series: u64,
}

#[derive(Debug, Serialize)]
struct Site<'a> {
    site: &'a str,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Debug, Serialize)]
struct Problem<'a> {
    site: &'a str,
    gateway: &'a str,
    problem: String,
}

/// The state of the fleet, as JSON: counted by the aggregator, or here if it is too old for that.
///
/// # Errors
/// A parameter is wrong, or the aggregator refuses or is away.
pub(super) async fn answer(
    connection: &Connection,
    lists: &Lists,
    parameters: Parameters,
) -> Result<String, DataError> {
    let behind_ms = behind_ms(&parameters)?;
    let silent_ms = i64::from(parameters.number("silent", SILENT_SECONDS)?).saturating_mul(1_000).max(1);
    let expires_within_s = EXPIRING_S;
    let request = wire::SummaryRequest { behind_ms: behind_ms.max(1), silent_ms, expires_within_s };
    match lists.summary(connection, request).await {
        Ok(summary) => text(&of_summary(&summary, now_ms(), behind_ms)),
        Err(error) if error.is_unknown() => {
            let listing = lists.fresh(connection).await?;
            spawn_blocking(move || text(&of_lists(&listing, &parameters)?)).await?
        }
        Err(error) => Err(error),
    }
}

/// What the aggregator counted.
fn of_summary(summary: &wire::FleetSummary, now_ms: i64, behind_ms: i64) -> Fleet<'_> {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let numbers = |site: &wire::SiteSummary| Numbers {
        gateways: count(site.gateways),
        down: count(site.down),
        behind: count(site.behind),
        retired: count(site.retired),
        devices: count(site.devices),
        silent: count(site.silent),
        expiring: count(site.expiring),
        series: site.series,
    };
    let sites = summary.sites.iter().map(|site| Site { site: &site.site, numbers: numbers(site) });
    let list = summary.problems.iter().map(|one| Problem {
        site: &one.site,
        gateway: &one.gateway,
        problem: problems(one, now_ms, behind_ms).join("; "),
    });
    Fleet {
        now_ms,
        total: summary.total.as_ref().map(numbers).unwrap_or_default(),
        sites: sites.collect(),
        sites_total: count(summary.sites_total),
        problems: list.collect(),
        problems_total: count(summary.problems_total),
        more: false,
        complete_until_ms: summary.complete_until_ms,
    }
}

/// The state of the fleet, counted from whole lists.
///
/// # Errors
/// A parameter is wrong.
fn of_lists<'a>(listing: &'a Listing, parameters: &Parameters) -> Result<Fleet<'a>, DataError> {
    let behind_ms = behind_ms(parameters)?;
    let silent_ms = silent_before(listing.now_ms, parameters)?;
    let (gateways, devices) = (&listing.gateways, &listing.devices);
    let mut sites: BTreeMap<&str, Numbers> = BTreeMap::new();
    let mut list = Vec::new();
    for one in &gateways.entries {
        let site = sites.entry(&one.site).or_default();
        site.gateways += 1;
        site.series = site.series.saturating_add(one.series.into());
        site.retired += usize::from(one.retired);
        site.down += usize::from(!one.connected && !one.retired);
        site.behind += usize::from(is_behind(one, behind_ms));
        let words = problems(one, listing.now_ms, behind_ms).join("; ");
        if !words.is_empty() {
            list.push((one.connected, Problem { site: &one.site, gateway: &one.gateway, problem: words }));
        }
    }
    for one in &devices.entries {
        let site = sites.entry(&one.site).or_default();
        // Once, at the gateway that saw it last.
        site.devices += usize::from(!one.moved);
        site.silent += usize::from(is_silent(one, silent_ms));
        site.expiring += usize::from(is_expiring_device(one, listing.now_ms));
    }
    // Those that are down first; otherwise in the order of the list.
    list.sort_by_key(|(connected, _)| *connected);
    let counting = || gateways.entries.iter().filter(|one| !one.retired);
    let until = counting().map(|one| one.watermark_ms).min().flatten();
    let (sites_total, problems_total) = (sites.len(), list.len());
    let total = sum(sites.values());
    let mut sites: Vec<Site<'_>> = sites.into_iter().map(|(site, numbers)| Site { site, numbers }).collect();
    sites.sort_by_key(|Site { numbers: n, .. }| (n.down == 0, n.behind == 0, n.silent == 0, n.expiring == 0));
    sites.truncate(SITES_MAX);
    Ok(Fleet {
        now_ms: listing.now_ms,
        total,
        sites,
        sites_total,
        problems: list.into_iter().map(|(_, problem)| problem).take(PROBLEMS_MAX).collect(),
        problems_total,
        more: gateways.more || devices.more,
        complete_until_ms: until,
    })
}

fn sum<'a>(sites: impl Iterator<Item = &'a Numbers>) -> Numbers {
    sites.fold(Numbers::default(), |total, site| Numbers {
        gateways: total.gateways + site.gateways,
        down: total.down + site.down,
        behind: total.behind + site.behind,
        retired: total.retired + site.retired,
        devices: total.devices + site.devices,
        silent: total.silent + site.silent,
        expiring: total.expiring + site.expiring,
        series: total.series.saturating_add(site.series),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator_client::Listed;

    #[test]
    fn problems_come_first_and_retired_gateways_do_not_count() {
        let gateway = |site: &str, connected, retired, watermark_ms| wire::Gateway {
            site: site.to_owned(),
            gateway: "gw".to_owned(),
            connected,
            retired,
            watermark_ms: Some(watermark_ms),
            lag_ms: Some(1_000),
            series: 2,
            ..wire::Gateway::default()
        };
        let entries = vec![
            gateway("a", true, false, 900),
            gateway("b", false, true, 5),
            gateway("c", false, false, 800),
        ];
        let device = |gateway: &str, last_seen_ms| wire::Device {
            site: "a".to_owned(),
            gateway: gateway.to_owned(),
            last_seen_ms,
            certificate_expires_s: 1_001,
            ..wire::Device::default()
        };
        // One device, at the gateway that it left too.
        let devices = Listed { entries: vec![device("gw", 9), device("old", 5)], more: false };
        let listing = Listing::new(1_000_000, devices, Listed { entries, more: false });
        let fleet = of_lists(&listing, &Parameters::default()).unwrap();
        let sites: Vec<&str> = fleet.sites.iter().map(|site| site.site).collect();
        assert_eq!(sites, ["c", "a", "b"]);
        let Numbers { gateways, down, behind, retired, devices, silent, expiring, series } = fleet.total;
        assert_eq!((gateways, down, behind, retired), (3, 1, 0, 1));
        assert_eq!((devices, silent, expiring, series), (1, 1, 1, 6));
        assert_eq!(fleet.complete_until_ms, Some(800));
        assert_eq!((fleet.problems.len(), fleet.problems[0].problem.as_str()), (1, "not connected"));
    }
}
