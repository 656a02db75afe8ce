//! Which gateways count in a result, how far they are behind, and what they corrected and refused.

use catchment_columns::{CompletenessJson, GatewayJson};

use super::printable_name;
use crate::{
    query_result::{Completeness, GatewayProgress},
    time::{rfc3339, span_text},
};

/// A gateway that lags less is not worth a line: it waits for its windows to end.
const SHOWN_LAG_MS: i64 = 60_000;
/// Most gateways named in a line.
const NAMED_MAX: usize = 3;

/// As JSON.
pub(super) fn completeness_json(of: &Completeness) -> CompletenessJson<'_> {
    fn gateway(of: &GatewayProgress) -> GatewayJson<'_> {
        GatewayJson {
            site: &of.site,
            gateway: &of.gateway,
            complete_until: of.complete_until_ms.map(rfc3339),
            lag_ms: of.lag_ms,
            connected: of.connected,
            late_corrections: of.late_corrections,
            refused_readings: of.refused_readings,
        }
    }
    CompletenessJson {
        expected: of.expected,
        behind: of.behind,
        late_corrections: of.late_corrections,
        refused_readings: of.refused_readings,
        gateways: of.gateways.iter().map(gateway).collect(),
    }
}

/// One line, if a gateway is behind by more than a minute, or if something was corrected late or refused; else empty.
pub(super) fn completeness_text(of: &Completeness) -> String {
    // Those furthest behind: others may lag, but have delivered the whole range.
    let mut behind: Vec<&GatewayProgress> = of.gateways.iter().collect();
    behind.sort_by_key(|gateway| gateway.complete_until_ms);
    behind.truncate(of.behind as usize);
    behind.retain(|gateway| gateway.lag_ms.is_none_or(|lag| lag > SHOWN_LAG_MS));
    let mut parts = Vec::new();
    if !behind.is_empty() {
        let name = |gateway: &&GatewayProgress| {
            let lag = gateway.lag_ms.map_or_else(
                || "how far is not known".to_owned(),
                |lag| format!("{} behind", span_text(lag / 1_000 * 1_000)),
            );
            let connected = if gateway.connected { "" } else { ", not connected" };
            format!("{} ({lag}{connected})", printable_name(&gateway.site, &gateway.gateway))
        };
        let named: Vec<String> = behind.iter().take(NAMED_MAX).map(name).collect();
        let rest = match behind.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        parts.push(format!(
            "{} of {} gateways behind: {}{rest}",
            behind.len(),
            of.expected,
            named.join(", ")
        ));
    }
    if of.late_corrections > 0 {
        parts.push(format!("late corrections: {}", of.late_corrections));
    }
    if of.refused_readings > 0 {
        parts.push(format!("refused readings: at least {}", of.refused_readings));
    }
    if parts.is_empty() { String::new() } else { format!("{}\n", parts.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str, complete_until_ms: Option<i64>, lag_ms: Option<i64>) -> GatewayProgress {
        GatewayProgress {
            site: "berlin".to_owned(),
            gateway: name.to_owned(),
            complete_until_ms,
            lag_ms,
            connected: true,
            late_corrections: 0,
            refused_readings: 0,
        }
    }

    #[test]
    fn a_line_names_who_is_far_behind() {
        let fresh = Completeness {
            expected: 1,
            behind: 1,
            gateways: vec![gateway("a", Some(5_000), Some(12_000))],
            ..Completeness::default()
        };
        assert_eq!(completeness_text(&fresh), "");
        let far = Completeness {
            expected: 6,
            behind: 4,
            late_corrections: 2,
            refused_readings: 9,
            gateways: vec![
                gateway("delivered", Some(900_000), Some(100_000)),
                gateway("d", Some(700_000), Some(300_000)),
                gateway("c", Some(600_000), Some(400_000)),
                GatewayProgress { connected: false, ..gateway("b", Some(0), Some(1_000_500)) },
                gateway("a", None, None),
            ],
        };
        assert_eq!(
            completeness_text(&far),
            "4 of 6 gateways behind: berlin/a (how far is not known), berlin/b (16m 40s behind, not connected), \
             berlin/c (6m 40s behind) and 1 more; late corrections: 2; refused readings: at least 9\n"
        );
        let refused = Completeness { behind: 0, gateways: Vec::new(), late_corrections: 0, ..far };
        assert_eq!(completeness_text(&refused), "refused readings: at least 9\n");
    }

    #[test]
    fn json_has_every_gateway() {
        let of = Completeness {
            expected: 2,
            behind: 1,
            late_corrections: 1,
            refused_readings: 3,
            gateways: vec![gateway("a", Some(500), Some(1)), gateway("b", None, None)],
        };
        let json = serde_json::to_value(completeness_json(&of)).unwrap();
        assert_eq!((&json["expected"], &json["behind"]), (&2.into(), &1.into()));
        assert_eq!(json["gateways"][0]["complete_until"], "1970-01-01T00:00:00.500Z");
        assert!(json["gateways"][1]["lag_ms"].is_null() && json["gateways"][1]["connected"] == true);
    }
}
