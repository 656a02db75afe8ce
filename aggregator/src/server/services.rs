//! What is served on the one port, each with its limits: the gRPC services `catchment.v1`, Arrow Flight, health and
//! reflection, and Prometheus' API.

use std::{io, sync::Arc};

use arrow_flight::flight_service_server::FlightServiceServer;
use catchment_proto::{
    batch::BATCH_BYTES_MAX,
    wire::{
        FILE_DESCRIPTOR_SET, fleet_server::FleetServer, ingest_server::IngestServer,
        maintenance_server::MaintenanceServer, query_server::QueryServer,
    },
};
use catchment_settings::{supervise::Supervisor, when_set};
use tokio::sync::{Semaphore, watch};
use tonic::{
    codec::CompressionEncoding::Zstd,
    server::NamedService,
    service::Routes,
    transport::{Server, server::Router},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use tower::layer::util::{Identity, Stack};

use crate::{
    backup::{self, MaintenanceService},
    config::Config,
    fleet::FleetService,
    flight::ArrowFlight,
    ingest::{ByteBounds, IngestBytes, IngestService, MESSAGE_BYTES, STREAM_BYTES, Shared, StreamRegistry},
    metrics::Metrics,
    prometheus::{self, Api},
    query::{QueryService, Runner, WatchHub, promql::Promql},
    store::{BackupSource, Store},
    usage::layer::TrackUsage,
};

/// Most streams at once on one connection.
const STREAMS_MAX: u32 = 64;
/// A request with its selector.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// A batch and the rest of its message.
const DELIVERY_BYTES_MAX: usize = BATCH_BYTES_MAX + 1024;
/// Flow-control windows of one stream and one connection, bytes: enough for 28 Mbit/s of compressed batches over 300
/// ms. A gateway has one stream; its window counts in the ingest budget.
const STREAM_WINDOW: u32 = STREAM_BYTES as u32;
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// Headers of one request: an expression of 16 KiB in a URL, percent-encoded.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// All services, ready to be served.
pub(super) struct Services {
    pub(super) router: Router<Stack<TrackUsage, Identity>>,
    pub(super) health: Health,
    /// Runs the requests of query and fleet.
    pub(super) runner: Runner,
}

/// The gRPC health service.
#[derive(Clone)]
pub(super) struct Health(HealthReporter);

/// Services with a health status; the empty name is the whole server.
const NAMES: [&str; 6] = [
    "",
    IngestServer::<IngestService>::NAME,
    QueryServer::<QueryService>::NAME,
    FleetServer::<FleetService>::NAME,
    MaintenanceServer::<MaintenanceService>::NAME,
    FlightServiceServer::<ArrowFlight>::NAME,
];

impl Health {
    /// Reports whether clients should send work here.
    pub(super) async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.0.set_service_status(name, status).await;
        }
    }

    /// Reports that nothing is served any more, and ends the watchers, who would keep the server from ending.
    pub(super) async fn stop(mut self) {
        for name in NAMES {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
        }
        for name in NAMES {
            self.0.clear_service_status(name).await;
        }
    }
}

impl Services {
    pub(super) async fn new(
        config: &Config,
        store: &Arc<dyn Store>,
        streams: &Arc<StreamRegistry>,
        metrics: &Arc<Metrics>,
        backups: Option<Arc<dyn BackupSource>>,
        (supervisor, stopping): (&Arc<Supervisor>, &watch::Receiver<bool>),
    ) -> io::Result<Self> {
        let runner = Runner::new(config.query, Arc::clone(metrics), supervisor)?;
        metrics.watch_queries(config.query, Box::new(runner.counts()));
        let ingest = ingest(config, store, streams, metrics, stopping);
        let watches = WatchHub::start(
            Arc::clone(store) as Arc<_>,
            &runner,
            (streams, config.clock_tolerance),
            metrics,
            config.watch,
            supervisor,
        )?;
        watches.stop_when(when_set(stopping.clone()));
        let query = Arc::new(QueryService {
            store: Arc::clone(store) as Arc<_>,
            runner: runner.clone(),
            streams: Arc::clone(streams),
            clock_tolerance: config.clock_tolerance,
            metrics: Arc::clone(metrics),
            watches,
        });
        let fleet = FleetService {
            store: Arc::clone(store) as Arc<_>,
            maintenance: Arc::clone(store) as Arc<_>,
            streams: Arc::clone(streams),
            runner: runner.clone(),
            clock_tolerance: config.clock_tolerance,
            forgetting: Arc::new(Semaphore::new(1)),
        };
        let maintenance = MaintenanceService::new(backups, metrics, config.backup_bytes_per_second, stopping);
        let health = HealthReporter::new();
        for name in NAMES {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
        let health_service = HealthServer::new(HealthService::from_health_reporter(health.clone()))
            .max_decoding_message_size(REQUEST_BYTES_MAX);
        let routes = Routes::new(
            IngestServer::new(ingest)
                .accept_compressed(Zstd)
                .send_compressed(Zstd)
                .max_decoding_message_size(DELIVERY_BYTES_MAX),
        )
        .add_service(
            FleetServer::new(fleet).send_compressed(Zstd).max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        // Tables are compressed already.
        .add_service(MaintenanceServer::new(maintenance).max_decoding_message_size(backup::REQUEST_BYTES_MAX))
        .add_service(health_service);
        let routes = with_reflection(with_queries(routes, query))
            .into_axum_router()
            .merge(prometheus::router(api(config, store, streams, &runner, metrics)));
        let routes = routes.fallback(prometheus::not_found);
        Ok(Self { router: router(config, routes.into()), health: Health(health), runner })
    }
}

/// Prometheus' API over the store.
fn api(
    config: &Config,
    store: &Arc<dyn Store>,
    streams: &Arc<StreamRegistry>,
    runner: &Runner,
    metrics: &Arc<Metrics>,
) -> Api {
    Api {
        promql: Promql {
            store: Arc::clone(store) as Arc<_>,
            runner: runner.clone(),
            streams: Arc::clone(streams),
            clock_tolerance: config.clock_tolerance,
            metrics: Arc::clone(metrics),
        },
        body_timeout: config.first_request_timeout,
        metrics: Arc::clone(metrics),
    }
}

/// The server of these routes, over HTTP/2, and HTTP/1.1 for Prometheus' API.
fn router(config: &Config, routes: Routes) -> Router<Stack<TrackUsage, Identity>> {
    Server::builder()
        .layer(TrackUsage)
        .accept_http1(true)
        .http2_keepalive_interval(Some(config.keepalive))
        .http2_keepalive_timeout(Some(config.keepalive))
        .max_concurrent_streams(Some(STREAMS_MAX))
        .initial_stream_window_size(Some(STREAM_WINDOW))
        .initial_connection_window_size(Some(CONNECTION_WINDOW))
        .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
        .add_routes(routes)
}

/// Adds the two services that answer queries.
fn with_queries(routes: Routes, query: Arc<QueryService>) -> Routes {
    routes
        .add_service(
            QueryServer::from_arc(Arc::clone(&query))
                .send_compressed(Zstd)
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        .add_service(
            FlightServiceServer::new(ArrowFlight::new(query))
                .send_compressed(Zstd)
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
}

fn ingest(
    config: &Config,
    store: &Arc<dyn Store>,
    streams: &Arc<StreamRegistry>,
    metrics: &Arc<Metrics>,
    stopping: &watch::Receiver<bool>,
) -> IngestService {
    let bytes = IngestBytes::new(ByteBounds {
        max: config.ingest_bytes_max,
        per_gateway_max: config.ingest_bytes_per_gateway_max,
        message: MESSAGE_BYTES,
        stream: STREAM_BYTES,
    });
    metrics.watch_ingest(Arc::clone(&bytes));
    IngestService(Arc::new(Shared {
        store: Arc::clone(store) as Arc<_>,
        streams: Arc::clone(streams),
        metrics: Arc::clone(metrics),
        clock_tolerance: config.clock_tolerance,
        in_flight_max: config.ingest_in_flight,
        bytes,
        stopping: stopping.clone(),
    }))
}

/// Adds server reflection, in the version that today's tools use and in the previous one.
///
/// # Panics
/// Never: the descriptors come from the build, and a test serves them.
fn with_reflection(routes: Routes) -> Routes {
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes
        .add_service(
            descriptors()
                .build_v1()
                .expect("descriptors of the build are valid")
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        .add_service(
            descriptors()
                .build_v1alpha()
                .expect("descriptors of the build are valid")
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
}
