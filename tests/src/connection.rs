//! A device's connection, written from the protocols' documentation alone: TLS, JSON lines, frames. It checks and
//! remembers nothing; see [`crate::device`] for a device that does.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use catchment_proto::wire::{DeviceMessage, GatewayMessage, gateway_message::Kind};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// Device protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One JSON value per line, no ALPN.
    Json,
    /// Length-prefixed protobuf messages, ALPN `catchment/1`.
    Frames,
}

/// The certificate that a client presents and the root that it trusts.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Folder with `cert.pem` and `key.pem`; `None`: no client certificate.
    pub shown: Option<&'a Path>,
    /// Folder with `ca.pem`.
    pub trusted: &'a Path,
}

impl<'a> Credentials<'a> {
    /// The credentials of an identity folder.
    pub fn of(dir: &'a Path) -> Self {
        Self { shown: Some(dir), trusted: dir }
    }

    fn config(self, alpn: Option<&[u8]>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.trusted.join("ca.pem")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shown {
            None => builder.with_no_client_auth(),
            Some(dir) => {
                let chain = CertificateDer::pem_file_iter(dir.join("cert.pem")).unwrap();
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        config
    }

    /// Performs the client's part of the handshake.
    pub(crate) async fn secure(
        self,
        tcp: TcpStream,
        alpn: Option<&[u8]>,
    ) -> io::Result<TlsStream<TcpStream>> {
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.config(alpn)));
        connector.connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
    }
}

/// A connection to a gateway.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    protocol: Protocol,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects and performs the client's part of the handshake.
    ///
    /// # Errors
    /// Errors of TCP or TLS. In TLS 1.3 the server's refusal arrives with the first read.
    ///
    /// # Panics
    /// When the identity's files cannot be used.
    pub async fn open(
        addr: SocketAddr,
        credentials: Credentials<'_>,
        protocol: Protocol,
    ) -> io::Result<Self> {
        Self::over(TcpStream::connect(addr).await?, credentials, protocol).await
    }

    /// As [`Connection::open`] with JSON lines, but offers this protocol in the handshake.
    ///
    /// # Errors
    /// See [`Connection::open`].
    pub async fn offering(addr: SocketAddr, credentials: Credentials<'_>, alpn: &[u8]) -> io::Result<Self> {
        let stream = credentials.secure(TcpStream::connect(addr).await?, Some(alpn)).await?;
        Ok(Self { stream, protocol: Protocol::Json, buffer: Vec::new() })
    }

    /// Reads everything up to the orderly end.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn rest(&mut self) -> io::Result<String> {
        while self.stream.read_buf(&mut self.buffer).await? > 0 {}
        Ok(String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned())
    }

    /// As [`Connection::open`], with a receive buffer so small that the peer's replies are soon stuck.
    ///
    /// # Errors
    /// See [`Connection::open`].
    pub async fn open_without_reading(
        addr: SocketAddr,
        credentials: Credentials<'_>,
        protocol: Protocol,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        Self::over(socket.connect(addr).await?, credentials, protocol).await
    }

    async fn over(tcp: TcpStream, credentials: Credentials<'_>, protocol: Protocol) -> io::Result<Self> {
        let alpn = (protocol == Protocol::Frames).then_some(&b"catchment/1"[..]);
        let stream = credentials.secure(tcp, alpn).await?;
        Ok(Self { stream, protocol, buffer: Vec::new() })
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn line(&mut self, line: &str) -> io::Result<()> {
        self.send(format!("{line}\n").as_bytes()).await
    }

    /// Ends the sending half, with close_notify.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next reply, as JSON in either protocol (`{"ack":1}`); `None` at an orderly end.
    ///
    /// # Errors
    /// When the connection is broken, or a reply is malformed.
    pub async fn answer(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(answer) = self.take_answer()? {
                return Ok(Some(answer));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A reply that has already arrived.
    ///
    /// # Errors
    /// As [`Connection::answer`]; the end of the connection is an error too.
    pub async fn ready_answer(&mut self) -> io::Result<Option<Value>> {
        if let Some(answer) = self.take_answer()? {
            return Ok(Some(answer));
        }
        tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.buffer) => match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => self.take_answer(),
            },
            () = std::future::ready(()) => Ok(None),
        }
    }

    fn take_answer(&mut self) -> io::Result<Option<Value>> {
        match self.protocol {
            Protocol::Json => {
                let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                serde_json::from_slice(&line).map(Some).map_err(io::Error::other)
            }
            Protocol::Frames => {
                let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
                let end = 4 + u32::from_be_bytes(*length) as usize;
                if self.buffer.len() < end {
                    return Ok(None);
                }
                let frame: Vec<u8> = self.buffer.drain(..end).collect();
                let message = GatewayMessage::decode(&frame[4..]).map_err(io::Error::other)?;
                Ok(Some(match message.kind {
                    Some(Kind::Welcome(w)) => json!({"welcome": {"epoch": w.epoch, "ack": w.ack}}),
                    Some(Kind::Ack(ack)) => json!({"ack": ack.ack}),
                    Some(Kind::Refusal(r)) => {
                        json!({"error": {"code": r.code, "message": r.message, "seq": r.seq}})
                    }
                    None => return Err(io::Error::other("an empty message")),
                }))
            }
        }
    }
}

/// The bytes of a frame.
pub fn frame(message: &DeviceMessage) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}
