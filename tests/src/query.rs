//! gRPC queries to the aggregator, as an operator or with any other identity.

use std::{net::SocketAddr, path::Path};

use catchment_certs::{ClientTls, GrpcConnector, IdentityFolder, Role};
use catchment_proto::wire::{
    self, AggregateRequest, FleetRequest, aggregate_response::Kind, fleet_client::FleetClient,
    query_client::QueryClient,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{
    eventually::wait_limit,
    model::{Labels, QueryRequest, Table},
};

/// The result of a query.
#[derive(Clone, Debug, Default)]
pub struct QueryResult {
    /// Time up to which it is complete, Unix milliseconds.
    pub complete_until_ms: Option<i64>,
    /// Number of reported gaps.
    pub gaps: usize,
    /// The aggregates.
    pub table: Table,
}

/// A connection to the aggregator, opened on first use and reopened when it breaks.
pub fn channel(addr: SocketAddr, identity: &Path) -> Channel {
    let folder = IdentityFolder::load(identity).unwrap();
    let tls = ClientTls::new(&folder, &[b"h2"]).unwrap();
    let connector = GrpcConnector::new(tls, Role::Aggregator, wait_limit());
    // The connector makes the TLS connection, so the URL that tonic sees is plain HTTP.
    let uri = catchment_certs::endpoint_uri(&format!("https://{addr}")).unwrap();
    Endpoint::from(uri).connect_with_connector_lazy(connector)
}

/// Queries aggregates.
///
/// # Errors
/// An error of the aggregator or the connection.
///
/// # Panics
/// When the result contradicts itself.
pub async fn aggregate(channel: Channel, query: &QueryRequest) -> Result<QueryResult, Status> {
    let request = AggregateRequest {
        selector: query.selector(),
        from_ms: query.from_ms,
        to_ms: query.to_ms,
        step_ms: query.step_ms.unwrap_or(0),
        by: query.by.clone(),
        aggregates: query.aggregates.clone(),
        ..AggregateRequest::default()
    };
    let mut stream = QueryClient::new(channel).aggregate(request).await?.into_inner();
    let (mut answer, mut names) = (QueryResult::default(), Vec::new());
    while let Some(message) = stream.message().await? {
        match message.kind {
            Some(Kind::Header(header)) => {
                (answer.complete_until_ms, answer.gaps) = (header.complete_until_ms, header.gaps.len());
                names = header.aggregates;
            }
            Some(Kind::Series(series)) => {
                let points = answer.table.entry(series.labels).or_default();
                for point in series.points {
                    assert_eq!(point.values.len(), names.len());
                    let values = names.iter().cloned().zip(point.values);
                    let values = values.filter_map(|(name, value)| Some((name, value.number?)));
                    let before = points.insert(point.start_ms, values.collect());
                    assert_eq!(before, None, "a point was sent twice");
                }
            }
            None => panic!("an empty message"),
        }
    }
    Ok(answer)
}

/// Lists devices.
///
/// # Errors
/// An error of the aggregator or the connection.
pub async fn devices(channel: Channel, selector: &str) -> Result<Vec<wire::Device>, Status> {
    let request = FleetRequest { selector: selector.to_owned() };
    let mut stream = FleetClient::new(channel).list_devices(request).await?.into_inner();
    let mut list = Vec::new();
    while let Some(device) = stream.message().await? {
        list.push(device);
    }
    Ok(list)
}

/// Lists gateways.
///
/// # Errors
/// An error of the aggregator or the connection.
pub async fn gateways(channel: Channel, selector: &str) -> Result<Vec<wire::Gateway>, Status> {
    let request = FleetRequest { selector: selector.to_owned() };
    let mut stream = FleetClient::new(channel).list_gateways(request).await?.into_inner();
    let mut list = Vec::new();
    while let Some(gateway) = stream.message().await? {
        list.push(gateway);
    }
    Ok(list)
}

/// Lists series: metric and labels of each.
///
/// # Errors
/// An error of the aggregator or the connection.
pub async fn series(channel: Channel, selector: &str) -> Result<Vec<(String, Labels)>, Status> {
    let request = FleetRequest { selector: selector.to_owned() };
    let mut stream = FleetClient::new(channel).list_series(request).await?.into_inner();
    let mut list = Vec::new();
    while let Some(wire::Series { metric, labels, .. }) = stream.message().await? {
        list.push((metric, labels.into_iter().collect()));
    }
    Ok(list)
}
