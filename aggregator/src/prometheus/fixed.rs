//! Answers that do not depend on what is stored.

use bytes::Bytes;
use serde_json::json;

use super::json as text;

/// The version of Prometheus whose API this is: clients choose by it what they ask for.
const PROMETHEUS_VERSION: &str = "3.5.0";

/// Version of the API, and what serves it.
pub(super) fn build_info() -> Bytes {
    let data = json!({
        "version": PROMETHEUS_VERSION,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "Catchment",
        "applicationVersion": env!("CARGO_PKG_VERSION"),
    });
    text::success(&data.to_string())
}

/// There are no exemplars.
pub(super) fn exemplars() -> Bytes {
    text::success("[]")
}

/// There are no rules.
pub(super) fn rules() -> Bytes {
    text::success(r#"{"groups":[]}"#)
}

/// There are no alerts.
pub(super) fn alerts() -> Bytes {
    text::success(r#"{"alerts":[]}"#)
}
