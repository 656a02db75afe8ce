//! How a peer uses its connection: whether it ever sent a request, and since when none is in progress.
//!
//! The transport decides by this how long to keep a connection. HTTP/2 pings cannot tell: a peer that answers them
//! but requests nothing is alive, yet useless.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::access::Caller;

/// The requests of a connection.
#[derive(Debug)]
pub(crate) struct Usage(Mutex<State>);

#[derive(Debug)]
struct State {
    /// A request has arrived.
    requested: bool,
    /// Requests in progress.
    open: usize,
    /// When the last request ended, or the connection began.
    since: Instant,
}

impl Usage {
    /// Usage of a new connection.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { requested: false, open: 0, since: Instant::now() })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a request has arrived.
    pub(crate) fn has_requested(&self) -> bool {
        self.with(|state| state.requested)
    }

    /// How long no request has been in progress.
    pub(crate) fn idle(&self) -> Duration {
        self.with(|state| if state.open > 0 { Duration::ZERO } else { state.since.elapsed() })
    }

    /// Begins a request, which ends when the guard is dropped.
    fn begin(self: &Arc<Self>) -> RequestGuard {
        self.with(|state| {
            state.requested = true;
            state.open += 1;
        });
        RequestGuard(Arc::clone(self))
    }
}

/// A request in progress.
#[derive(Debug)]
struct RequestGuard(Arc<Usage>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.open = state.open.saturating_sub(1);
            state.since = Instant::now();
        });
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_while_no_request_is_in_progress() {
        let usage = Usage::new();
        let second = Duration::from_secs(1);
        tokio::time::sleep(second).await;
        assert_eq!((usage.has_requested(), usage.idle()), (false, second));
        let (first, other) = (usage.begin(), usage.begin());
        drop(first);
        tokio::time::sleep(second).await;
        assert_eq!((usage.has_requested(), usage.idle()), (true, Duration::ZERO));
        drop(other);
        tokio::time::sleep(2 * second).await;
        assert_eq!(usage.idle(), 2 * second);
    }
}
