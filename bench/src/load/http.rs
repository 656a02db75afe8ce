//! A kept-alive HTTP/1.1 connection, plain or over mutual TLS, with an event loop of its own.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::client;

const TIMEOUT: Duration = Duration::from_secs(60);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection.
pub(crate) struct Http {
    runtime: Runtime,
    stream: Box<dyn Stream>,
    host: SocketAddr,
    input: BytesMut,
}

impl Http {
    /// Connects; with an identity folder, over mutual TLS.
    ///
    /// # Errors
    /// The server cannot be reached or refuses the identity.
    pub(crate) fn connect(addr: SocketAddr, identity: Option<&Path>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config = identity.map(|dir| client(dir, &[b"http/1.1"])).transpose()?;
        let stream = runtime.block_on(async {
            let tcp = TcpStream::connect(addr).await?;
            tcp.set_nodelay(true)?;
            let Some(config) = config else { return anyhow::Ok(Box::new(tcp) as Box<dyn Stream>) };
            let tls =
                TlsConnector::from(config).connect(ServerName::IpAddress(addr.ip().into()), tcp).await?;
            Ok(Box::new(tls) as Box<dyn Stream>)
        })?;
        Ok(Self { runtime, stream, host: addr, input: BytesMut::new() })
    }

    /// Posts a form; returns the body of the response, which must be a success, and the seconds until its end.
    ///
    /// # Errors
    /// The connection failed, or the server refuses.
    pub(crate) fn post(&mut self, path: &str, form: &str) -> anyhow::Result<(String, f64)> {
        let Self { runtime, stream, host, input } = self;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let started = Instant::now();
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            response(stream, input).await
        };
        let (status, body) = runtime.block_on(async { timeout(TIMEOUT, exchange).await })??;
        let seconds = started.elapsed().as_secs_f64();
        let body = String::from_utf8(body)?;
        ensure!(status.contains(" 200 "), "{status}: {}", body.chars().take(500).collect::<String>());
        Ok((body, seconds))
    }
}

/// Reads up to a line's end, and takes the line.
async fn line(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> anyhow::Result<String> {
    loop {
        if let Some(end) = input.windows(2).position(|two| two == b"\r\n") {
            let line = input.split_to(end);
            input.advance(2);
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        ensure!(stream.read_buf(input).await? > 0, "the server closed the connection");
    }
}

async fn exactly(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    length: usize,
) -> anyhow::Result<BytesMut> {
    while input.len() < length {
        ensure!(stream.read_buf(input).await? > 0, "the server closed the connection");
    }
    Ok(input.split_to(length))
}

/// The status line and the body.
async fn response(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> anyhow::Result<(String, Vec<u8>)> {
    let status = line(stream, input).await?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let header = line(stream, input).await?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        is_chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
    }
    let mut body = Vec::new();
    while is_chunked {
        let size = line(stream, input).await?;
        let size = usize::from_str_radix(size.trim(), 16).context("the size of a chunk")?;
        body.extend_from_slice(&exactly(stream, input, size).await?);
        line(stream, input).await?;
        is_chunked = size > 0;
    }
    body.extend_from_slice(&exactly(stream, input, length).await?);
    Ok((status, body))
}
