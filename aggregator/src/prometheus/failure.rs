//! Why a request has no answer, as Prometheus says it.

use bytes::Bytes;
use http::StatusCode;
use tonic::{Code, Status};

use super::json;
use crate::query::promql::{Failure, FailureKind};

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    /// HTTP's status, one of [`STATUSES`].
    pub(super) status: StatusCode,
    /// `errorType` of the answer.
    kind: &'static str,
    /// In words.
    text: String,
}

/// All statuses of answers: labels for metrics.
pub(crate) const STATUSES: [&str; 11] =
    ["200", "400", "403", "404", "405", "408", "413", "422", "499", "500", "503"];

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Self {
        Self { status, kind, text: text.into() }
    }

    /// A parameter or an expression is wrong.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", text)
    }

    /// A parameter is wrong.
    pub(super) fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter \"{name}\": {reason}"))
    }

    /// There is nothing at the path.
    pub(super) fn not_found(path: &str) -> Self {
        let text = format!("{:?} is not part of this API; docs/prometheus.md lists what is", excerpt(path));
        Self::new(StatusCode::NOT_FOUND, "not_found", text)
    }

    /// The method is none of those that the path takes.
    pub(super) fn method(allowed: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_data", format!("this path takes {allowed} only"))
    }

    /// The body is longer than a request may be.
    pub(super) fn too_long(bytes_max: usize) -> Self {
        let text = format!("the body of a request has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_data", text)
    }

    /// The body did not come in time.
    pub(super) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body of the request did not come in time")
    }

    /// A program error.
    pub(super) fn internal() -> Self {
        let text = "the request failed unexpectedly; see the aggregator's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
    }

    /// The body of the answer.
    pub(super) fn body(&self) -> Bytes {
        let (kind, text) = (self.kind, json::text(&self.text));
        format!(r#"{{"status":"error","errorType":"{kind}","error":{text}}}"#).into()
    }
}

/// The beginning of a foreign text.
fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let (status, kind) = match failure.kind {
            FailureKind::Bad => (StatusCode::BAD_REQUEST, "bad_data"),
            FailureKind::Execution => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            FailureKind::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            FailureKind::Cancelled => (CLIENT_CLOSED_REQUEST, "canceled"),
            FailureKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, kind, failure.text)
    }
}

/// The caller is not who may ask.
impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", status.message())
            }
            _ => Self::internal(),
        }
    }
}

/// Status 499 of nginx, which Prometheus uses.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};
