//! Peers that do what they should not: wrong certificates, broken bytes, silence.

use std::{net::SocketAddr, path::Path};

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    connection::{Connection, Credentials, Protocol},
    eventually::within,
};

/// Sends one JSON line with these credentials and tells the first answer, or why there is none.
///
/// # Errors
/// In words, when the peer refuses the connection or ends it without an answer.
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

/// Shows no certificate, but trusts the right root.
///
/// # Errors
/// See [`knock`].
pub async fn nobody(addr: SocketAddr, trusted: &Path) -> Result<Value, String> {
    knock(addr, Credentials { shown: None, trusted }).await
}

/// Shows a certificate of another root, but trusts the right one.
///
/// # Errors
/// See [`knock`].
pub async fn stranger(addr: SocketAddr, shown: &Path, trusted: &Path) -> Result<Value, String> {
    knock(addr, Credentials { shown: Some(shown), trusted }).await
}

/// Connects, sends some bytes that begin a TLS handshake, and says nothing more. The connection stays open as
/// long as what is returned.
///
/// # Panics
/// When no connection can be made.
pub async fn stalled_handshake(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The header of a handshake record of 512 bytes, and the first of them.
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    stream
}

/// Connects and sends bytes that are no TLS at all.
///
/// # Panics
/// When no connection can be made.
pub async fn no_tls(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream
}
