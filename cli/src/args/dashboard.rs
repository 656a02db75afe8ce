//! The command line of `catchment dashboard`.

use std::net::SocketAddr;

use clap::Args;

use super::Connection;
use crate::proxy::loopback;

/// Where to serve the dashboard.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  catchment dashboard --aggregator https://centre.example:7700 --identity pki/operator/ada
  catchment dashboard --listen 127.0.0.1:8080

It prints `dashboard http://127.0.0.1:PORT/?token=…` when it listens: open this link in a browser of this machine. The token is
new at every start; without it, or the cookie that it is exchanged for, everything is refused. The browser never sees the
identity. Programs reach the aggregator's Prometheus API below /api/v1 with the header `Authorization: Bearer TOKEN`. It runs
until SIGTERM or Ctrl-C.")]
pub struct DashboardArgs {
    /// The aggregator, and the identity to present.
    #[command(flatten)]
    pub connection: Connection,
    /// Loopback address to listen on; port 0 chooses a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    pub listen: SocketAddr,
}
