//! From a request to its answer.

use std::{error::Error as _, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    routing::any,
};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::LengthLimitError;
use tokio::time::timeout;
use tonic::Status;

use super::{endpoint::Endpoint, expressions, failure::ApiError, fixed, lists, parameters::Parameters};
use crate::{
    access::{self, CallingOperator},
    metrics::Metrics,
    query::promql::{Chunks, Promql},
};

/// Most bytes of a form.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The content type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// What all requests share.
pub(crate) struct Api {
    /// Evaluates expressions.
    pub(crate) promql: Promql,
    /// How long a body may take to arrive.
    pub(crate) body_timeout: Duration,
    /// Counts requests.
    pub(crate) metrics: Arc<Metrics>,
}

/// A request of an operator.
pub(super) struct Asked<'a> {
    pub(super) api: &'a Api,
    pub(super) caller: CallingOperator,
}

/// The routes of the API.
pub(crate) fn router(api: Api) -> Router {
    Router::new().route("/api/v1/{*rest}", any(answer)).with_state(Arc::new(api))
}

/// The answer to a request that is for no service: with HTTP's status, or that of gRPC.
pub(crate) async fn not_found(request: Request<Body>) -> Response<Body> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Status::unimplemented("").into_http();
    }
    refusal(&ApiError::not_found(request.uri().path()))
}

async fn answer(State(api): State<Arc<Api>>, request: Request<Body>) -> Response<Body> {
    let endpoint = Endpoint::of(request.uri().path());
    let answer = match serve(&api, &endpoint, request).await {
        Ok(Content::Whole(body)) => with_type(Response::new(Body::from(body))),
        Ok(Content::Stream(chunks)) => with_type(Response::new(Body::from_stream(chunks))),
        Err(error) => refusal(&error),
    };
    api.metrics.prometheus.count(endpoint.name(), answer.status());
    answer
}

fn refusal(error: &ApiError) -> Response<Body> {
    let mut answer = with_type(Response::new(Body::from(error.body())));
    *answer.status_mut() = error.status;
    answer
}

fn with_type(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// The body of an answer.
enum Content {
    Whole(Bytes),
    Stream(Chunks),
}

async fn serve(api: &Api, endpoint: &Endpoint, request: Request<Body>) -> Result<Content, ApiError> {
    let caller = access::operator_of(request.extensions())?;
    if *endpoint == Endpoint::Unknown {
        return Err(ApiError::not_found(request.uri().path()));
    }
    let parameters = parameters(api, endpoint, request).await?;
    let asked = Asked { api, caller };
    let chunks = match endpoint {
        Endpoint::Query => expressions::instant(&asked, &parameters).await?,
        Endpoint::QueryRange => expressions::range(&asked, &parameters).await?,
        Endpoint::Series => lists::series(&asked, &parameters).await?,
        Endpoint::Labels => lists::label_names(&asked, &parameters).await?,
        Endpoint::LabelValues(label) => lists::label_values(&asked, label, &parameters).await?,
        Endpoint::Metadata => lists::metadata(&asked, &parameters).await?,
        Endpoint::FormatQuery => {
            return expressions::formatted(&asked, &parameters).await.map(Content::Whole);
        }
        Endpoint::BuildInfo => return Ok(Content::Whole(fixed::build_info())),
        Endpoint::QueryExemplars => return Ok(Content::Whole(fixed::exemplars())),
        Endpoint::Rules => return Ok(Content::Whole(fixed::rules())),
        Endpoint::Alerts => return Ok(Content::Whole(fixed::alerts())),
        Endpoint::Unknown => return Err(ApiError::internal()),
    };
    Ok(Content::Stream(chunks))
}

/// Checks the method, and reads the parameters of URL and body.
async fn parameters(api: &Api, endpoint: &Endpoint, request: Request<Body>) -> Result<Parameters, ApiError> {
    let (head, body) = request.into_parts();
    let query = head.uri.query();
    if head.method == Method::GET {
        return Ok(Parameters::decode(b"", query));
    }
    if head.method != Method::POST || !endpoint.takes_post() {
        return Err(ApiError::method(if endpoint.takes_post() { "GET and POST" } else { "GET" }));
    }
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_form = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM));
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(ApiError::too_long(BODY_BYTES_MAX));
    }
    let read = timeout(api.body_timeout, to_bytes(body, BODY_BYTES_MAX)).await;
    let body = read.map_err(|_| ApiError::slow_body())?.map_err(|error| {
        match error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
            true => ApiError::too_long(BODY_BYTES_MAX),
            false => ApiError::bad("the body of the request was cut short"),
        }
    })?;
    if !is_form && !body.is_empty() {
        return Err(ApiError::bad(format!("the body of a POST is a form: Content-Type: {FORM}")));
    }
    Ok(Parameters::decode(&body, query))
}
