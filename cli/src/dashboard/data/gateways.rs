//! A page of the list of gateways: as that of devices.

use std::cmp::Ordering;

use catchment_proto::wire;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    connection::Connection,
    devices::{expires_ms, no_ends, order_of},
    error::DataError,
    lists::{Listing, Lists},
    parameters::Parameters,
    text,
};
use crate::{expiry::is_expiring, time::now_ms};

/// Seconds of lag from which on a gateway counts as behind, unless the page says otherwise.
const BEHIND_SECONDS: u32 = 60;

/// A page of the list.
#[derive(Debug, Serialize)]
pub(super) struct Gateways<'a> {
    now_ms: i64,
    total: usize,
    found: usize,
    more: bool,
    /// What the aggregator is too old for.
    note: Option<&'static str>,
    rows: Vec<Gateway<'a>>,
}

#[derive(Debug, Serialize)]
struct Gateway<'a> {
    site: &'a str,
    gateway: &'a str,
    connected: bool,
    retired: bool,
    watermark_ms: Option<i64>,
    lag_ms: Option<i64>,
    devices: u32,
    series: u32,
    series_max: Option<u64>,
    version: &'a str,
    /// When its certificate ends; absent: not known.
    expires_ms: Option<i64>,
    expiring: bool,
    /// In words; empty: all is well.
    problems: Vec<String>,
}

impl<'a> Gateway<'a> {
    fn of(one: &'a wire::Gateway, now_ms: i64, behind_ms: i64) -> Self {
        Self {
            site: &one.site,
            gateway: &one.gateway,
            connected: one.connected,
            retired: one.retired,
            watermark_ms: one.watermark_ms,
            lag_ms: one.lag_ms,
            devices: one.devices,
            series: one.series,
            series_max: one.series_max,
            version: &one.version,
            expires_ms: expires_ms(one.certificate_expires_s),
            expiring: is_expiring(one.certificate_expires_s, now_ms),
            problems: problems(one, now_ms, behind_ms),
        }
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
    let behind_ms = behind_ms(&parameters)?;
    let seconds = parameters.number("behind", BEHIND_SECONDS)?;
    let request = parameters.rows()?.request(parameters.text("problems_only") == "1", seconds);
    let asking = async { Ok(connection.client().await?.gateway_page(request).await?) };
    let page = connection.note(asking.await).await;
    let now_ms = now_ms();
    match page {
        Ok(page) => text(&Gateways {
            now_ms,
            total: usize::try_from(page.total).unwrap_or(usize::MAX),
            found: usize::try_from(page.found).unwrap_or(usize::MAX),
            more: false,
            note: None,
            rows: page.gateways.iter().map(|one| Gateway::of(one, now_ms, behind_ms)).collect(),
        }),
        Err(error) if error.is_unknown_page(parameters.text("sort")) => {
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
fn of_list<'a>(listing: &'a Listing, parameters: &Parameters) -> Result<Gateways<'a>, DataError> {
    let rows = parameters.rows()?;
    let behind_ms = behind_ms(parameters)?;
    let all = &listing.gateways.entries;
    let only_problems = parameters.text("problems_only") == "1";
    let mut found: Vec<&wire::Gateway> = all
        .iter()
        .filter(|one| rows.finds(&[&one.gateway, &one.site, &one.version]))
        .filter(|one| !only_problems || !problems(one, listing.now_ms, behind_ms).is_empty())
        .collect();
    found.sort_by(|a, b| {
        let order = compare(&rows.sort, a, b);
        let order = if rows.descending { order.reverse() } else { order };
        order.then_with(|| (&a.site, &a.gateway).cmp(&(&b.site, &b.gateway)))
    });
    let shown = rows.cut(&found).iter().map(|one| Gateway::of(one, listing.now_ms, behind_ms));
    Ok(Gateways {
        now_ms: listing.now_ms,
        total: all.len(),
        found: found.len(),
        more: listing.gateways.more,
        note: (rows.sort == "expires")
            .then(|| no_ends(all.iter().map(|one| one.certificate_expires_s)))
            .flatten(),
        rows: shown.collect(),
    })
}

/// The lag from which on a gateway is behind, milliseconds.
///
/// # Errors
/// A parameter is wrong.
pub(super) fn behind_ms(parameters: &Parameters) -> Result<i64, DataError> {
    Ok(i64::from(parameters.number("behind", BEHIND_SECONDS)?).saturating_mul(1000))
}

/// Whether a gateway counts and its lag reaches `behind_ms`, or it has never delivered.
pub(super) fn is_behind(gateway: &wire::Gateway, behind_ms: i64) -> bool {
    !gateway.retired && gateway.lag_ms.is_none_or(|lag| lag >= behind_ms)
}

/// What is wrong with a gateway, the worst first. Nothing is wrong with a retired one.
pub(super) fn problems(gateway: &wire::Gateway, now_ms: i64, behind_ms: i64) -> Vec<String> {
    let mut list = Vec::new();
    if gateway.retired {
        return list;
    }
    if !gateway.connected {
        list.push("not connected".to_owned());
    }
    if gateway.contended {
        list.push("another data folder delivers under its certificate".to_owned());
    }
    if !gateway.waits_for.is_empty() {
        list.push(format!("its batches are not accepted: {}", gateway.waits_for));
    }
    if let Some(ahead) = gateway.clock_ahead_ms {
        list.push(format!("its clock is {} s ahead", ahead / 1000));
    }
    if gateway.lost_batches > 0 {
        list.push(format!("{} batches are lost", gateway.lost_batches));
    }
    match gateway.lag_ms {
        None => list.push("has never delivered".to_owned()),
        Some(lag) if lag >= behind_ms => list.push(format!("{} s behind", lag / 1000)),
        Some(_) => {}
    }
    if is_expiring(gateway.certificate_expires_s, now_ms) {
        list.push(match gateway.certificate_expires_s.saturating_sub(now_ms / 1_000) {
            ..=0 => "its certificate has ended".to_owned(),
            left @ 1..172_800 => format!("its certificate ends in {} h", left / 3_600),
            left => format!("its certificate ends in {} days", left / 86_400),
        });
    }
    list
}

fn compare(sort: &str, a: &wire::Gateway, b: &wire::Gateway) -> Ordering {
    // One that has never delivered lags most.
    let lag = |one: &wire::Gateway| one.lag_ms.unwrap_or(i64::MAX);
    match sort {
        "gateway" => a.gateway.cmp(&b.gateway),
        "lag" => lag(a).cmp(&lag(b)),
        "devices" => a.devices.cmp(&b.devices),
        "series" => a.series.cmp(&b.series),
        "version" => a.version.cmp(&b.version),
        "expires" => order_of(a.certificate_expires_s).cmp(&order_of(b.certificate_expires_s)),
        "connected" => a.connected.cmp(&b.connected),
        "worst" => badness(b).cmp(&badness(a)),
        _ => a.site.cmp(&b.site),
    }
}

/// As the aggregator sorts: those that deliver nothing or whose batches are not accepted, then those that lag; retired ones
/// are best.
fn badness(gateway: &wire::Gateway) -> (u8, i64) {
    let wire::Gateway { connected, contended, waits_for, clock_ahead_ms, .. } = gateway;
    let is_well = *connected && !contended && waits_for.is_empty() && clock_ahead_ms.is_none();
    let class = if gateway.retired { 0 } else { 1 + u8::from(!is_well) };
    (class, gateway.lag_ms.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator_client::{ClientError, Listed};

    #[test]
    fn an_older_aggregators_list_is_sorted_here() {
        let gateway = |name: &str, connected, lag_ms| wire::Gateway {
            gateway: name.to_owned(),
            connected,
            lag_ms: Some(lag_ms),
            ..wire::Gateway::default()
        };
        let entries = vec![gateway("a", true, 5), gateway("b", true, 9), gateway("c", false, 1)];
        let listing = Listing::new(0, Listed::default(), Listed { entries, more: false });
        let shown = |query: &str| {
            let answer = of_list(&listing, &Parameters::parse(query)).unwrap();
            (answer.rows.iter().map(|row| row.gateway).collect::<String>(), answer.note.is_some())
        };
        assert_eq!(shown("sort=worst"), ("cba".to_owned(), false));
        assert_eq!(shown("sort=expires"), ("abc".to_owned(), true));
        let words = "sort: there is no such column: write site or lag".to_owned();
        let refused = DataError::from(ClientError::Request(words));
        assert!(refused.is_unknown_page("expires") && refused.is_unknown_page("worst"));
        assert!(!refused.is_unknown_page("colour"));
    }

    #[test]
    fn problems_are_in_words_and_a_retired_gateway_has_none() {
        let fine = wire::Gateway { connected: true, lag_ms: Some(2_000), ..wire::Gateway::default() };
        assert!(problems(&fine, 0, 60_000).is_empty() && !is_behind(&fine, 60_000));
        let ill = wire::Gateway {
            connected: false,
            lag_ms: Some(90_000),
            waits_for: "no room".to_owned(),
            lost_batches: 3,
            ..fine.clone()
        };
        let words = problems(&ill, 0, 60_000).join("; ");
        assert_eq!(
            words,
            "not connected; its batches are not accepted: no room; 3 batches are lost; 90 s behind"
        );
        assert!(problems(&wire::Gateway { retired: true, ..ill }, 0, 60_000).is_empty());
        let words = |certificate_expires_s| {
            let gateway = wire::Gateway { certificate_expires_s, ..fine.clone() };
            problems(&gateway, 100_000_000_000, 60_000).join("; ")
        };
        assert_eq!(words(100_000_000), "its certificate has ended");
        assert_eq!(words(100_007_200), "its certificate ends in 2 h");
        assert_eq!(words(101_036_800), "its certificate ends in 12 days");
        assert_eq!((words(0), words(200_000_000)), (String::new(), String::new()));
        assert!(is_behind(&wire::Gateway { lag_ms: None, ..fine }, 60_000));
    }
}
