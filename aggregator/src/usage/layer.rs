//! Counts each request of a connection as under way until its response was sent or dropped.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tower::{Layer, Service};

use super::RequestGuard;
use crate::access::Caller;

/// Tracks each request on its connection.
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
        let guard = request.extensions().get::<Caller>().map(|caller| caller.usage.begin());
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Body::new(GuardedBody { body, _guard: guard })))
        })
    }
}

/// A body that keeps its request in progress until it was sent or dropped.
struct GuardedBody {
    body: Body,
    _guard: Option<RequestGuard>,
}

impl http_body::Body for GuardedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        http_body::Body::poll_frame(Pin::new(&mut self.body), task)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
