//! Counts each request of a connection as under way until its response was sent or dropped, and ends it with the session
//! of its connection: with a status where the protocol has one.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use catchment_certs::EndReason;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tower::{Layer, Service};

use super::RequestGuard;
use crate::{access::Caller, session_end};

/// Tracks each request on its connection, and ends it with the connection's session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrackUsage;

impl<S> Layer<S> for TrackUsage {
    type Service = TrackUsageService<S>;

    fn layer(&self, inner: S) -> TrackUsageService<S> {
        TrackUsageService(inner)
    }
}

/// See [`TrackUsage`].
#[derive(Clone, Debug)]
pub(crate) struct TrackUsageService<S>(S);

/// Resolves when a request must end.
type Ended = Pin<Box<dyn Future<Output = EndReason> + Send>>;

impl<S> Service<http::Request<Body>> for TrackUsageService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(task)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let guard = caller.map(|caller| caller.usage.begin());
        let ended: Ended = match caller {
            Some(caller) => Box::pin(caller.session.clone().requests_end()),
            None => Box::pin(std::future::pending()),
        };
        let grpc = is_grpc(request.headers());
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut ended = ended;
            // The end first: a request that comes after it is not begun.
            let answer = tokio::select! {
                biased;
                reason = &mut ended => return Ok(refusal(reason, grpc)),
                answer = answer => answer?,
            };
            Ok(answer.map(|body| Body::new(GuardedBody { body, ended: Some(ended), grpc, _guard: guard })))
        })
    }
}

fn is_grpc(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to a request whose session has ended.
fn refusal(reason: EndReason, grpc: bool) -> http::Response<Body> {
    let status = session_end::status(reason);
    if grpc {
        return status.into_http();
    }
    let body =
        serde_json::json!({ "status": "error", "errorType": reason.reason(), "error": reason.message() });
    let mut response = http::Response::new(Body::new(http_body_util::Full::from(body.to_string())));
    *response.status_mut() = match reason.distrusts() {
        true => http::StatusCode::UNAUTHORIZED,
        false => http::StatusCode::SERVICE_UNAVAILABLE,
    };
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

/// A body that keeps its request in progress until it was sent or dropped, and ends with the session.
struct GuardedBody {
    body: Body,
    /// `None`: the session has ended, and so has the body.
    ended: Option<Ended>,
    grpc: bool,
    _guard: Option<RequestGuard>,
}

impl GuardedBody {
    /// Drops what the answer was made of (a query, a watch, a delivery stream), and says why it ends. Without a status at
    /// its end an answer would look complete: then it breaks.
    fn end(&mut self, reason: EndReason) -> Result<Frame<bytes::Bytes>, tonic::Status> {
        (self.body, self.ended) = (Body::empty(), None);
        let status = session_end::status(reason);
        let mut trailers = http::HeaderMap::new();
        match self.grpc && status.add_header(&mut trailers).is_ok() {
            true => Ok(Frame::trailers(trailers)),
            false => Err(status),
        }
    }
}

impl http_body::Body for GuardedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        if let Poll::Ready(reason) = ended.as_mut().poll(task) {
            return Poll::Ready(Some(self.end(reason)));
        }
        http_body::Body::poll_frame(Pin::new(&mut self.body), task)
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
