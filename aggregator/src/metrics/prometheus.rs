//! Requests of Prometheus' API.

use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::prometheus::{ENDPOINTS, STATUSES};

/// What was asked for, and how it was answered; fixed texts of this program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    endpoint: &'static str,
    status: &'static str,
}

/// Requests since the start.
#[derive(Debug)]
pub(crate) struct PrometheusMetrics {
    requests: Family<Answered, Counter>,
}

impl PrometheusMetrics {
    /// With each endpoint at 0.
    pub(super) fn new() -> Self {
        let requests = Family::default();
        for endpoint in ENDPOINTS {
            drop(requests.get_or_create(&Answered { endpoint, status: "200" }));
        }
        Self { requests }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "api_requests",
            "Requests of Prometheus' API, by endpoint and HTTP status of the answer",
            self.requests.clone(),
        );
    }

    /// Counts an answer; `endpoint`: one of [`ENDPOINTS`].
    pub(crate) fn count(&self, endpoint: &'static str, status: StatusCode) {
        let status = STATUSES.into_iter().find(|known| *known == status.as_str());
        debug_assert!(status.is_some(), "the status is not in the list");
        let status = status.unwrap_or("500");
        self.requests.get_or_create(&Answered { endpoint, status }).inc();
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::metrics::Metrics;

    #[test]
    fn requests_are_counted_by_endpoint_and_status() {
        let metrics = Metrics::new();
        metrics.prometheus.count("query", StatusCode::BAD_REQUEST);
        let page = metrics.encode();
        for line in [
            r#"api_requests_total{endpoint="query",status="400"} 1"#,
            r#"api_requests_total{endpoint="query_range",status="200"} 0"#,
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
    }
}
