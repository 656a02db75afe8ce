//! `devices`, `gateways` and `series`: lists as a table or a JSON array.
//!
//! Times are RFC 3339 in UTC; a time that does not exist yet is `null` (`-` in a table).

use std::collections::BTreeMap;

use catchment_proto::wire;
use serde::Serialize;

use crate::{
    aggregator_client::AggregatorClient,
    args::{
        ForgetArgs, GatewayName, GatewaysArgs, GatewaysCommand, ListArgs, RetireArgs, SeriesArgs,
        SeriesCommand,
    },
    failure::Failure,
    print::print,
    render::{ListFormat, json_line, table},
    time::{rfc3339, span_text},
};

/// Lists devices.
///
/// # Errors
/// The request fails.
pub async fn devices(args: &ListArgs) -> Result<(), Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    print(&show_devices(&client.devices(&args.selector).await?, args.format))
}

/// Lists gateways, or retires one.
///
/// # Errors
/// The request fails.
pub async fn gateways(args: &GatewaysArgs) -> Result<(), Failure> {
    match (&args.command, args.list.given()) {
        (Some(GatewaysCommand::Retire(args)), _) => retire(args).await,
        (None, Some(args)) => list_gateways(&args).await,
        // The parser has already required the address.
        (None, None) => Err(Failure::usage("give --aggregator https://HOST:PORT and --identity DIR")),
    }
}

async fn retire(args: &RetireArgs) -> Result<(), Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let GatewayName { site, gateway } = &args.gateway;
    let unchanged = client.retire_gateway(site, gateway, args.undo).await?;
    print(&show_retired(&args.gateway, args.undo, unchanged))
}

fn show_retired(GatewayName { site, gateway }: &GatewayName, undo: bool, unchanged: bool) -> String {
    match (undo, unchanged) {
        (false, false) => format!("{site}/{gateway} is retired: it does not count in completeness\n"),
        (false, true) => format!("{site}/{gateway} was retired before\n"),
        (true, false) => format!("{site}/{gateway} counts in completeness again\n"),
        (true, true) => format!("{site}/{gateway} was not retired\n"),
    }
}

async fn list_gateways(args: &ListArgs) -> Result<(), Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    print(&show_gateways(&client.gateways(&args.selector).await?, args.format))
}

/// Lists series, or forgets some.
///
/// # Errors
/// The request fails.
pub async fn series(args: &SeriesArgs) -> Result<(), Failure> {
    match (&args.command, args.list.given()) {
        (Some(SeriesCommand::Forget(args)), _) => forget(args).await,
        (None, Some(args)) => list_series(&args).await,
        // The parser has already required the address.
        (None, None) => Err(Failure::usage("give --aggregator https://HOST:PORT and --identity DIR")),
    }
}

async fn forget(args: &ForgetArgs) -> Result<(), Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let count = client.forget_series(&args.selector, args.dry_run).await?;
    print(&show_forgotten(count, args.dry_run))
}

fn show_forgotten(count: u64, dry_run: bool) -> String {
    let series = if count == 1 { "series is" } else { "series are" };
    match dry_run {
        true => format!("{count} {series} selected, nothing is forgotten\n"),
        false => format!("{count} {series} forgotten\n"),
    }
}

async fn list_series(args: &ListArgs) -> Result<(), Failure> {
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    print(&show_series(&client.series(&args.selector).await?, args.format))
}

#[derive(Serialize)]
struct DeviceJson<'a> {
    site: &'a str,
    gateway: &'a str,
    device: &'a str,
    series: u32,
    last_seen: String,
    /// When the certificate of its newest session ends.
    certificate_expires: Option<String>,
}

fn show_devices(list: &[wire::Device], format: ListFormat) -> String {
    let entries = list.iter().map(|device| DeviceJson {
        site: &device.site,
        gateway: &device.gateway,
        device: &device.device,
        series: device.series,
        last_seen: rfc3339(device.last_seen_ms),
        certificate_expires: end_of(device.certificate_expires_s),
    });
    if format == ListFormat::Json {
        return json_line(&entries.collect::<Vec<_>>());
    }
    let rows = entries.map(|e| {
        let names = [e.site, e.gateway, e.device].map(str::to_owned);
        let rest = [e.last_seen, e.certificate_expires.unwrap_or_else(dash), e.series.to_string()];
        names.into_iter().chain(rest).collect()
    });
    let header = ["site", "gateway", "device", "last seen", "certificate expires", "series"];
    list_table(&header, 5, rows, "no devices")
}

#[derive(Serialize)]
struct GatewayJson<'a> {
    site: &'a str,
    gateway: &'a str,
    connected: bool,
    watermark: Option<String>,
    lag_ms: Option<i64>,
    devices: u32,
    series: u32,
    series_max: Option<u64>,
    waits_for: Option<&'a str>,
    epoch: String,
    version: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    lost_batches: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_ahead_ms: Option<i64>,
    /// Two copies of its data folder have delivered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    contended: bool,
    /// It does not count in completeness.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retired: bool,
    /// Number of the root's revocation list that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_list: Option<u64>,
    /// It does not hold the aggregator's newest revocation lists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    revocations_behind: bool,
    /// When the certificate of its newest stream ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The columns of every list of gateways.
const GATEWAY_COLUMNS: [&str; 9] =
    ["site", "gateway", "version", "connected", "complete until", "lag", "devices", "series", "max series"];

fn show_gateways(list: &[wire::Gateway], format: ListFormat) -> String {
    let entries = list.iter().map(|gateway| GatewayJson {
        site: &gateway.site,
        gateway: &gateway.gateway,
        connected: gateway.connected,
        watermark: gateway.watermark_ms.map(rfc3339),
        lag_ms: gateway.lag_ms,
        devices: gateway.devices,
        series: gateway.series,
        series_max: gateway.series_max,
        waits_for: Some(gateway.waits_for.as_str()).filter(|reason| !reason.is_empty()),
        epoch: format!("{:016x}", gateway.epoch),
        version: &gateway.version,
        lost_batches: gateway.lost_batches,
        clock_ahead_ms: gateway.clock_ahead_ms,
        contended: gateway.contended,
        retired: gateway.retired,
        revocation_list: gateway.revocation_list,
        revocations_behind: gateway.revocations_behind,
        certificate_expires: end_of(gateway.certificate_expires_s),
    });
    if format == ListFormat::Json {
        return json_line(&entries.collect::<Vec<_>>());
    }
    // Rare columns appear only if a gateway has a value for them.
    let lost = list.iter().any(|gateway| gateway.lost_batches > 0);
    let ahead = list.iter().any(|gateway| gateway.clock_ahead_ms.is_some());
    let waits = list.iter().any(|gateway| !gateway.waits_for.is_empty());
    let retired = list.iter().any(|gateway| gateway.retired);
    let lists = list.iter().any(|gateway| gateway.revocation_list.is_some() || gateway.revocations_behind);
    let ends = list.iter().any(|gateway| gateway.certificate_expires_s != 0);
    let rows = entries.map(|e| {
        let connected = match (e.connected, e.contended) {
            (_, true) => "twice",
            (true, false) => "yes",
            (false, false) => "no",
        };
        let lag = e.lag_ms.map_or_else(dash, span_text);
        let text = [e.site, e.gateway, e.version, connected].map(str::to_owned);
        let of = e.series_max.map_or_else(dash, |max| max.to_string());
        let rest = [e.watermark.unwrap_or_else(dash), lag, e.devices.to_string(), e.series.to_string(), of];
        let lost = lost.then(|| e.lost_batches.to_string());
        let ahead = ahead.then(|| e.clock_ahead_ms.map_or_else(dash, span_text));
        let waits = waits.then(|| e.waits_for.map_or_else(dash, str::to_owned));
        let retired = retired.then(|| if e.retired { "yes".to_owned() } else { dash() });
        let held = lists.then(|| {
            let number = e.revocation_list.map_or_else(dash, |number| number.to_string());
            if e.revocations_behind { format!("{number} (behind)") } else { number }
        });
        let ends = ends.then(|| e.certificate_expires.unwrap_or_else(dash));
        let rare = [lost, ahead, waits, retired, held, ends].into_iter().flatten();
        text.into_iter().chain(rest).chain(rare).collect()
    });
    let mut header = GATEWAY_COLUMNS.to_vec();
    header.extend(lost.then_some("lost batches"));
    header.extend(ahead.then_some("clock ahead by"));
    header.extend(waits.then_some("waits for"));
    header.extend(retired.then_some("retired"));
    header.extend(lists.then_some("revocation list"));
    header.extend(ends.then_some("certificate expires"));
    list_table(&header, 6, rows, "no gateways")
}

#[derive(Serialize)]
struct SeriesJson<'a> {
    metric: &'a str,
    labels: &'a BTreeMap<String, String>,
    first_window: String,
    last_window: String,
}

fn show_series(list: &[wire::Series], format: ListFormat) -> String {
    let entries = list.iter().map(|series| SeriesJson {
        metric: &series.metric,
        labels: &series.labels,
        first_window: rfc3339(series.first_window_ms),
        last_window: rfc3339(series.last_window_ms),
    });
    if format == ListFormat::Json {
        return json_line(&entries.collect::<Vec<_>>());
    }
    let rows = entries.map(|e| {
        let labels: Vec<String> = e.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        vec![e.metric.to_owned(), labels.join(","), e.first_window, e.last_window]
    });
    list_table(&["metric", "labels", "first window", "last window"], 4, rows, "no series")
}

/// The end of a certificate, Unix seconds; `None`: it is not known.
fn end_of(expires_s: i64) -> Option<String> {
    (expires_s != 0).then(|| rfc3339(expires_s.saturating_mul(1_000)))
}

fn dash() -> String {
    "-".to_owned()
}

fn list_table(
    header: &[&str],
    numbers_from: usize,
    rows: impl Iterator<Item = Vec<String>>,
    none: &str,
) -> String {
    let mut all = vec![header.iter().map(|&name| name.to_owned()).collect()];
    all.extend(rows);
    if all.len() == 1 { format!("{none}\n") } else { table(&all, numbers_from) }
}

#[cfg(test)]
mod tests;
