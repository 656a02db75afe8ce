//! Authorization: roles, foreign and missing certificates, health and reflection.

use catchment_certs::ClientTls;
use catchment_proto::wire::{
    BackupRequest, FleetRequest, fleet_client::FleetClient, maintenance_client::MaintenanceClient,
    query_client::QueryClient,
};
use tokio::io::AsyncReadExt as _;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::rig::{Delivery, TIMEOUT, World, device, operator, query_request, run_query, site_gateway};

#[tokio::test]
async fn each_service_serves_its_role_and_denies_the_others() {
    let world = World::new();
    let running = world.start().await;
    for identity in [operator(), device(), site_gateway("berlin")] {
        let channel = world.channel(running.addr, &identity);
        let deliver = Delivery::start(channel.clone(), 1).await.map(|_| ());
        let query = run_query(&mut QueryClient::new(channel.clone()), query_request("m")).await.map(|_| ());
        let mut fleet = FleetClient::new(channel.clone());
        let devices = fleet.list_devices(FleetRequest::default()).await.map(|_| ());
        let gateways = fleet.list_gateways(FleetRequest::default()).await.map(|_| ());
        let series = fleet.list_series(FleetRequest::default()).await.map(|_| ());
        let mut maintenance = MaintenanceClient::new(channel.clone());
        let backup = maintenance.backup(BackupRequest::default()).await.map(|_| ());
        let is_gateway = identity == site_gateway("berlin");
        let is_operator = identity == operator();
        for (result, allowed) in [
            (deliver, is_gateway),
            (query, is_operator),
            (devices, is_operator),
            (gateways, is_operator),
            (series, is_operator),
            (backup, is_operator),
        ] {
            match result {
                Ok(()) => assert!(allowed, "{identity} must not"),
                Err(status) => {
                    assert!(!allowed, "{identity}: {status}");
                    assert_eq!(status.code(), Code::PermissionDenied, "{identity}: {status}");
                    assert!(status.message().contains(&identity.to_string()), "{status}");
                }
            }
        }
        let mut health = HealthClient::new(channel);
        let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    running.until_counted(r#"requests_refused_total{reason="wrong_role"}"#).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_services_are_found_by_reflection() {
    let world = World::new();
    let running = world.start().await;
    let channel = world.channel(running.addr, &operator());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let ours = ["Fleet", "Ingest", "Maintenance", "Query"].map(|name| format!("catchment.v1.{name}"));
    for service in ours.into_iter().chain(["grpc.health.v1.Health".to_owned()]) {
        assert!(names.contains(&service), "{names:?}");
        let check = HealthCheckRequest { service: service.clone() };
        let known = HealthClient::new(channel.clone()).check(check).await.is_ok();
        assert_eq!(known, service.starts_with("catchment"), "{service}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_certificate_of_this_root_there_is_no_connection() {
    let (world, other) = (World::new(), World::new());
    let running = world.start().await;
    // An operator of another root.
    let folder = other.identity(&operator());
    for file in ["ca.pem", "crl.pem"] {
        std::fs::copy(world.identity(&operator()).join(file), folder.join(file)).unwrap();
    }
    let mut stranger = QueryClient::new(super::rig::channel(running.addr, &folder));
    // The client may see the refusal only at its first read.
    let status = run_query(&mut stranger, query_request("m")).await.unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status}");
    // No certificate at all.
    let plain = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    let tls = ClientTls::new(
        &catchment_certs::IdentityFolder::load(&world.identity(&operator())).unwrap(),
        &[b"h2"],
    )
    .unwrap();
    let mut anonymous = (*tls.config()).clone();
    anonymous.client_auth_cert_resolver = std::sync::Arc::new(Nobody);
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(anonymous));
    let ended = async {
        let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), plain).await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    let error = tokio::time::timeout(TIMEOUT, ended).await.unwrap().unwrap_err();
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    running.until_metric(r#"connections_refused_total{reason="no_certificate"} 1"#).await;
    running.until_counted(r#"connections_refused_total{reason="unknown_issuer"}"#).await;
    running.stop().await.unwrap();
}

/// Presents no certificate.
#[derive(Debug)]
struct Nobody;

impl tokio_rustls::rustls::client::ResolvesClientCert for Nobody {
    fn resolve(
        &self,
        _roots: &[&[u8]],
        _schemes: &[tokio_rustls::rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<tokio_rustls::rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn one_identity_cannot_take_all_connections() {
    let world = World::new();
    let mut config = world.config();
    config.connections_per_peer_max = 1;
    let running = super::rig::Running::new(crate::bind(config).await.unwrap());
    let mut first = world.query(running.addr);
    run_query(&mut first, query_request("m")).await.unwrap();
    assert!(run_query(&mut world.query(running.addr), query_request("m")).await.is_err());
    let channel = world.channel(running.addr, &site_gateway("berlin"));
    Delivery::start(channel, 1).await.unwrap();
    run_query(&mut first, query_request("m")).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_needs_an_identity_of_its_role() {
    let world = World::new();
    let mut config = world.config();
    config.identity = world.identity(&operator());
    let error = crate::check(&config).unwrap_err();
    assert!(error.to_string().contains("operator ada") && error.is_configuration(), "{error}");
    config.identity = "/nonexistent".into();
    assert!(crate::check(&config).unwrap_err().is_configuration());
}
