//! The gRPC client of an aggregator, with plain data as input and output.
//!
//! Every failure is one line with advice: a missing role, no listener at the address, a bad certificate. Results are
//! bounded by [`RESULT_POINTS_MAX`]; gRPC bounds each message.

use std::{collections::BTreeSet, error::Error as _, path::Path, time::Duration};

use catchment_certs::{
    ClientIdentity, ConnectError, FolderError, GrpcConnector, Identity, LastFailure, Role, TlsError,
    TlsFailure, UrlError, channel::ALPN_GRPC, endpoint_uri,
};
use catchment_proto::wire::{self, fleet_client::FleetClient, query_client::QueryClient};
use catchment_settings::text::one_line;
use tonic::{
    Code, Status, Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use crate::query_result::QueryRequest;

mod aggregates;
mod lists;

pub(crate) use self::lists::Listed;

/// Timeout for name resolution, TCP and TLS together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest gRPC message of a response, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Most points of a result, or entries of a list.
pub const RESULT_POINTS_MAX: usize = 20_000_000;

/// Most series whose metric names are collected for suggestions.
const NAMED_SERIES_MAX: usize = 100_000;

/// Why a request failed. Every message is one line with advice.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not a URL of an aggregator.
    #[error("--aggregator: {0}")]
    Url(#[from] UrlError),
    /// The identity cannot be loaded.
    #[error("--identity: {0}")]
    Identity(#[from] FolderError),
    /// The identity cannot be used.
    #[error("--identity: {0}")]
    Tls(#[from] TlsError),
    /// The connection failed.
    #[error("--aggregator {server}: {reason}")]
    Connect {
        /// The address as given.
        server: String,
        /// In one line.
        reason: String,
        /// One side refuses the other: a retry cannot succeed until certificates or addresses change.
        lasting: bool,
    },
    /// The identity's role may not send this request.
    #[error(
        "{server} refuses {who}: {message}; issue an identity with `catchment-certs issue operator` and pass its folder with --identity"
    )]
    Role {
        /// The address as given.
        server: String,
        /// The identity presented.
        who: Box<Identity>,
        /// The aggregator's message.
        message: String,
    },
    /// The aggregator refuses the request as malformed.
    #[error("{0}")]
    Request(String),
    /// Any other error status.
    #[error("{server}: {message} ({code:?})")]
    Status {
        /// The address as given.
        server: String,
        /// gRPC's status.
        code: Code,
        /// The aggregator's message.
        message: String,
    },
    /// The aggregator ignores what the request asks for.
    #[error(
        "--aggregator {server}: it is older than this tool and does not know several selectors, --without, --top, --order, --fill and calendar steps: upgrade it, or write a step in hours"
    )]
    Old {
        /// The address as given.
        server: String,
    },
    /// A watch ended without a status.
    #[error("{server}: the watch was cut")]
    Cut {
        /// The address as given.
        server: String,
    },
    /// The result exceeds [`RESULT_POINTS_MAX`].
    #[error(
        "the result has more than {RESULT_POINTS_MAX} entries; narrow the selector or the range, or use a longer --step"
    )]
    TooMuch,
}

impl ClientError {
    /// Whether the same request would fail again, whatever happens to the aggregator and the network.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Url(_) | Self::Identity(_) | Self::Tls(_) | Self::Role { .. } => true,
            Self::Request(_) | Self::TooMuch | Self::Old { .. } => true,
            Self::Connect { lasting, .. } => *lasting,
            // An aggregator of another version that does not know the request.
            Self::Status { code, .. } => *code == Code::Unimplemented,
            Self::Cut { .. } => false,
        }
    }

    /// Whether the aggregator is of a version that does not know the request.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Status { code: Code::Unimplemented, .. })
    }

    /// Whether the aggregator does not know the column to sort a list by: it may be of a version before that column.
    pub(crate) fn is_unknown_column(&self) -> bool {
        matches!(self, Self::Request(message) if message.starts_with("sort: there is no such column"))
    }
}

/// An operator's connection to an aggregator.
#[derive(Clone, Debug)]
pub struct AggregatorClient {
    server: String,
    who: Identity,
    query: QueryClient<Channel>,
    /// Its messages are small and come alone: compressing them costs more than it saves.
    watches: QueryClient<Channel>,
    fleet: FleetClient<Channel>,
    failure: LastFailure,
}

impl AggregatorClient {
    /// Connects to `https://HOST:PORT` with the identity in a folder.
    ///
    /// # Errors
    /// A bad address or identity, or a failed connection; see [`ClientError`].
    pub async fn connect(aggregator: &str, identity: &Path) -> Result<Self, ClientError> {
        let uri = endpoint_uri(aggregator)?;
        // Whoever shows something for long says by itself what is wrong with its connection.
        let identity = ClientIdentity::load(identity, &[ALPN_GRPC], |_| ())?;
        let who = identity.peer().identity.clone();
        let connector = GrpcConnector::live(identity, Role::Aggregator, CONNECT_TIMEOUT);
        let failure = connector.failure();
        let endpoint = Endpoint::from(uri).http2_keep_alive_interval(Duration::from_secs(30));
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
            let (reason, lasting) = connect_reason(&error, &failure);
            ClientError::Connect { server: aggregator.to_owned(), reason, lasting }
        })?;
        let query = QueryClient::new(channel.clone())
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let watches = QueryClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let fleet = FleetClient::new(channel)
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { server: aggregator.to_owned(), who, query, watches, fleet, failure })
    }

    /// Fetches raw readings.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn raw(&mut self, request: wire::RawRequest) -> Result<Vec<wire::RawResponse>, ClientError> {
        let response = self.query.raw(request).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.collect(stream).await
    }

    /// Watches a query from the start of its range on, or from where a token says.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn watch(
        &mut self,
        query: &QueryRequest,
        resume: Vec<u8>,
    ) -> Result<Streaming<wire::WatchResponse>, ClientError> {
        // 0 would mean: from now on. The point that holds the next millisecond is the same one.
        let from_ms = if query.from_ms == 0 { 1 } else { query.from_ms };
        let query = wire::AggregateRequest { from_ms, ..query.to_wire() };
        let request = wire::WatchRequest { query: Some(query), resume, open_windows: false };
        let response = self.watches.watch(request).await;
        Ok(response.map_err(|status| self.refused(&status))?.into_inner())
    }

    /// Lists the devices that a selector matches; all if it is empty.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn devices(&mut self, selector: &str) -> Result<Vec<wire::Device>, ClientError> {
        let response = self.fleet.list_devices(request(selector)).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.collect(stream).await
    }

    /// Lists the gateways that a selector matches; all if it is empty.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn gateways(&mut self, selector: &str) -> Result<Vec<wire::Gateway>, ClientError> {
        let response = self.fleet.list_gateways(request(selector)).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.collect(stream).await
    }

    /// Lists the series that a selector matches; all if it is empty.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn series(&mut self, selector: &str) -> Result<Vec<wire::Series>, ClientError> {
        let response = self.fleet.list_series(request(selector)).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.collect(stream).await
    }

    /// Forgets the series that a selector matches, or only counts them with `dry_run`; returns their number.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn forget_series(&mut self, selector: &str, dry_run: bool) -> Result<u64, ClientError> {
        let request = wire::ForgetSeriesRequest { selector: selector.to_owned(), dry_run };
        let response = self.fleet.forget_series(request).await;
        Ok(response.map_err(|status| self.refused(&status))?.into_inner().series)
    }

    /// Retires a gateway, or takes it back with `undo`. Returns whether nothing had to change.
    ///
    /// # Errors
    /// As [`Self::aggregate`]; no such gateway, or it is connected.
    pub async fn retire_gateway(
        &mut self,
        site: &str,
        gateway: &str,
        undo: bool,
    ) -> Result<bool, ClientError> {
        let request = wire::RetireGatewayRequest { site: site.to_owned(), gateway: gateway.to_owned(), undo };
        let response = self.fleet.retire_gateway(request).await;
        Ok(response.map_err(|status| self.refused(&status))?.into_inner().unchanged)
    }

    /// Metric names that this operator may see, for suggestions: those of the first 100,000 series.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn metrics(&mut self) -> Result<BTreeSet<String>, ClientError> {
        let response = self.fleet.list_series(request("")).await;
        let mut stream = response.map_err(|status| self.refused(&status))?.into_inner();
        let mut names = BTreeSet::new();
        for _ in 0..NAMED_SERIES_MAX {
            match stream.message().await.map_err(|status| self.refused(&status))? {
                Some(series) => names.insert(series.metric),
                None => break,
            };
        }
        Ok(names)
    }

    /// Whether the selector matches at least one series.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub async fn selects(&mut self, selector: &str) -> Result<bool, ClientError> {
        let response = self.fleet.list_series(request(selector)).await;
        let mut stream = response.map_err(|status| self.refused(&status))?.into_inner();
        Ok(stream.message().await.map_err(|status| self.refused(&status))?.is_some())
    }

    async fn collect<T>(&self, mut stream: Streaming<T>) -> Result<Vec<T>, ClientError> {
        let mut list = Vec::new();
        while let Some(entry) = stream.message().await.map_err(|status| self.refused(&status))? {
            if list.len() >= RESULT_POINTS_MAX {
                return Err(ClientError::TooMuch);
            }
            list.push(entry);
        }
        Ok(list)
    }

    /// The error that a status means.
    pub(crate) fn refused(&self, status: &Status) -> ClientError {
        let server = self.server.clone();
        let message = one_line(status.message());
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => {
                ClientError::Role { server, who: Box::new(self.who.clone()), message }
            }
            Code::InvalidArgument | Code::OutOfRange => ClientError::Request(message),
            // A refused client certificate shows up only here: in TLS 1.3 the client finishes first.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                if status.source().is_some() =>
            {
                let (reason, lasting) = status.source().map_or_else(
                    || (one_line(status.message()), false),
                    |source| connect_reason(source, &self.failure),
                );
                ClientError::Connect { server, reason, lasting }
            }
            code => ClientError::Status { server, code, message },
        }
    }
}

fn request(selector: &str) -> wire::FleetRequest {
    wire::FleetRequest { selector: selector.to_owned() }
}

/// The most specific cause of a transport error, and whether retries cannot succeed. `failure`: that of the connection,
/// which says what the layers in between lose.
pub(crate) fn connect_reason(
    error: &(dyn std::error::Error + 'static),
    failure: &LastFailure,
) -> (String, bool) {
    let mut cause = Some(error);
    let mut last = error.to_string();
    while let Some(error) = cause {
        if let Some(connect) = error.downcast_ref::<ConnectError>() {
            return (connect_advice(connect), connect.is_lasting());
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let failure = TlsFailure::from_io(io);
            if failure.is_lasting() {
                return (failure.to_string(), true);
            }
        }
        last = error.to_string();
        cause = error.source();
    }
    match failure.get() {
        Some(failure) => (one_line(&failure.reason), failure.is_lasting),
        None => (one_line(&last), false),
    }
}

fn connect_advice(error: &ConnectError) -> String {
    match error {
        ConnectError::Tls { server, failure: TlsFailure::Protocol } => format!(
            "{server} does not speak the aggregator's protocol: it is a gateway's device port or another service; \
             the aggregator listens on the address in its `listen` setting"
        ),
        ConnectError::Role { server, found: Role::Gateway, .. } => {
            format!("{server} is a gateway; the aggregator listens on the address in its `listen` setting")
        }
        ConnectError::Tcp { error: io, .. } if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            format!("{error}; is the aggregator running, and is this its address?")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_port_is_reported_as_one() {
        let server = || "gateway.example:7600".to_owned();
        let alpn = ConnectError::Tls { server: server(), failure: TlsFailure::Protocol };
        let role = ConnectError::Role { server: server(), expected: Role::Aggregator, found: Role::Gateway };
        for error in [alpn, role] {
            let line = connect_advice(&error);
            assert!(line.contains("gateway.example:7600") && line.contains("a gateway"), "{line}");
            assert!(line.contains("the aggregator listens on") && !line.contains("ALPN"), "{line}");
            assert!(error.is_lasting());
        }
    }
}
