//! The aggregator for any gRPC client: health, reflection, and the lists of the fleet.

use catchment_tests::{
    connection::Protocol, device::Sample, eventually::eventually, model::QueryRequest, now_ms, query,
    this_second, world::World,
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn reflect(world: &World, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(world.operator());
    let stream = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    stream.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn services_are_found_by_reflection_and_are_healthy() {
    let world = World::small().await;
    let MessageResponse::ListServicesResponse(list) =
        reflect(&world, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    const SERVICES: [&str; 4] =
        ["catchment.v1.Query", "catchment.v1.Fleet", "catchment.v1.Ingest", "catchment.v1.Maintenance"];
    for service in SERVICES {
        assert!(names.iter().any(|name| name == service), "{names:?}");
        let described = reflect(&world, MessageRequest::FileContainingSymbol(service.to_owned())).await;
        assert!(matches!(described, MessageResponse::FileDescriptorResponse(_)), "{described:?}");
    }
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(world.operator()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
}

#[tokio::test]
async fn the_fleet_is_listed() {
    let mut world = World::builder().gateway("berlin", "gw").gateway("lyon", "gw").start().await;
    let now = this_second();
    for gateway in 0..2 {
        let mut device = world.device(gateway, "press-1", Protocol::Json);
        device.send(&Sample::one(now - 2000, "temperature", 1.0)).await;
        device.send(&Sample::one(now - 5000, "load", 1.0)).await;
        device.settle().await;
    }
    let channel = world.operator();
    let list = eventually("both devices are known with both series", async || {
        let list = query::devices(channel.clone(), "").await.map_err(|status| status.to_string())?;
        let known = list.len() == 2 && list.iter().all(|device| device.series == 2);
        if known { Ok(list) } else { Err(format!("{list:?}")) }
    })
    .await;
    for (device, site) in list.iter().zip(["berlin", "lyon"]) {
        assert_eq!((device.site.as_str(), device.device.as_str()), (site, "press-1"));
        // The time of the newest reading, accurate to a window.
        assert!((now - 2000..=now - 1000).contains(&device.last_seen_ms), "{device:?}");
    }
    let lyon = query::devices(channel.clone(), r#"{site="lyon"}"#).await.unwrap();
    assert_eq!(lyon.len(), 1);

    let began = now_ms();
    eventually("both gateways are connected and up to date", async || {
        let list = query::gateways(channel.clone(), "").await.map_err(|status| status.to_string())?;
        let fresh = |gateway: &catchment_proto::wire::Gateway| {
            gateway.connected && gateway.watermark_ms.is_some_and(|watermark| watermark >= began)
        };
        if list.len() == 2 && list.iter().all(fresh) { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
    world.gateways[0].server.stop().await;
    eventually("the stopped gateway is listed as not connected", async || {
        let list = query::gateways(channel.clone(), "").await.map_err(|status| status.to_string())?;
        let connected: Vec<bool> = list.iter().map(|gateway| gateway.connected).collect();
        if connected == [false, true] { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
}

#[tokio::test]
async fn an_invalid_query_is_refused_with_a_reason() {
    let world = World::small().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let now = this_second();
    device.send(&Sample::one(now - 1000, "m", 1.0)).await;
    device.settle().await;
    let good = QueryRequest::new("m", now - 1000, now);
    world.agrees(std::slice::from_ref(&good)).await;
    let bad = |change: &dyn Fn(&mut QueryRequest)| {
        let mut query = good.clone();
        change(&mut query);
        query
    };
    for (query, word) in [
        (bad(&|q| q.step_ms = Some(1500)), "1000"),
        (bad(&|q| q.aggregates = vec!["average".to_owned()]), "average"),
        (bad(&|q| q.metric = "m{".to_owned()), "cannot be read"),
        (bad(&|q| q.to_ms = q.from_ms), "empty"),
        (bad(&|q| q.by = vec!["no label".to_owned()]), "no label"),
    ] {
        let status = world.query(&query).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{query:?}: {status}");
        assert!(status.message().contains(word), "{status}");
    }
    // An empty selection is not an error.
    let nothing = world.query(&QueryRequest::new("unheard_of", now - 1000, now)).await.unwrap();
    assert!(nothing.table.is_empty() && nothing.complete_until_ms.is_none(), "{nothing:?}");
}
