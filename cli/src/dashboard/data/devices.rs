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
use crate::{
    expiry::{EXPIRING_S, is_expiring},
    time::now_ms,
};

/// Seconds without a reading after which a device counts as silent, unless the page says otherwise.
pub(super) const SILENT_SECONDS: u32 = 300;

/// How far the aggregator's clock and this one may differ.
const CLOCKS_MS: i64 = 86_400_000;

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
    /// What the aggregator is too old for.
    note: Option<&'static str>,
    rows: Vec<Device<'a>>,
}

/// Of an aggregator that is too old.
pub(super) const NO_ENDS: &str = "This aggregator does not know when certificates end: upgrade it.";

#[derive(Debug, Serialize)]
struct Device<'a> {
    site: &'a str,
    gateway: &'a str,
    device: &'a str,
    series: u32,
    last_seen_ms: i64,
    silent: bool,
    /// Another gateway of the site saw it later.
    moved: bool,
    /// When its certificate ends; absent: not known.
    expires_ms: Option<i64>,
    expiring: bool,
}

impl<'a> Device<'a> {
    fn of(one: &'a wire::Device, now_ms: i64, silent_ms: i64) -> Self {
        let wire::Device { site, gateway, device, series, last_seen_ms, certificate_expires_s, moved } = one;
        Self {
            site,
            gateway,
            device,
            series: *series,
            last_seen_ms: *last_seen_ms,
            silent: is_silent(one, silent_ms),
            moved: *moved,
            expires_ms: expires_ms(*certificate_expires_s),
            expiring: is_expiring_device(one, now_ms),
        }
    }
}

/// Whether a device has not moved and has no reading since a time, Unix milliseconds.
pub(super) fn is_silent(one: &wire::Device, silent_ms: i64) -> bool {
    !one.moved && one.last_seen_ms < silent_ms
}

/// Whether a device has not moved and its certificate has ended or ends soon.
pub(super) fn is_expiring_device(one: &wire::Device, now_ms: i64) -> bool {
    !one.moved && is_expiring(one.certificate_expires_s, now_ms)
}

/// The end of a certificate, Unix milliseconds, if it is known.
pub(super) fn expires_ms(expires_s: i64) -> Option<i64> {
    (expires_s != 0).then(|| expires_s.saturating_mul(1_000))
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
    let expires_within_s = if only_expiring(&parameters) { EXPIRING_S } else { 0 };
    let request = wire::PageRequest { expires_within_s, ..request };
    let asking = async { Ok(connection.client().await?.device_page(request).await?) };
    let page = connection.note(asking.await).await;
    let now_ms = now_ms();
    match known(page, &parameters, now_ms)? {
        Some(page) => {
            let silent_ms = silent_before(now_ms, &parameters)?;
            text(&Devices {
                now_ms,
                total: usize::try_from(page.total).unwrap_or(usize::MAX),
                found: usize::try_from(page.found).unwrap_or(usize::MAX),
                more: false,
                note: None,
                rows: page.devices.iter().map(|one| Device::of(one, now_ms, silent_ms)).collect(),
            })
        }
        None => {
            let listing = lists.fresh(connection).await?;
            // Sorting a large fleet takes a while.
            spawn_blocking(move || text(&of_list(&listing, &parameters)?)).await?
        }
    }
}

/// The page that the aggregator answered; `None`: it is too old for what was asked.
///
/// # Errors
/// It refuses for another reason, or is away.
fn known(
    page: Result<wire::DevicePage, DataError>,
    parameters: &Parameters,
    now_ms: i64,
) -> Result<Option<wire::DevicePage>, DataError> {
    match page {
        Ok(page) => {
            // A filter that it does not know is ignored. Its clock may differ by some hours.
            let ends_soon = |one: &wire::Device| is_expiring_device(one, now_ms.saturating_add(CLOCKS_MS));
            let is_filtered = !only_expiring(parameters) || page.devices.iter().all(ends_soon);
            Ok(is_filtered.then_some(page))
        }
        Err(error) if error.is_unknown_page(parameters.text("sort")) => Ok(None),
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
    let only_expiring = only_expiring(parameters);
    let all = &listing.devices.entries;
    let mut found: Vec<&wire::Device> = all
        .iter()
        .filter(|one| rows.finds(&[&one.device, &one.site, &one.gateway]))
        .filter(|one| !only_silent || is_silent(one, silent_ms))
        .filter(|one| !only_expiring || is_expiring_device(one, listing.now_ms))
        .collect();
    found.sort_by(|a, b| {
        let order = compare(&rows.sort, a, b);
        let order = if rows.descending { order.reverse() } else { order };
        // Rows with equal values keep their places between two answers.
        order.then_with(|| names(a).cmp(&names(b)))
    });
    let shown = rows.cut(&found).iter().map(|one| Device::of(one, listing.now_ms, silent_ms));
    let needs_ends = only_expiring || rows.sort == "expires";
    Ok(Devices {
        now_ms: listing.now_ms,
        total: all.len(),
        found: found.len(),
        more: listing.devices.more,
        note: needs_ends.then(|| no_ends(all.iter().map(|one| one.certificate_expires_s))).flatten(),
        rows: shown.collect(),
    })
}

/// Says so if of a list that is not empty no end is known.
pub(super) fn no_ends(mut ends: impl ExactSizeIterator<Item = i64>) -> Option<&'static str> {
    (ends.len() > 0 && ends.all(|expires_s| expires_s == 0)).then_some(NO_ENDS)
}

/// Whether only devices are asked for whose certificate has ended or ends soon.
fn only_expiring(parameters: &Parameters) -> bool {
    parameters.text("expiring_only") == "1"
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
        "expires" => order_of(a.certificate_expires_s).cmp(&order_of(b.certificate_expires_s)),
        "worst" => (a.moved, a.last_seen_ms).cmp(&(b.moved, b.last_seen_ms)),
        _ => a.device.cmp(&b.device),
    }
}

/// An unknown end comes after all others.
pub(super) fn order_of(expires_s: i64) -> i64 {
    if expires_s == 0 { i64::MAX } else { expires_s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator_client::{ClientError, Listed};

    fn listing() -> Listing {
        let device = |name: &str, last_seen_ms| wire::Device {
            site: "rome".to_owned(),
            gateway: "gw".to_owned(),
            device: name.to_owned(),
            series: 1,
            last_seen_ms,
            certificate_expires_s: if name == "b" { 1_001 } else { 0 },
            moved: false,
        };
        let entries = vec![device("b", 900_000), device("a", 100_000), device("<img>", 100_000)];
        Listing::new(1_000_000, Listed { entries, more: false }, Listed::default())
    }

    fn shown(query: &str) -> (usize, Vec<String>) {
        shown_of(&listing(), query)
    }

    fn shown_of(listing: &Listing, query: &str) -> (usize, Vec<String>) {
        let answer = of_list(listing, &Parameters::parse(query)).unwrap();
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
        assert_eq!(shown("sort=expires"), (3, names(&["b", "<img>", "a"])));
        assert_eq!(shown("expiring_only=1"), (1, names(&["b"])));
    }

    #[test]
    fn a_device_that_moved_is_neither_silent_nor_expiring_where_it_was() {
        let Listing { now_ms, mut devices, gateways } = listing();
        let left = |place: usize, last_seen_ms| {
            let gateway = "left".to_owned();
            wire::Device { gateway, last_seen_ms, ..listing().devices.entries[place].clone() }
        };
        devices.entries.extend([left(0, 5), left(1, 7)]);
        let listing = Listing::new(now_ms, devices, gateways);
        let gateways = |query: &str| {
            let answer = of_list(&listing, &Parameters::parse(query)).unwrap();
            answer.rows.iter().map(|row| (row.gateway, row.device, row.silent)).collect::<Vec<_>>()
        };
        assert_eq!(gateways("silent_only=1"), [("gw", "<img>", true), ("gw", "a", true)]);
        assert_eq!(gateways("expiring_only=1"), [("gw", "b", false)]);
        assert_eq!(gateways("sort=worst&offset=3"), [("left", "b", false), ("left", "a", false)]);
        assert_eq!(shown_of(&listing, "").0, 5, "the rows stay");
    }

    #[test]
    fn an_aggregator_that_does_not_know_ends_is_asked_for_the_list() {
        let page = |certificate_expires_s| {
            let devices = vec![wire::Device { certificate_expires_s, ..wire::Device::default() }];
            Ok(wire::DevicePage { devices, found: 1, total: 1 })
        };
        let is_known =
            |page, query: &str| known(page, &Parameters::parse(query), 1_000_000).map(|page| page.is_some());
        // It ignores a filter that it does not know.
        assert!(!is_known(page(0), "expiring_only=1").unwrap() && is_known(page(0), "").unwrap());
        assert!(is_known(page(1_001), "expiring_only=1").unwrap());
        assert!(is_known(page(1_000 + EXPIRING_S + 60), "expiring_only=1").unwrap(), "clocks differ");
        assert!(!is_known(page(1_000 + 2 * EXPIRING_S), "expiring_only=1").unwrap());
        let refused = |words: &str| Err(DataError::from(ClientError::Request(words.to_owned())));
        let words = "sort: there is no such column: write device, site, gateway, last_seen or series";
        assert!(!is_known(refused(words), "sort=expires").unwrap());
        assert!(is_known(refused(words), "sort=colour").is_err());
        assert!(is_known(refused("search: too long"), "sort=expires").is_err());

        let Listing { mut devices, .. } = listing();
        devices.entries.iter_mut().for_each(|one| one.certificate_expires_s = 0);
        let old = Listing::new(1_000_000, devices, Listed::default());
        let note = |listing: &Listing, query: &str| of_list(listing, &Parameters::parse(query)).unwrap().note;
        assert_eq!((shown_of(&old, "expiring_only=1").0, note(&old, "expiring_only=1")), (0, Some(NO_ENDS)));
        assert_eq!((note(&old, "sort=expires"), note(&old, "")), (Some(NO_ENDS), None));
        assert_eq!(note(&listing(), "expiring_only=1"), None);
        assert_eq!(note(&Listing::default(), "expiring_only=1"), None);
    }
}
