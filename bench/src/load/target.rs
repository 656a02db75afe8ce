//! The server that is loaded, and the identities of its devices.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use catchment_certs::{ClientTls, IdentityFolder};
use tokio_rustls::rustls::ClientConfig;

use crate::cpu;

/// The target of a load, and the identities to present.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// Process id of the server, to read its CPU time or memory.
    pub(crate) pid: Option<u32>,
    /// One for each device; connections take them in turn.
    pub(crate) devices: Arc<[Arc<ClientConfig>]>,
}

impl Target {
    /// The device of a connection.
    pub(crate) fn device(&self, connection: usize) -> anyhow::Result<Arc<ClientConfig>> {
        let index = connection.checked_rem(self.devices.len()).context("no device identities")?;
        self.devices.get(index).cloned().context("no device identities")
    }
}

/// The client configuration of a device, from its identity folder.
pub(crate) fn client(dir: &Path, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
    Ok(ClientTls::new(&IdentityFolder::load(dir)?, alpn)?.config())
}

/// Processor seconds of a server, 0 without its process.
pub(crate) fn cpu_of(target: &Target) -> anyhow::Result<f64> {
    target.pid.map_or(Ok(0.0), cpu::seconds)
}
