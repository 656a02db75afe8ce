//! Misbehaving peers: wrong certificates, invalid bytes, silence.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use catchment_certs::{
    AcceptConfig, AcceptEvents, Accepted, HandshakeFailure, IdentityFolder, ServerTls, SessionRegistry,
    accept_loop, channel::ALPN_GRPC,
};
use catchment_proto::wire::{
    DeliverRequest, DeliverResponse, Resume, deliver_request, deliver_response,
    ingest_server::{Ingest, IngestServer},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    codec::CompressionEncoding::Zstd,
    transport::{Server, server::Connected},
};

use crate::{
    connection::{Connection, Credentials, Protocol},
    eventually::within,
};

/// Sends one JSON line with these credentials; returns the first reply, or why there is none.
///
/// # Errors
/// A description, when the peer refuses the connection or ends it without a reply.
pub async fn knock(addr: SocketAddr, credentials: Credentials<'_>) -> Result<Value, String> {
    let exchange = async {
        let mut connection = Connection::open(addr, credentials, Protocol::Json).await?;
        connection.line(r#"{"temperature":21.5}"#).await?;
        connection.answer().await
    };
    match within("an answer, or the end of the connection", exchange).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err("closed without an answer".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Presents no certificate, but trusts the right root.
///
/// # Errors
/// See [`knock`].
pub async fn without_certificate(addr: SocketAddr, trusted: &Path) -> Result<Value, String> {
    knock(addr, Credentials { shown: None, trusted }).await
}

/// Presents a certificate of another root, but trusts the right one.
///
/// # Errors
/// See [`knock`].
pub async fn with_certificate(addr: SocketAddr, shown: &Path, trusted: &Path) -> Result<Value, String> {
    knock(addr, Credentials { shown: Some(shown), trusted }).await
}

/// Connects, sends the first bytes of a TLS handshake, and stays silent. The connection stays open until the returned
/// stream is dropped.
///
/// # Panics
/// When the connection fails.
pub async fn stalled_handshake(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The header of a handshake record of 512 bytes, and its first byte.
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    stream
}

/// Connects and sends bytes that are not TLS.
///
/// # Panics
/// When the connection fails.
pub async fn no_tls(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream
}

/// An aggregator that answers the Start and every ping and takes batches, but acknowledges none; until it is dropped.
pub struct SilentAggregator {
    /// Where it listens.
    pub addr: SocketAddr,
    batches: Arc<AtomicU64>,
    _server: IngestPeer,
}

impl SilentAggregator {
    /// Starts it with the identity of an aggregator.
    ///
    /// # Panics
    /// When the identity cannot be used, or no address is free.
    pub async fn start(identity: &Path) -> Self {
        let batches = Arc::new(AtomicU64::new(0));
        let server = IngestPeer::start(identity, DiscardingIngest(Arc::clone(&batches))).await;
        Self { addr: server.addr, batches, _server: server }
    }

    /// Number of batches received.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::SeqCst)
    }
}

/// A server of `Ingest` alone, until it is dropped.
pub(crate) struct IngestPeer {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl IngestPeer {
    /// Starts it with the identity of an aggregator.
    pub(crate) async fn start(identity: &Path, ingest: impl Ingest) -> Self {
        let tls = ServerTls::new(&IdentityFolder::load(identity).unwrap(), &[ALPN_GRPC]).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (connections, incoming) = mpsc::channel(4);
        let serve = move |accepted| {
            let connections = connections.clone();
            async move { _ = connections.send(Ok::<_, io::Error>(Served(accepted))).await }
        };
        let config = AcceptConfig { connections_max: 16, ..AcceptConfig::default() };
        let accepting = accept_loop(
            listener,
            tls,
            config,
            SessionRegistry::default(),
            Arc::new(IgnoreEvents),
            std::future::pending(),
            serve,
        );
        let ingest = IngestServer::new(ingest).accept_compressed(Zstd).send_compressed(Zstd);
        let serving =
            Server::builder().add_service(ingest).serve_with_incoming(ReceiverStream::new(incoming));
        let tasks = vec![tokio::spawn(accepting), tokio::spawn(async { _ = serving.await })];
        Self { addr, tasks }
    }
}

impl Drop for IngestPeer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct IgnoreEvents;

impl AcceptEvents for IgnoreEvents {
    fn accept_error(&self, _: &io::Error) {}
    fn handshake_failed(&self, _: SocketAddr, _: HandshakeFailure) {}
}

struct DiscardingIngest(Arc<AtomicU64>);

#[tonic::async_trait]
impl Ingest for DiscardingIngest {
    type DeliverStream = ReceiverStream<Result<DeliverResponse, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let (answers, answered) = mpsc::channel(1);
        let batches = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Ok(Some(DeliverRequest { kind })) = requests.message().await {
                match kind {
                    Some(deliver_request::Kind::Start(_)) => {
                        let kind = Some(deliver_response::Kind::Resume(Resume::default()));
                        let _ = answers.send(Ok(DeliverResponse { kind })).await;
                    }
                    Some(deliver_request::Kind::Batch(_)) => _ = batches.fetch_add(1, Ordering::SeqCst),
                    _ => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }
}

/// A connection as tonic requires it.
struct Served(Accepted);

impl Connected for Served {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Served {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Served {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_shutdown(context)
    }
}
