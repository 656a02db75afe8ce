//! What an answer's header says, as the metadata of a schema: which gateways count, how far they have delivered, and
//! what is lost.

use std::collections::HashMap;

use catchment_proto::wire::{Gap, GatewayProgress, Header};
use jiff::Timestamp;
use serde::Serialize;

/// Metadata key of the time up to which the answer is complete, RFC 3339 in UTC; absent if that is not known.
pub const COMPLETE_UNTIL_KEY: &str = "complete_until";
/// Metadata key of the whole header: JSON with the keys of `catchment query --format json`, without its series.
pub const HEADER_KEY: &str = "catchment";

#[derive(Serialize)]
struct HeaderJson<'a> {
    complete_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completeness: Option<CompletenessJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<GapJson<'a>>,
}

/// Which gateways count in an answer, how far they are behind, and what they corrected and refused.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "named as in the header of an answer")]
pub struct CompletenessJson<'a> {
    pub expected: u32,
    pub behind: u32,
    pub late_corrections: u64,
    pub refused_readings: u64,
    pub gateways: Vec<GatewayJson<'a>>,
}

/// How far a gateway has delivered; times are RFC 3339.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "named as in the header of an answer")]
pub struct GatewayJson<'a> {
    pub site: &'a str,
    pub gateway: &'a str,
    pub complete_until: Option<String>,
    pub lag_ms: Option<i64>,
    pub connected: bool,
    pub late_corrections: u64,
    pub refused_readings: u64,
}

/// Windows of a gateway that were delivered and are lost; times are RFC 3339.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "named as in the header of an answer")]
pub struct GapJson<'a> {
    pub site: &'a str,
    pub gateway: &'a str,
    pub from: Option<String>,
    pub to: String,
    pub batches: u64,
}

impl<'a> From<&'a GatewayProgress> for GatewayJson<'a> {
    fn from(of: &'a GatewayProgress) -> Self {
        Self {
            site: &of.site,
            gateway: &of.gateway,
            complete_until: of.complete_until_ms.map(rfc3339),
            lag_ms: of.lag_ms,
            connected: of.connected,
            late_corrections: of.late_corrections,
            refused_readings: of.refused_readings,
        }
    }
}

impl<'a> From<&'a Gap> for GapJson<'a> {
    fn from(of: &'a Gap) -> Self {
        Self {
            site: &of.site,
            gateway: &of.gateway,
            from: of.from_ms.map(rfc3339),
            to: rfc3339(of.to_ms),
            batches: of.batches,
        }
    }
}

/// A header as one line of JSON: `complete_until`, `completeness` and, if there are any, `gaps`. An aggregator that is
/// older than `completeness` says nothing of it, so the key is absent.
#[must_use]
pub fn header_json(header: &Header) -> String {
    let said = header.gateways_expected > 0 || header.request_version > 0;
    let json = HeaderJson {
        complete_until: header.complete_until_ms.map(rfc3339),
        completeness: said.then(|| CompletenessJson {
            expected: header.gateways_expected,
            behind: header.gateways_behind,
            late_corrections: header.late_corrections,
            refused_readings: header.refused_readings,
            gateways: header.gateways.iter().map(GatewayJson::from).collect(),
        }),
        gaps: header.gaps.iter().map(GapJson::from).collect(),
    };
    // Only maps with other keys than strings, and values that refuse, fail to serialize.
    serde_json::to_string(&json).unwrap_or_default()
}

/// A header as the metadata of a schema.
#[must_use]
pub fn metadata(header: &Header) -> HashMap<String, String> {
    let until = header.complete_until_ms.map(|ms| (COMPLETE_UNTIL_KEY.to_owned(), rfc3339(ms)));
    let whole = (HEADER_KEY.to_owned(), header_json(header));
    until.into_iter().chain([whole]).collect()
}

/// RFC 3339 in UTC with `Z`; milliseconds are shown only if they are not zero. A time beyond its years is a number.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(timestamp) if ms.rem_euclid(1000) == 0 => format!("{timestamp:.0}"),
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_json_of_the_tool() {
        let header = Header {
            complete_until_ms: Some(1_500),
            gateways_expected: 2,
            gateways_behind: 1,
            gateways: vec![GatewayProgress { site: "b".into(), gateway: "g".into(), ..Default::default() }],
            gaps: vec![Gap { site: "b".into(), to_ms: 2_000, batches: 3, ..Gap::default() }],
            ..Header::default()
        };
        let json: serde_json::Value = serde_json::from_str(&header_json(&header)).unwrap();
        let expected = serde_json::json!({
            "complete_until": "1970-01-01T00:00:01.500Z",
            "completeness": {
                "expected": 2, "behind": 1, "late_corrections": 0, "refused_readings": 0,
                "gateways": [{
                    "site": "b", "gateway": "g", "complete_until": null, "lag_ms": null, "connected": false,
                    "late_corrections": 0, "refused_readings": 0,
                }],
            },
            "gaps": [{ "site": "b", "gateway": "", "from": null, "to": "1970-01-01T00:00:02Z", "batches": 3 }],
        });
        assert_eq!(json, expected);
        assert_eq!(metadata(&header)[COMPLETE_UNTIL_KEY], "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let unknown = metadata(&Header::default());
        assert_eq!(unknown.get(COMPLETE_UNTIL_KEY), None);
        assert_eq!(unknown[HEADER_KEY], r#"{"complete_until":null}"#);
    }
}
