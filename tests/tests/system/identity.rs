//! Authorization: the certificate decides, on both servers.

use catchment_certs::Role;
use catchment_proto::wire::{DeliverRequest, Start, deliver_request::Kind, ingest_client::IngestClient};
use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    device::Sample,
    model::QueryRequest,
    now_ms,
    pki::Pki,
    query, rogue, this_second,
    world::World,
};
use serde_json::json;
use tonic::Code;

#[tokio::test]
async fn a_gateway_accepts_only_devices_of_its_own_site() {
    let world = World::builder().gateway("berlin", "gw").gateway("lyon", "gw").start().await;
    let addr = world.gateway_addr();
    let berlin = world.pki.device("berlin", "press-1");
    assert_eq!(rogue::knock(addr, Credentials::of(&berlin)).await.unwrap(), json!({"ack": 1}));
    for (role, site, name) in [
        (Role::Device, "lyon", "press-1"),
        (Role::Gateway, "berlin", "gw"),
        (Role::Gateway, "lyon", "gw"),
        (Role::Operator, "", "ada"),
        (Role::Aggregator, "", "centre"),
    ] {
        let identity = world.pki.identity(role, site, name);
        let answer = rogue::knock(addr, Credentials::of(&identity)).await;
        assert!(answer.is_err(), "{role:?} {site} {name}: {answer:?}");
    }
    // A device of the same name at the other site is another device, and its own gateway accepts it.
    let lyon = world.pki.device("lyon", "press-1");
    let there = world.gateways[1].server.addr();
    assert_eq!(rogue::knock(there, Credentials::of(&lyon)).await.unwrap(), json!({"ack": 1}));
}

#[tokio::test]
async fn without_a_valid_certificate_of_the_root_there_is_no_connection() {
    let world = World::small().await;
    let device = world.pki.device("berlin", "press-1");
    let expired = world.pki.expired_device("berlin", "press-2");
    let other = Pki::new(&world.dir().join("other"));
    let foreign = other.device("berlin", "press-1");
    for addr in [world.gateway_addr(), world.aggregator.addr()] {
        for (who, answer) in [
            ("nobody", rogue::without_certificate(addr, &device).await),
            ("expired", rogue::knock(addr, Credentials::of(&expired)).await),
            ("another root", rogue::with_certificate(addr, &foreign, &device).await),
        ] {
            let error = answer.expect_err(who);
            assert!(!error.contains("without an answer"), "{who} is refused by TLS itself: {error}");
        }
    }
    // In the other direction: a device that trusts another root rejects this gateway.
    let opened = Connection::open(world.gateway_addr(), Credentials::of(&foreign), Protocol::Json).await;
    let error = opened.err().expect("the gateway's certificate is not of that root").to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    // A valid device is served nevertheless.
    assert!(rogue::knock(world.gateway_addr(), Credentials::of(&device)).await.is_ok());
}

#[tokio::test]
async fn only_operators_query_and_only_gateways_deliver() {
    let world = World::small().await;
    let query = QueryRequest::new("temperature", now_ms() - 1000, now_ms());
    for (role, site, name) in [
        (Role::Operator, "", "ada"),
        (Role::Gateway, "berlin", "gw-2"),
        (Role::Device, "berlin", "press-1"),
        (Role::Aggregator, "", "centre-2"),
    ] {
        let channel = query::channel(world.aggregator.addr(), &world.pki.identity(role, site, name));
        let asks = query::aggregate(channel.clone(), &query).await.map(|_| ());
        let lists = query::devices(channel.clone(), "").await.map(|_| ());
        let start = Start {
            epoch: 7,
            epoch_created_ms: now_ms(),
            shards: 1,
            version: "test".to_owned(),
            ..Start::default()
        };
        let first = DeliverRequest { kind: Some(Kind::Start(start)) };
        // The stream stays open after the Start; otherwise the reply is its end.
        let requests = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
        let delivers = match IngestClient::new(channel).deliver(requests).await {
            Ok(response) => response.into_inner().message().await.map(|_| ()),
            Err(status) => Err(status),
        };
        for (what, result, allowed) in [
            ("aggregate", asks, Role::Operator),
            ("devices", lists, Role::Operator),
            ("deliver", delivers, Role::Gateway),
        ] {
            match result {
                Ok(()) => assert_eq!(role, allowed, "{what}"),
                Err(status) => {
                    assert_ne!(role, allowed, "{what}: {status}");
                    assert_eq!(status.code(), Code::PermissionDenied, "{role:?} {what}: {status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_payloads_claim_about_its_sender_is_refused_and_the_rest_is_kept() {
    let world = World::small().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let now = this_second();
    connection
        .line(&json!({"ts": now, "values": {"m": 1}, "labels": {"device": "press-2"}}).to_string())
        .await
        .unwrap();
    let answer = connection.answer().await.unwrap().unwrap();
    assert_eq!((&answer["error"]["code"], &answer["error"]["line"]), (&json!("bad_label"), &json!(1)));
    assert_eq!(connection.answer().await.unwrap().unwrap(), json!({"ack": 1}));
    let mut device = world.device(0, "press-1", Protocol::Frames);
    device.send(&Sample::one(now, "m", 2.0)).await;
    device.settle().await;
    world.agrees(&[QueryRequest::new("m", now, now + 1000).by(&["site", "gateway", "device"])]).await;
}
