//! Lists as tables and as JSON.

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
    assert!(!text.contains("certificate"), "{text}");
    let known = wire::Gateway { certificate_expires_s: 86_400, ..gateway() };
    let json = show_gateways(std::slice::from_ref(&known), ListFormat::Json);
    assert!(json.contains(r#""certificate_expires":"1970-01-02T00:00:00Z"}"#), "{json}");
    assert!(show_gateways(&[known], ListFormat::Table).contains("certificate expires"));
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
        ..wire::Device::default()
    };
    let expected = r#"[{"site":"berlin","gateway":"gw","device":"press-17","series":2,"last_seen":"1970-01-01T00:00:00.500Z","certificate_expires":null}]"#;
    assert_eq!(show_devices(std::slice::from_ref(&device), ListFormat::Json).trim_end(), expected);
    let known = wire::Device { certificate_expires_s: 86_400, ..device.clone() };
    let json = show_devices(std::slice::from_ref(&known), ListFormat::Json);
    assert!(json.contains(r#""certificate_expires":"1970-01-02T00:00:00Z""#), "{json}");
    let text = show_devices(&[device, known], ListFormat::Table);
    assert!(text.contains("certificate expires") && text.contains("1970-01-02T00:00:00Z"), "{text}");
    // Whatever an aggregator says.
    show_devices(
        &[wire::Device { certificate_expires_s: i64::MAX, ..wire::Device::default() }],
        ListFormat::Table,
    );
    let labels = [("device".to_owned(), "press-17".to_owned())].into();
    let series =
        wire::Series { metric: "temperature".to_owned(), labels, first_window_ms: 0, last_window_ms: 1000 };
    let expected = r#"[{"metric":"temperature","labels":{"device":"press-17"},"first_window":"1970-01-01T00:00:00Z","last_window":"1970-01-01T00:00:01Z"}]"#;
    assert_eq!(show_series(std::slice::from_ref(&series), ListFormat::Json).trim_end(), expected);
    assert!(show_series(&[series], ListFormat::Table).contains("device=\"press-17\""));
    assert_eq!(show_series(&[], ListFormat::Json), "[]\n");
    assert_eq!(show_devices(&[], ListFormat::Table), "no devices\n");
}
