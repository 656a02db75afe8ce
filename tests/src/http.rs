//! HTTP/1.1 requests, one per connection, written from RFC 9112 alone: over mutual TLS to the aggregator, or plain to
//! programs on this machine.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{connection::Credentials, eventually::within};

/// A server, and how to reach it.
#[derive(Clone, Debug)]
pub struct HttpClient {
    addr: SocketAddr,
    identity: Option<PathBuf>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl HttpClient {
    /// Over mutual TLS, with an identity folder.
    pub fn secure(addr: SocketAddr, identity: &Path) -> Self {
        Self { addr, identity: Some(identity.to_owned()) }
    }

    /// Without TLS.
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, identity: None }
    }

    /// A GET with these parameters.
    ///
    /// # Panics
    /// When no response arrives within the wait limit.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Response {
        let target =
            if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", form(parameters)) };
        self.request("GET", &target, "").await
    }

    /// A POST with these parameters in its body, as a form.
    ///
    /// # Panics
    /// As [`Self::get`].
    pub async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Response {
        self.request("POST", path, &form(parameters)).await
    }

    async fn request(&self, method: &str, target: &str, body: &str) -> Response {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.addr);
        if method == "POST" {
            let length = body.len();
            head.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
            ));
        }
        let request = format!("{head}\r\n{body}");
        within("an HTTP response", async {
            let tcp = TcpStream::connect(self.addr).await?;
            match &self.identity {
                None => exchange(tcp, &request).await,
                Some(dir) => {
                    exchange(Credentials::of(dir).secure(tcp, Some(b"http/1.1")).await?, &request).await
                }
            }
        })
        .await
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }
}

/// Parameters as a form.
fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<Response> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let malformed = || io::Error::other(format!("not a response: {}", String::from_utf8_lossy(&bytes)));
    let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(malformed)?;
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(malformed)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = &bytes[head_end + 4..];
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if is_chunked { unchunked(rest).ok_or_else(malformed)? } else { rest.to_vec() };
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Response { status, headers, body })
}

/// The body of chunks; `None` if the last one is missing.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(end + 2..end + 2 + size)?);
        bytes = bytes.get(end + 4 + size..)?;
    }
}
