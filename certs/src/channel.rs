//! Support for gRPC clients over this crate's TLS: parsing of the user's URL, and a connector.
//!
//! A tonic `Endpoint` whose connector does TLS itself must have an `http` URI, otherwise tonic adds its own TLS;
//! [`endpoint_uri`] makes one from the user's `https://HOST:PORT`. Use it as
//! `Endpoint::from(endpoint_uri(url)?).connect_with_connector(GrpcConnector::new(tls, Role::Aggregator, timeout))`
//! with a [`ClientTls`] whose application protocol is `h2`.

mod identity;
mod stream;

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

pub use self::{
    identity::ClientIdentity,
    stream::{ClientStream, LastFailure},
};
use self::{identity::distrusted, stream::Distrusted};
use crate::{
    certificate::Peer,
    client::{ClientTls, ConnectError},
    identity::Role,
};

/// Application protocol (ALPN) of gRPC.
pub const ALPN_GRPC: &[u8] = b"h2";
/// Application protocol (ALPN) of HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Why a text is not a valid `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not a server address: {reason}; write https://HOST:PORT")]
pub struct UrlError {
    /// The text, truncated to 200 characters.
    pub url: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// Parses `https://HOST:PORT`. Returns the host without the brackets of an IPv6 address.
///
/// # Errors
/// Another scheme, no host, no port, or anything after the port except one `/`.
pub fn parse_https(url: &str) -> Result<(String, u16), UrlError> {
    let refuse = |reason| UrlError { url: url.chars().take(200).collect(), reason };
    let uri: Uri = url.parse().map_err(|_| refuse("it is not a URL"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => return Err(refuse("connections are always encrypted, so the scheme is https")),
        _ => return Err(refuse("the scheme must be https")),
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(refuse("it has a path"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refuse("it names a user; the certificate identifies you"));
    }
    let host = bare_host(&uri).ok_or_else(|| refuse("the host is missing"))?;
    match uri.port_u16() {
        None | Some(0) => Err(refuse("the port is missing or invalid")),
        Some(port) => Ok((host.to_owned(), port)),
    }
}

/// The URI of a tonic `Endpoint` for the server at the user's `https://HOST:PORT`.
///
/// # Errors
/// As [`parse_https`].
pub fn endpoint_uri(url: &str) -> Result<Uri, UrlError> {
    let (host, port) = parse_https(url)?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    format!("http://{authority}/")
        .parse()
        .map_err(|_| UrlError { url: url.chars().take(200).collect(), reason: "it is not a URL" })
}

fn bare_host(uri: &Uri) -> Option<&str> {
    let host = uri.host().filter(|host| !host.is_empty())?;
    Some(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

/// Connects gRPC channels to servers of one role, over a [`ClientTls`] or with a [`ClientIdentity`].
#[derive(Clone, Debug)]
pub struct GrpcConnector {
    identity: Source,
    expect: Role,
    timeout: Duration,
    connected: Option<watch::Sender<Option<Peer>>>,
    failure: LastFailure,
}

#[derive(Clone, Debug)]
enum Source {
    Tls(ClientTls),
    Live(ClientIdentity),
}

impl GrpcConnector {
    /// A connector to servers of role `expect`; `timeout` covers name resolution, TCP and handshake.
    pub fn new(tls: ClientTls, expect: Role, timeout: Duration) -> Self {
        Self::of(Source::Tls(tls), expect, timeout)
    }

    /// As [`Self::new`], with an identity whose folder may change: see [`ClientIdentity`].
    pub fn live(identity: ClientIdentity, expect: Role, timeout: Duration) -> Self {
        Self::of(Source::Live(identity), expect, timeout)
    }

    fn of(identity: Source, expect: Role, timeout: Duration) -> Self {
        Self { identity, expect, timeout, connected: None, failure: LastFailure::default() }
    }

    /// Where the failure of its newest connection is found. Errors of a channel do not say whether a retry is useless.
    pub fn failure(&self) -> LastFailure {
        self.failure.clone()
    }

    /// The same, which tells who answered, at each connection.
    #[must_use]
    pub fn telling(self, connected: watch::Sender<Option<Peer>>) -> Self {
        Self { connected: Some(connected), ..self }
    }
}

impl tower::Service<Uri> for GrpcConnector {
    type Response = TokioIo<ClientStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { identity, expect, timeout, connected, failure } = self.clone();
        Box::pin(async move {
            let host = bare_host(&uri).ok_or_else(|| ConnectError::Host(uri.to_string()))?;
            let port = uri.port_u16().unwrap_or(443);
            failure.set(None);
            let (trust, tls) = match identity {
                Source::Tls(tls) => (None, tls),
                Source::Live(identity) => {
                    let (trust, tls) = identity.now().await.map_err(ConnectError::Unusable)?;
                    (Some(trust), tls)
                }
            };
            let (stream, peer) = tls.connect(host, port, expect, timeout).await?;
            connected.iter().for_each(|connected| _ = connected.send_replace(Some(peer.clone())));
            let distrusted = trust.map(|trust| Box::pin(distrusted(trust, peer)) as Distrusted);
            Ok(TokioIo::new(ClientStream::new(stream, distrusted, failure)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers() {
        for (url, host, port, uri) in [
            ("https://centre.example:7700", "centre.example", 7700, "http://centre.example:7700/"),
            ("https://127.0.0.1:1/", "127.0.0.1", 1, "http://127.0.0.1:1/"),
            ("https://[::1]:65535", "::1", 65535, "http://[::1]:65535/"),
        ] {
            assert_eq!(parse_https(url), Ok((host.to_owned(), port)));
            assert_eq!(endpoint_uri(url).map(|u| u.to_string()), Ok(uri.to_owned()));
        }
    }

    #[test]
    fn other_urls_are_refused_with_advice() {
        for url in [
            "",
            "centre.example:7700",
            "http://centre.example:7700",
            "https://centre.example",
            "https://centre.example:0",
            "https://centre.example:70000",
            "https://:7700",
            "https://user@centre.example:7700",
            "https://centre.example:7700/path",
            "https://centre.example:7700/?x",
        ] {
            let error = parse_https(url).unwrap_err();
            assert!(error.to_string().contains("https://HOST:PORT"), "{error}");
        }
    }
}
