//! `proxy`: the aggregator's `/api/v1` on loopback, for programs without certificates.
//!
//! Path of a request: `server` (connections and their bounds) → `origin` (whether a web page may be behind it) →
//! `forward` (to the aggregator, with the operator's identity) → back, chunk by chunk. `answer`: what the proxy itself
//! answers.

mod answer;
mod forward;
pub(crate) mod origin;
mod server;

use std::{net::SocketAddr, sync::Arc};

use catchment_settings::{output, shutdown_signal};
use hyper::{Request, Response, body::Incoming};
use tokio::net::TcpListener;

pub(crate) use self::answer::whole;
pub use self::{
    answer::{Body, Refusal},
    forward::Forward,
    server::{Handler, Server},
};
use crate::{args::ProxyArgs, failure::Failure, print::print};

/// Serves until a signal stops it.
///
/// # Errors
/// Wrong usage, or the address cannot be bound.
pub async fn proxy(args: &ProxyArgs) -> Result<(), Failure> {
    let connection = &args.connection;
    let forward = Forward::new(&connection.aggregator, &connection.identity)?;
    let signal =
        shutdown_signal().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let address = args.listen;
    let cannot = |error| Failure::failed(format!("--listen: cannot bind {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let bound = listener.local_addr().map_err(cannot)?;
    print(&format!("ready {bound}\n"))?;
    let stop = async {
        signal.await;
    };
    Server::new(listener).run(Arc::new(Proxy { forward }), stop).await;
    Ok(())
}

/// Parses an address to listen on, which must be one of this machine's own.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an address and a port, for example 127.0.0.1:9090".to_owned())?;
    if address.ip().to_canonical().is_loopback() {
        return Ok(address);
    }
    Err("everybody who reaches this address could query in your name: use a loopback address such as \
         127.0.0.1:9090, and a tunnel or a server with its own access control to share it"
        .to_owned())
}

/// Forwards `/api/v1`.
struct Proxy {
    forward: Forward,
}

impl Handler for Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(refusal) = origin::check(&request) {
            return refusal.into();
        }
        if !Forward::covers(request.uri().path()) {
            return Refusal::not_found("catchment proxy serves /api/v1 only").into();
        }
        self.forward.forward(request).await
    }
}

/// Reports something on standard error.
fn report(line: &str) {
    output::eprint_line(format_args!("catchment: {}", catchment_settings::text::one_line(line)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_may_be_listened_on() {
        for text in ["127.0.0.1:9090", "127.3.2.1:0", "[::1]:9090", "[::ffff:127.0.0.1]:1"] {
            assert!(loopback(text).is_ok(), "{text}");
        }
        for (text, word) in [
            ("0.0.0.0:9090", "loopback"),
            ("[::]:9090", "loopback"),
            ("192.168.1.1:9090", "loopback"),
            ("9090", "127.0.0.1:9090"),
            ("localhost", "127.0.0.1:9090"),
        ] {
            assert!(loopback(text).unwrap_err().contains(word), "{text}");
        }
    }
}
