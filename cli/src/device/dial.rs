//! Connects a device to its gateway.

use std::{fmt, net::Ipv6Addr, path::Path, str::FromStr, time::Duration};

use catchment_certs::{ClientTls, ConnectError, IdentityFolder, Role};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::Protocol;
use crate::failure::Failure;

/// Timeout for name resolution, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A source of connections: a gateway, or a test's script.
pub trait Dial: Send + Sync {
    /// The connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Opens a connection.
    fn dial(&self) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;
}

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialError {
    /// The reason, in one line.
    pub reason: String,
    /// A retry cannot succeed until certificates or addresses change.
    pub lasting: bool,
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        Self { reason: error.to_string(), lasting: error.is_lasting() }
    }
}

/// `HOST:PORT` of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayAddress {
    /// DNS name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is not a [`GatewayAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a gateway address: write HOST:PORT, for example gateway.example:7600 or [::1]:7600")]
pub struct GatewayAddressError(String);

impl FromStr for GatewayAddress {
    type Err = GatewayAddressError;

    fn from_str(text: &str) -> Result<Self, GatewayAddressError> {
        let refuse = || GatewayAddressError(text.chars().take(200).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(refuse)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let is_v6 = host.parse::<Ipv6Addr>().is_ok();
        if host.is_empty() || is_v6 != bracketed.is_some() || (!is_v6 && host.contains([':', '/', '@', ' ']))
        {
            return Err(refuse());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A device's link to its gateway over mutual TLS.
#[derive(Clone, Debug)]
pub struct GatewayLink {
    address: GatewayAddress,
    tls: ClientTls,
}

impl GatewayLink {
    /// Loads the device's identity from a folder.
    ///
    /// # Errors
    /// A folder that holds no identity, or one of another role than device.
    pub fn load(address: GatewayAddress, identity: &Path, protocol: Protocol) -> Result<Self, Failure> {
        let folder = IdentityFolder::load_in_force(identity).map_err(Failure::usage)?;
        let who = &folder.peer().identity;
        if who.role() != Role::Device {
            return Err(Failure::usage(format!(
                "{}: this is the identity of {who}, but only devices send to a gateway; use a device's folder",
                identity.display()
            )));
        }
        let tls = ClientTls::new(&folder, protocol.alpn()).map_err(Failure::usage)?;
        Ok(Self { address, tls })
    }
}

impl Dial for GatewayLink {
    type Stream = TlsStream<TcpStream>;

    async fn dial(&self) -> Result<Self::Stream, DialError> {
        let GatewayAddress { host, port } = &self.address;
        let (stream, _gateway) = self.tls.connect(host, *port, Role::Gateway, CONNECT_TIMEOUT).await?;
        Ok(stream)
    }
}
