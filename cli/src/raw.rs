//! `raw`: single readings that gateways still hold.
//!
//! Tables and CSV have one line for each reading, in order of series; a state is its text. What a gateway could not give
//! is reported on standard error, and in JSON in `gateways`.

use std::collections::{BTreeMap, BTreeSet};

use catchment_aggregator::calendar::Zone;
use catchment_proto::wire::{self, RawStatus, raw_response::Kind};
use catchment_settings::{output, text::printable};
use serde::Serialize;

use crate::{
    aggregator_client::AggregatorClient,
    args::RawArgs,
    failure::Failure,
    print::print,
    render::{ResultFormat, json_line, table},
    time::{now_ms, rfc3339, rfc3339_nanos},
};

/// The value of a reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum RawValue {
    Number(f64),
    State(String),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Reading {
    t: String,
    value: RawValue,
}

#[derive(Debug, Serialize)]
struct Series {
    labels: BTreeMap<String, String>,
    readings: Vec<Reading>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Gateway {
    site: String,
    gateway: String,
    status: &'static str,
    readings: u64,
    held_from: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// What the gateways gave.
#[derive(Debug, Default, Serialize)]
struct RawResult {
    series: Vec<Series>,
    gateways: Vec<Gateway>,
}

/// Fetches raw readings and prints them.
///
/// # Errors
/// Wrong usage, or a failed request.
pub async fn raw(args: &RawArgs) -> Result<(), Failure> {
    let (from_ms, to_ms) = args.range.span().resolve(now_ms(), &Zone::UTC).map_err(Failure::usage)?;
    let request =
        wire::RawRequest { selector: args.selector.clone(), from_ms, to_ms, readings_max: args.max };
    let mut client =
        AggregatorClient::connect(&args.connection.aggregator, &args.connection.identity).await?;
    let result = RawResult::of(client.raw(request).await?);
    if args.format != ResultFormat::Json {
        result.gateways.iter().filter_map(Gateway::line).for_each(output::eprint_line);
    }
    if result.gateways.is_empty() {
        output::eprint_line(
            "no series is selected; one that is new is known once its first window was delivered",
        );
    }
    print(&result.text(args.format))
}

impl RawResult {
    fn of(messages: Vec<wire::RawResponse>) -> Self {
        let (mut series, mut gateways) =
            (BTreeMap::<BTreeMap<String, String>, Vec<Reading>>::new(), Vec::new());
        for message in messages {
            match message.kind {
                Some(Kind::Series(of)) => {
                    let readings = readings(&of);
                    series.entry(of.labels).or_default().extend(readings);
                }
                Some(Kind::Gateway(gateway)) => gateways.push(Gateway::of(gateway)),
                None => {}
            }
        }
        let series = series.into_iter().map(|(labels, readings)| Series { labels, readings }).collect();
        Self { series, gateways }
    }

    fn text(&self, format: ResultFormat) -> String {
        match format {
            ResultFormat::Json => json_line(self),
            ResultFormat::Table if self.series.is_empty() => "no readings\n".to_owned(),
            ResultFormat::Table => {
                let mut rows = self.rows();
                rows.iter_mut().flatten().for_each(|cell| *cell = printable(cell).to_string());
                let numbers_from = rows.first().map_or(0, |header| header.len().saturating_sub(1));
                table(&rows, numbers_from)
            }
            ResultFormat::Csv => self.rows().iter().map(|row| csv_line(row)).collect(),
        }
    }

    /// A header, then one row for each reading.
    fn rows(&self) -> Vec<Vec<String>> {
        let names: BTreeSet<&str> =
            self.series.iter().flat_map(|series| series.labels.keys().map(String::as_str)).collect();
        let first = ["__name__", "site", "gateway", "device"];
        let others = names.iter().copied().filter(|name| !first.contains(name));
        let columns: Vec<&str> = first.into_iter().chain(others).collect();
        let header = ["t"].into_iter().chain(columns.iter().copied()).chain(["value"]);
        let mut rows = vec![header.map(str::to_owned).collect()];
        for Series { labels, readings } in &self.series {
            let labels: Vec<&str> =
                columns.iter().map(|name| labels.get(*name).map_or("", String::as_str)).collect();
            rows.extend(readings.iter().map(|reading| {
                let value = match &reading.value {
                    RawValue::Number(value) => value.to_string(),
                    RawValue::State(state) => state.clone(),
                };
                let labels = labels.iter().map(|label| (*label).to_owned());
                [reading.t.clone()].into_iter().chain(labels).chain([value]).collect()
            }));
        }
        rows
    }
}

fn csv_line(row: &[String]) -> String {
    let cell = |cell: &String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    format!("{}\n", row.iter().map(cell).collect::<Vec<_>>().join(","))
}

fn readings(series: &wire::RawSeries) -> Vec<Reading> {
    let mut time = 0_i64;
    let reading = |(step, value): (&i64, &f64)| {
        time = time.wrapping_add(*step);
        let value = match series.states {
            true => RawValue::State(series.texts.get(*value as usize).cloned().unwrap_or_default()),
            false => RawValue::Number(*value),
        };
        Reading { t: rfc3339_nanos(time), value }
    };
    series.time_ns.iter().zip(&series.values).map(reading).collect()
}

impl Gateway {
    fn of(gateway: wire::RawGateway) -> Self {
        let status = match gateway.status() {
            RawStatus::Complete => "complete",
            RawStatus::PartlyGone => "partly_gone",
            RawStatus::Gone => "gone",
            RawStatus::NotKept => "not_kept",
            RawStatus::NotConnected => "not_connected",
            RawStatus::Limit => "limit",
            RawStatus::Unsupported => "unsupported",
            RawStatus::Failed | RawStatus::Unspecified => "failed",
        };
        let wire::RawGateway { site, gateway, readings, held_from_ms, message, .. } = gateway;
        // A time that is not known is beyond any.
        let held_from = held_from_ms.map(rfc3339);
        Self { site, gateway, status, readings, held_from, message }
    }

    /// Why not everything is there, for people.
    fn line(&self) -> Option<String> {
        let Self { site, gateway, status, held_from, message, .. } = self;
        let since = held_from.as_deref().unwrap_or("an unknown time");
        let why = match *status {
            "complete" => return None,
            "partly_gone" => format!("what arrived before {since} is no longer there"),
            "gone" => format!("no longer there: it holds what arrived since {since}"),
            "limit" => "there are more readings: raise --max, or ask for a shorter range".to_owned(),
            _ => printable(message).to_string(),
        };
        Some(format!("{}/{}: {why}", printable(site), printable(gateway)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> RawResult {
        let labels = |metric: &str| {
            [
                ("__name__", metric),
                ("site", "berlin"),
                ("gateway", "gw"),
                ("device", "press"),
                ("room", "a,b"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
        };
        let numbers = wire::RawSeries {
            labels: labels("temperature"),
            time_ns: vec![1_700_000_000_000_000_000, 250_000_000, 1],
            values: vec![21.5, 22.0, -0.25],
            ..Default::default()
        };
        let states = wire::RawSeries {
            labels: labels("mode"),
            time_ns: vec![1_700_000_000_000_000_000],
            values: vec![0.0],
            texts: vec!["auto".to_owned()],
            states: true,
        };
        let gateway = |status: RawStatus| wire::RawGateway {
            site: "berlin".to_owned(),
            gateway: "gw".to_owned(),
            status: status.into(),
            readings: 4,
            held_from_ms: Some(1_700_000_000_000),
            message: String::new(),
        };
        let kinds = [
            Kind::Series(numbers),
            Kind::Series(states),
            Kind::Gateway(gateway(RawStatus::PartlyGone)),
            Kind::Gateway(gateway(RawStatus::Complete)),
        ];
        RawResult::of(kinds.into_iter().map(|kind| wire::RawResponse { kind: Some(kind) }).collect())
    }

    #[test]
    fn readings_are_lines_of_csv() {
        let right = "t,__name__,site,gateway,device,room,value\n\
                     2023-11-14T22:13:20Z,mode,berlin,gw,press,\"a,b\",auto\n\
                     2023-11-14T22:13:20Z,temperature,berlin,gw,press,\"a,b\",21.5\n\
                     2023-11-14T22:13:20.250Z,temperature,berlin,gw,press,\"a,b\",22\n\
                     2023-11-14T22:13:20.250000001Z,temperature,berlin,gw,press,\"a,b\",-0.25\n";
        assert_eq!(result().text(ResultFormat::Csv), right);
    }

    #[test]
    fn json_says_what_is_missing_and_people_read_why() {
        let result = result();
        let json: serde_json::Value = serde_json::from_str(&result.text(ResultFormat::Json)).unwrap();
        assert_eq!(json["series"][0]["readings"][0]["value"], "auto");
        assert_eq!(json["series"][1]["readings"][1]["value"], 22.0);
        assert_eq!(json["gateways"][0]["status"], "partly_gone");
        assert_eq!(json["gateways"][0]["held_from"], "2023-11-14T22:13:20Z");
        let lines: Vec<String> = result.gateways.iter().filter_map(Gateway::line).collect();
        assert_eq!(lines, ["berlin/gw: what arrived before 2023-11-14T22:13:20Z is no longer there"]);
        assert!(result.text(ResultFormat::Table).contains("-0.25"));
        assert_eq!(RawResult::default().text(ResultFormat::Table), "no readings\n");
    }
}
