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
}

fn show_devices(list: &[wire::Device], format: ListFormat) -> String {
    let entries = list.iter().map(|device| DeviceJson {
        site: &device.site,
        gateway: &device.gateway,
        device: &device.device,
        series: device.series,
        last_seen: rfc3339(device.last_seen_ms),
    });
    if format == ListFormat::Json {
        return json_line(&entries.collect::<Vec<_>>());
    }
    let rows = entries.map(|e| {
        vec![e.site.to_owned(), e.gateway.to_owned(), e.device.to_owned(), e.last_seen, e.series.to_string()]
    });
    list_table(&["site", "gateway", "device", "last seen", "series"], 4, rows, "no devices")
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
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

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
        let rare = [lost, ahead, waits, retired, held].into_iter().flatten();
        text.into_iter().chain(rest).chain(rare).collect()
    });
    let mut header = vec![
        "site",
        "gateway",
        "version",
        "connected",
        "complete until",
        "lag",
        "devices",
        "series",
        "max series",
    ];
    header.extend(lost.then_some("lost batches"));
    header.extend(ahead.then_some("clock ahead by"));
    header.extend(waits.then_some("waits for"));
    header.extend(retired.then_some("retired"));
    header.extend(lists.then_some("revocation list"));
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
mod tests {
    use super::*;

    fn gateway() -> wire::Gateway {
        wire::Gateway {
            site: "berlin".to_owned(),
            gateway: "gw".to_owned(),
            connected: true,
            watermark_ms: Some(1_795_341_600_000),
            lag_ms: Some(2500),
            epoch: 0xab,
            devices: 3,
            series: 9,
            series_max: Some(40),
            waits_for: "no room".to_owned(),
            version: "0.1.0".to_owned(),
            ..wire::Gateway::default()
        }
    }

    #[test]
    fn gateways_as_json_and_table() {
        let expected = concat!(
            r#"[{"site":"berlin","gateway":"gw","connected":true,"watermark":"2026-11-22T10:00:00Z","lag_ms":2500,"#,
            r#""devices":3,"series":9,"series_max":40,"waits_for":"no room","epoch":"00000000000000ab","version":"0.1.0"}]"#,
            "\n",
        );
        assert_eq!(show_gateways(&[gateway()], ListFormat::Json), expected);
        let text = show_gateways(&[gateway()], ListFormat::Table);
        assert!(text.contains("2s 500ms") && text.contains("yes") && text.contains("no room"), "{text}");
        assert!(!text.contains("lost batches") && !text.contains("clock ahead"), "{text}");
        let ill = wire::Gateway { lost_batches: 7, clock_ahead_ms: Some(3_600_000), ..gateway() };
        let json = show_gateways(std::slice::from_ref(&ill), ListFormat::Json);
        assert!(json.contains(r#""lost_batches":7,"clock_ahead_ms":3600000}"#), "{json}");
        let text = show_gateways(&[ill, gateway()], ListFormat::Table);
        assert!(text.contains("lost batches") && text.contains("1h"), "{text}");
        let twice = wire::Gateway { contended: true, ..gateway() };
        assert!(show_gateways(&[twice], ListFormat::Table).contains("twice"));
        assert!(!text.contains("retired") && !text.contains("revocation"), "{text}");
        let retired = wire::Gateway { retired: true, ..gateway() };
        let json = show_gateways(std::slice::from_ref(&retired), ListFormat::Json);
        assert!(json.contains(r#""retired":true}"#), "{json}");
        assert!(show_gateways(&[retired], ListFormat::Table).contains("retired"));
        let held = wire::Gateway { revocation_list: Some(7), ..gateway() };
        let behind = wire::Gateway { revocations_behind: true, ..held.clone() };
        let old = wire::Gateway { revocation_list: None, ..behind.clone() };
        let json = show_gateways(std::slice::from_ref(&behind), ListFormat::Json);
        assert!(json.contains(r#""revocation_list":7,"revocations_behind":true}"#), "{json}");
        let text = show_gateways(&[held, behind, old], ListFormat::Table);
        let shown: Vec<&str> = text.lines().map(|line| line.rsplit("  ").next().unwrap().trim()).collect();
        assert_eq!(shown, ["revocation list", "7", "7 (behind)", "- (behind)"], "{text}");
        let never = wire::Gateway { watermark_ms: None, lag_ms: None, ..gateway() };
        assert!(show_gateways(&[never], ListFormat::Json).contains(r#""watermark":null,"lag_ms":null"#));
    }

    #[test]
    fn gateways_are_listed_or_retired() {
        use clap::Parser as _;

        use crate::args::{Cli, Command};

        let parse = |args: &[&str]| match Cli::try_parse_from(["catchment", "gateways"].iter().chain(args)) {
            Ok(Cli { command: Command::Gateways(args), .. }) => Ok(args),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        let there = ["--aggregator", "https://a:1", "--identity", "d"];
        let listed = parse(&[&["{site=\"berlin\"}"], &there[..]].concat()).unwrap();
        assert_eq!(listed.list.given().map(|list| list.selector).as_deref(), Some("{site=\"berlin\"}"));
        assert!(parse(&[]).is_err(), "the aggregator is required");
        let retired = parse(&[&["retire", "berlin/gw", "--undo"], &there[..]].concat()).unwrap();
        let Some(GatewaysCommand::Retire(args)) = retired.command else { panic!("{retired:?}") };
        assert_eq!((&*args.gateway.site, &*args.gateway.gateway, args.undo), ("berlin", "gw", true));
        let wrong = parse(&[&["retire", "gw"], &there[..]].concat()).unwrap_err();
        assert!(wrong.contains("SITE/GATEWAY"), "{wrong}");
        let text = |undo, unchanged| show_retired(&args.gateway, undo, unchanged);
        assert_eq!(text(false, false), "berlin/gw is retired: it does not count in completeness\n");
        assert_eq!(text(true, true), "berlin/gw was not retired\n");
    }

    #[test]
    fn series_are_listed_or_forgotten() {
        use clap::Parser as _;

        use crate::args::{Cli, Command};

        let parse = |args: &[&str]| match Cli::try_parse_from(["catchment", "series"].iter().chain(args)) {
            Ok(Cli { command: Command::Series(args), .. }) => Ok(args),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        let there = ["--aggregator", "https://a:1", "--identity", "d"];
        let listed = parse(&[&["m"], &there[..]].concat()).unwrap();
        assert_eq!(listed.list.given().map(|list| list.selector).as_deref(), Some("m"));
        assert_eq!(parse(&there).unwrap().list.given().map(|list| list.selector).as_deref(), Some(""));
        let forgotten = parse(&[&["forget", "m", "--dry-run"], &there[..]].concat()).unwrap();
        let Some(SeriesCommand::Forget(args)) = forgotten.command else { panic!("{forgotten:?}") };
        assert_eq!((args.selector.as_str(), args.dry_run), ("m", true));
        assert!(parse(&[&["forget"], &there[..]].concat()).unwrap_err().contains("SELECTOR"));
        assert_eq!(show_forgotten(1, false), "1 series is forgotten\n");
        assert_eq!(show_forgotten(7, true), "7 series are selected, nothing is forgotten\n");
    }

    #[test]
    fn devices_and_series_as_json() {
        let device = wire::Device {
            site: "berlin".to_owned(),
            gateway: "gw".to_owned(),
            device: "press-17".to_owned(),
            series: 2,
            last_seen_ms: 500,
        };
        let expected = r#"[{"site":"berlin","gateway":"gw","device":"press-17","series":2,"last_seen":"1970-01-01T00:00:00.500Z"}]"#;
        assert_eq!(show_devices(&[device], ListFormat::Json).trim_end(), expected);
        let labels = [("device".to_owned(), "press-17".to_owned())].into();
        let series = wire::Series {
            metric: "temperature".to_owned(),
            labels,
            first_window_ms: 0,
            last_window_ms: 1000,
        };
        let expected = r#"[{"metric":"temperature","labels":{"device":"press-17"},"first_window":"1970-01-01T00:00:00Z","last_window":"1970-01-01T00:00:01Z"}]"#;
        assert_eq!(show_series(std::slice::from_ref(&series), ListFormat::Json).trim_end(), expected);
        assert!(show_series(&[series], ListFormat::Table).contains("device=\"press-17\""));
        assert_eq!(show_series(&[], ListFormat::Json), "[]\n");
        assert_eq!(show_devices(&[], ListFormat::Table), "no devices\n");
    }
}
