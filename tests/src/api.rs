//! A client of Prometheus' API: of an aggregator over mutual TLS and HTTP/1.1, or of a proxy on loopback.

use std::{net::SocketAddr, path::PathBuf};

use catchment_certs::{ClientTls, IdentityFolder, Role, channel::ALPN_HTTP1};
use form_urlencoded::Serializer;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1::handshake, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::eventually::{wait_limit, within};

/// The API at an address.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where it is.
    pub addr: SocketAddr,
    /// The identity to present; without one, the connection is not encrypted.
    pub identity: Option<PathBuf>,
}

/// Status and JSON of an answer.
pub type Answer = (u16, Value);

impl Api {
    /// Asks with parameters in the URL.
    ///
    /// # Panics
    /// When there is no answer in JSON within the wait limit.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let query = Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = Request::get(format!("/api/v1/{path}?{query}")).header(header::HOST, "localhost");
        self.send(request.body(Full::default()).unwrap()).await
    }

    /// Asks with parameters in a form.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let form = Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = Request::post(format!("/api/v1/{path}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Full::from(form)).unwrap()).await
    }

    /// The data of an answer that must be one.
    ///
    /// # Panics
    /// When it is an error.
    pub async fn data(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let (status, mut answer) = self.get(path, parameters).await;
        assert_eq!((status, &answer["status"]), (200, &"success".into()), "{path} {parameters:?}: {answer}");
        answer["data"].take()
    }

    /// Sends any request over a connection of its own.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let sent = async {
            let Some(identity) = &self.identity else {
                return exchange(TcpStream::connect(self.addr).await.unwrap(), request).await;
            };
            let tls = ClientTls::new(&IdentityFolder::load(identity).unwrap(), &[ALPN_HTTP1]).unwrap();
            let (host, port) = (self.addr.ip().to_string(), self.addr.port());
            let (stream, _) = tls.connect(&host, port, Role::Aggregator, wait_limit()).await.unwrap();
            exchange(stream, request).await
        };
        within("an answer", sent).await
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let running = tokio::spawn(connection);
    let answer = sender.send_request(request).await.unwrap();
    let (head, body) = answer.into_parts();
    assert_eq!(head.headers[header::CONTENT_TYPE], "application/json");
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    let _ = running.await;
    let json = serde_json::from_slice(&body);
    (head.status.as_u16(), json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body))))
}
