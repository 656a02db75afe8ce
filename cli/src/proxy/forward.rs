//! Forwards requests to the aggregator over one connection with the operator's identity.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use catchment_certs::{ClientIdentity, GrpcConnector, LastFailure, Role, channel::ALPN_GRPC, endpoint_uri};
use catchment_settings::OutageLog;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Uri, Version,
    body::Incoming,
    header::{self, HeaderName},
};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt as _;

use super::{
    answer::{Body, Refusal},
    report,
};
use crate::{
    aggregator_client::{CONNECT_TIMEOUT, ClientError, connect_reason},
    failure::Failure,
};

/// Most bytes of the body of a request, as at the aggregator.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pings find out whether the aggregator is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Flow-control windows: the connection has room for each of as many unread answers as an aggregator allows on it, so
/// slow readers do not hold up others.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// Headers of a request that are passed on.
const REQUEST_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];
/// Headers of an answer that are passed on.
const ANSWER_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ALLOW];

/// Forwards requests below `/api/v1` to an aggregator.
#[derive(Debug)]
pub struct Forward {
    server: String,
    channel: Channel,
    failure: LastFailure,
    outage: Mutex<OutageLog>,
}

impl Forward {
    /// Of an aggregator at `https://HOST:PORT`, with the identity in a folder; connects when the first request comes.
    ///
    /// # Errors
    /// A bad address, or an identity that is none of an operator.
    pub fn new(aggregator: &str, identity: &Path) -> Result<Self, Failure> {
        let uri = endpoint_uri(aggregator).map_err(ClientError::from)?;
        let report = |problem: &str| report(&format!("--identity: {problem}"));
        let live = ClientIdentity::load(identity, &[ALPN_GRPC], report).map_err(ClientError::from)?;
        let who = &live.peer().identity;
        if who.role() != Role::Operator {
            return Err(Failure::usage(format!(
                "--identity: {} belongs to {who}, but queries need role operator; issue one with `catchment-certs issue operator`",
                identity.display()
            )));
        }
        let connector = GrpcConnector::live(live, Role::Aggregator, CONNECT_TIMEOUT);
        let failure = connector.failure();
        let channel = Endpoint::from(uri)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_with_connector_lazy(connector);
        Ok(Self { server: aggregator.to_owned(), channel, failure, outage: Mutex::default() })
    }

    /// Whether a path is forwarded.
    pub fn covers(path: &str) -> bool {
        path.starts_with("/api/v1/")
    }

    /// The aggregator's answer to a request, or why there is none.
    pub async fn forward(&self, request: Request<Incoming>) -> Response<Body> {
        match self.ask(request).await {
            Ok(answer) => answer,
            Err(refusal) => refusal.into(),
        }
    }

    async fn ask(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        if head.method != Method::GET && head.method != Method::POST {
            return Err(Refusal::method());
        }
        let body = read(body).await?;
        // Without scheme and host: the channel sets those of the aggregator.
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = path.parse().map_err(|_| Refusal::not_found("the path is invalid"))?;
        let ask = || self.send(&head.method, &uri, &head.headers, body.clone());
        let answer = match ask().await {
            // Only reading is forwarded, so asking twice does no harm: the connection may have ended meanwhile.
            Err((_, false)) => ask().await,
            answer => answer,
        };
        let answer = answer.map_err(|(reason, is_lasting)| self.away(&reason, is_lasting))?;
        self.back();
        let (head, body) = answer.into_parts();
        let mut answer = Response::new(body.map_err(Into::into).boxed_unsync());
        *answer.status_mut() = head.status;
        copy_headers(&ANSWER_HEADERS, &head.headers, answer.headers_mut());
        Ok(answer)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// The reason, and whether another try cannot succeed.
    async fn send(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<tonic::body::Body>, (String, bool)> {
        let mut request = Request::new(tonic::body::Body::new(Full::new(body)));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.version_mut() = Version::HTTP_2;
        copy_headers(&REQUEST_HEADERS, headers, request.headers_mut());
        // A clone of its own: the channel queues what its clones send.
        self.channel.clone().oneshot(request).await.map_err(|error| connect_reason(&error, &self.failure))
    }

    /// The aggregator does not answer, or one side refuses the other: reports it now and then.
    fn away(&self, reason: &str, is_lasting: bool) -> Refusal {
        let text = format!("--aggregator {}: {reason}", self.server);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.record_failure(Instant::now(), reason).is_some() {
            report(&text);
        }
        if is_lasting { Refusal::refused(text) } else { Refusal::unavailable(text) }
    }

    /// The aggregator answers.
    fn back(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.record_recovery(Instant::now()).is_some() {
            report("the aggregator answers again");
        }
    }
}

/// Reads a body whole, within its bounds.
async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let read = timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match read {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_long(BODY_BYTES_MAX)),
        Ok(Err(_)) | Err(_) => Err(Refusal::no_body()),
    }
}

fn copy_headers(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}
