//! Routes of the dashboard, and the headers of all its answers.

use std::sync::Arc;

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    access::{Access, Entry},
    data::Data,
    files,
};
use crate::proxy::{Body, Forward, Handler, Refusal, whole};

/// Sent with every answer. The page has no inline code and styles, and asks nobody but this server.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Answers the requests of a dashboard.
pub(super) struct Service {
    access: Access,
    data: Arc<Data>,
    forward: Forward,
}

impl Service {
    /// With its parts.
    pub(super) fn new(access: Access, data: Data, forward: Forward) -> Self {
        Self { access, data: Arc::new(data), forward }
    }

    /// Ends answers that would go on, so that the server can stop.
    pub(super) fn stop(&self) {
        self.data.stop();
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let program = path.starts_with("/data/") || Forward::covers(path);
        match self.access.check(&request) {
            Ok(Entry::Granted) => {}
            Ok(Entry::Exchange) => return self.exchange(),
            Err(refusal) if program => return refusal.into(),
            Err(refusal) => return words(&refusal),
        }
        if Forward::covers(path) {
            return self.forward.forward(request).await;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return words(&Refusal::method());
        }
        if let Some(file) = files::at(path) {
            return file.answer(request.headers());
        }
        let query = request.uri().query().unwrap_or_default();
        let answer = match path.strip_prefix("/data/") {
            Some(name) => self.data.answer(name, query).await,
            None => None,
        };
        answer.unwrap_or_else(|| words(&Refusal::not_found("the dashboard has no such page: go to /")))
    }

    /// Sets the cookie, and leads to a URL without the token. The aggregator is asked for the first view while the browser
    /// loads the page.
    fn exchange(&self) -> Response<Body> {
        let data = Arc::clone(&self.data);
        tokio::spawn(async move { data.prepare().await });
        let mut answer = Response::new(whole(""));
        *answer.status_mut() = StatusCode::SEE_OTHER;
        let headers = answer.headers_mut();
        headers.insert(header::LOCATION, HeaderValue::from_static("/"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(cookie) = HeaderValue::from_str(&self.access.set_cookie()) {
            headers.insert(header::SET_COOKIE, cookie);
        }
        answer
    }
}

impl Handler for Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut answer = self.route(request).await;
        harden(answer.headers_mut());
        answer
    }
}

fn harden(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is not a file of the page is of this moment.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// A refusal for people.
fn words(refusal: &Refusal) -> Response<Body> {
    let mut answer = Response::new(whole(format!("{}\n", refusal.reason())));
    *answer.status_mut() = refusal.status();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}
