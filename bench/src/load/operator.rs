//! An operator's connection, and the requests sent on it.

use std::{net::SocketAddr, path::Path, time::Duration, time::Instant};

use anyhow::Context as _;
use catchment_certs::{ClientTls, GrpcConnector, IdentityFolder, Role, endpoint_uri};
use catchment_proto::wire::{
    self, AggregateRequest, FleetRequest, aggregate_response, fleet_client::FleetClient,
    query_client::QueryClient,
};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects; with small receive windows if `reluctant`.
pub(super) async fn channel(addr: SocketAddr, identity: &Path, reluctant: bool) -> anyhow::Result<Channel> {
    let tls = ClientTls::new(&IdentityFolder::load(identity)?, &[b"h2"])?;
    let connector = GrpcConnector::new(tls, Role::Aggregator, TIMEOUT);
    let mut endpoint = Endpoint::from(endpoint_uri(&format!("https://{addr}"))?).tcp_nodelay(true);
    if reluctant {
        endpoint = endpoint.initial_stream_window_size(1_024).initial_connection_window_size(1 << 20);
    }
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// A query's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Time to the end of the answer.
    pub(crate) seconds: f64,
    pub(crate) points: u64,
    /// Sum of the last aggregate over all points.
    pub(crate) sum: f64,
}

impl Answer {
    /// Whether both have the same points, as far as their sum tells: to the bit.
    pub(crate) fn is_equal(&self, other: &Self) -> bool {
        (self.points, self.sum.to_bits()) == (other.points, other.sum.to_bits())
    }
}

/// An operator's connection with an event loop of its own.
pub(crate) struct Operator {
    runtime: Runtime,
    channel: Channel,
}

impl Operator {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached or refuses the identity.
    pub(crate) fn connect(addr: SocketAddr, identity: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let channel = runtime.block_on(channel(addr, identity, false))?;
        Ok(Self { runtime, channel })
    }

    /// Sends a query and reads its answer.
    ///
    /// # Errors
    /// The query failed.
    pub(crate) fn query(&self, request: AggregateRequest) -> anyhow::Result<Answer> {
        let mut client = QueryClient::new(self.channel.clone());
        self.runtime.block_on(async {
            let asked = Instant::now();
            let mut answer = client.aggregate(request).await?.into_inner();
            let (mut points, mut sum) = (0, 0.0);
            while let Some(message) = answer.message().await? {
                let Some(aggregate_response::Kind::Series(series)) = message.kind else { continue };
                if let Some(columns) = &series.columns {
                    points += columns.start_ms.len() as u64;
                    let last = columns.columns.last().into_iter().flat_map(|column| &column.numbers);
                    sum += last.filter(|number| !number.is_nan()).sum::<f64>();
                }
                points += series.points.len() as u64;
                let last = |point: &wire::Point| point.values.last().and_then(|value| value.number);
                sum += series.points.iter().filter_map(last).sum::<f64>();
            }
            Ok(Answer { seconds: asked.elapsed().as_secs_f64(), points, sum })
        })
    }

    /// The quickest of several answers to the same query.
    ///
    /// # Errors
    /// The query failed.
    pub(crate) fn quickest(&self, request: &AggregateRequest, times: usize) -> anyhow::Result<Answer> {
        let mut best: Option<Answer> = None;
        for _ in 0..times.max(1) {
            let answer = self.query(request.clone())?;
            best = best.into_iter().chain([answer]).min_by(|a, b| a.seconds.total_cmp(&b.seconds));
        }
        best.context("asked at least once")
    }

    /// Lists series; the answer's points are their number.
    ///
    /// # Errors
    /// The request failed.
    pub(crate) fn list_series(&self, selector: String) -> anyhow::Result<Answer> {
        let mut client = FleetClient::new(self.channel.clone());
        self.runtime.block_on(async {
            let asked = Instant::now();
            let mut answer = client.list_series(FleetRequest { selector }).await?.into_inner();
            let mut points = 0;
            while answer.message().await?.is_some() {
                points += 1;
            }
            Ok(Answer { seconds: asked.elapsed().as_secs_f64(), points, sum: 0.0 })
        })
    }
}
