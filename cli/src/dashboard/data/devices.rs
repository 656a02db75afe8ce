//! A page of the list of devices: searched, sorted and cut by the aggregator, or here if it is too old for that. The browser
//! holds no fleet.

use std::cmp::Ordering;

use catchment_proto::wire;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    connection::Connection,
    error::DataError,
    lists::{Listing, Lists},
    parameters::Parameters,
    text,
};
use crate::time::now_ms;

/// Seconds without a reading after which a device counts as silent, unless the page says otherwise.
pub(super) const SILENT_SECONDS: u32 = 300;

/// A page of the list.
#[derive(Debug, Serialize)]
pub(super) struct Devices<'a> {
    now_ms: i64,
    /// Number of devices.
    total: usize,
    /// Number of those that the search finds.
    found: usize,
    /// The aggregator has more devices than are listed.
    more: bool,
    rows: Vec<Device<'a>>,
}

#[derive(Debug, Serialize)]
struct Device<'a> {
    site: &'a str,
    gateway: &'a str,
    device: &'a str,
    series: u32,
    last_seen_ms: i64,
    silent: bool,
}

impl<'a> Device<'a> {
    fn of(one: &'a wire::Device, silent_ms: i64) -> Self {
        let wire::Device { site, gateway, device, series, last_seen_ms } = one;
        let silent = *last_seen_ms < silent_ms;
        Self { site, gateway, device, series: *series, last_seen_ms: *last_seen_ms, silent }
    }
}

/// The page of the list that the parameters ask for, as JSON.
///
/// # Errors
/// A parameter is wrong, or the aggregator refuses or is away.
pub(super) async fn answer(
    connection: &Connection,
    lists: &Lists,
    parameters: Parameters,
) -> Result<String, DataError> {
    let seconds = parameters.number("silent", SILENT_SECONDS)?;
    let request = parameters.rows()?.request(parameters.text("silent_only") == "1", seconds);
    let asking = async { Ok(connection.client().await?.device_page(request).await?) };
    match connection.note(asking.await).await {
        Ok(page) => {
            let now_ms = now_ms();
            let silent_ms = silent_before(now_ms, &parameters)?;
            text(&Devices {
                now_ms,
                total: usize::try_from(page.total).unwrap_or(usize::MAX),
                found: usize::try_from(page.found).unwrap_or(usize::MAX),
                more: false,
                rows: page.devices.iter().map(|one| Device::of(one, silent_ms)).collect(),
            })
        }
        Err(error) if error.is_unknown() => {
            let listing = lists.fresh(connection).await?;
            // Sorting a large fleet takes a while.
            spawn_blocking(move || text(&of_list(&listing, &parameters)?)).await?
        }
        Err(error) => Err(error),
    }
}

/// The page of a whole list.
///
/// # Errors
/// A parameter is wrong.
fn of_list<'a>(listing: &'a Listing, parameters: &Parameters) -> Result<Devices<'a>, DataError> {
    let rows = parameters.rows()?;
    let silent_ms = silent_before(listing.now_ms, parameters)?;
    let only_silent = parameters.text("silent_only") == "1";
    let all = &listing.devices.entries;
    let mut found: Vec<&wire::Device> = all
        .iter()
        .filter(|one| rows.finds(&[&one.device, &one.site, &one.gateway]))
        .filter(|one| !only_silent || one.last_seen_ms < silent_ms)
        .collect();
    found.sort_by(|a, b| {
        let order = compare(&rows.sort, a, b);
        let order = if rows.descending { order.reverse() } else { order };
        // Rows with equal values keep their places between two answers.
        order.then_with(|| names(a).cmp(&names(b)))
    });
    let shown = rows.cut(&found).iter().map(|one| Device::of(one, silent_ms));
    Ok(Devices {
        now_ms: listing.now_ms,
        total: all.len(),
        found: found.len(),
        more: listing.devices.more,
        rows: shown.collect(),
    })
}

/// Devices with no reading at or after this time are silent; Unix milliseconds.
///
/// # Errors
/// A parameter is wrong.
pub(super) fn silent_before(now_ms: i64, parameters: &Parameters) -> Result<i64, DataError> {
    let seconds = parameters.number("silent", SILENT_SECONDS)?;
    Ok(now_ms.saturating_sub(i64::from(seconds).saturating_mul(1000)))
}

fn names(device: &wire::Device) -> [&str; 3] {
    [&device.site, &device.gateway, &device.device]
}

fn compare(sort: &str, a: &wire::Device, b: &wire::Device) -> Ordering {
    match sort {
        "site" => a.site.cmp(&b.site),
        "gateway" => a.gateway.cmp(&b.gateway),
        "series" => a.series.cmp(&b.series),
        "last_seen" => a.last_seen_ms.cmp(&b.last_seen_ms),
        _ => a.device.cmp(&b.device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator_client::Listed;

    fn listing() -> Listing {
        let device = |name: &str, last_seen_ms| wire::Device {
            site: "rome".to_owned(),
            gateway: "gw".to_owned(),
            device: name.to_owned(),
            series: 1,
            last_seen_ms,
        };
        let entries = vec![device("b", 900_000), device("a", 100_000), device("<img>", 100_000)];
        Listing { now_ms: 1_000_000, devices: Listed { entries, more: false }, gateways: Listed::default() }
    }

    fn shown(query: &str) -> (usize, Vec<String>) {
        let listing = listing();
        let answer = of_list(&listing, &Parameters::parse(query)).unwrap();
        (answer.found, answer.rows.iter().map(|row| row.device.to_owned()).collect())
    }

    #[test]
    fn devices_are_searched_sorted_and_cut() {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(shown(""), (3, names(&["<img>", "a", "b"])));
        assert_eq!(shown("sort=last_seen&descending=1"), (3, names(&["b", "<img>", "a"])));
        assert_eq!(shown("sort=device&descending=1&limit=1&offset=1"), (3, names(&["a"])));
        assert_eq!(shown("search=IMG"), (1, names(&["<img>"])));
        assert_eq!(shown("search=rome&silent_only=1"), (2, names(&["<img>", "a"])));
        assert_eq!(shown("silent_only=1&silent=1000"), (0, Vec::new()));
    }
}
