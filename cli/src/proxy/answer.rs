//! Answers that the proxy gives itself, in the form of Prometheus' API.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{Response, StatusCode, header};

/// Body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Why the proxy does not forward a request, or has no answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    kind: &'static str,
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, reason: impl Into<String>) -> Self {
        Self { status, kind, reason: reason.into() }
    }

    /// The request may come from a web page.
    pub fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason)
    }

    /// There is nothing at this path.
    pub fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    /// The method is neither GET nor POST.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_data", "only GET and POST are forwarded")
    }

    /// The body is longer than it may be.
    pub fn too_long(bytes_max: usize) -> Self {
        let reason = format!("the body of a request has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_data", reason)
    }

    /// The body was not received.
    pub fn no_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body of the request did not come in time")
    }

    /// The aggregator does not answer.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "unavailable", reason)
    }

    /// The aggregator refuses the operator, or the operator the aggregator: another try does not help.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", reason)
    }

    /// The reason, for people.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// HTTP's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, kind, reason } = refusal;
        let json = serde_json::json!({ "status": "error", "errorType": kind, "error": reason });
        let mut answer = Response::new(whole(json.to_string()));
        *answer.status_mut() = status;
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

/// A body that is known as a whole.
pub(crate) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}
