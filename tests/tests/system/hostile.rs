//! A misbehaving gateway with a valid certificate: others are still served, and the log stays readable.

use std::fs;

use catchment_certs::Role;
use catchment_proto::wire::{
    self, DeliverRequest, deliver_request::Kind, deliver_response::Kind as Answer,
    ingest_client::IngestClient,
};
use catchment_tests::{delivery::Delivery, eventually::eventually, now_ms, query, world::World};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};

/// Sends messages on a stream; returns how it ended, or what was refused on it.
async fn says(channel: &Channel, kinds: Vec<Kind>) -> Option<Status> {
    let (requests, outgoing) = tokio::sync::mpsc::channel(8);
    for kind in kinds {
        requests.send(DeliverRequest { kind: Some(kind) }).await.unwrap();
    }
    let mut client = IngestClient::new(channel.clone());
    let mut answers = match client.deliver(ReceiverStream::new(outgoing)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Some(status),
    };
    loop {
        match answers.message().await {
            Ok(Some(wire::DeliverResponse { kind: Some(Answer::Refusal(refusal)) })) => {
                return Some(Status::resource_exhausted(refusal.message));
            }
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

fn start(epoch: u64) -> Kind {
    Kind::Start(wire::Start {
        epoch,
        epoch_created_ms: now_ms(),
        shards: 1,
        run: epoch,
        ..wire::Start::default()
    })
}

#[tokio::test]
async fn bare_starts_of_one_gateway_never_lock_out_anothers_new_folder() {
    let options = |options: &mut catchment_aggregator::Options| {
        options.http = Some(([127, 0, 0, 1], 0).into());
        options.epochs_max = Some(8);
        options.epochs_per_gateway_max = Some(4);
    };
    let mut world = World::builder().options(options).start().await;
    let channel = |world: &World, site: &str| {
        query::channel(world.aggregator.addr(), &world.pki.identity(Role::Gateway, site, "gw"))
    };
    let bad = channel(&world, "berlin");
    // A second Start ends each stream, so one follows the other.
    for epoch in 1..=200 {
        let end = says(&bad, vec![start(epoch), start(epoch)]).await;
        assert_eq!(end.unwrap().code(), Code::FailedPrecondition, "a second Start");
    }
    // With batches it reaches its own limit.
    for epoch in 1_000..1_004 {
        Delivery::start(bad.clone(), epoch, now_ms()).await.deliver(1_700_000_000_000, 1.0, 0).await;
    }
    let batch = wire::Batch { number: 1, width_ms: 1_000, ..wire::Batch::default() };
    let refused = says(&bad, vec![start(2_000), Kind::Batch(batch)]).await.unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("epochs_per_gateway_max"), "{refused}");
    for round in 0..2 {
        for site in ["lyon", "rome"] {
            let mut delivery = Delivery::start(channel(&world, site), 7 + round, now_ms()).await;
            delivery.deliver(1_700_000_000_000, 1.0, 0).await;
        }
        let page = world.aggregator.metrics().await;
        assert!(page.contains("catchment_aggregator_store_origins_max 8"), "{page}");
        assert!(page.contains("catchment_aggregator_store_origins_gateway_most 4"), "{page}");
        world.aggregator.stop().await;
        world.aggregator.start().await;
    }
}

#[tokio::test]
async fn a_hostile_gateway_causes_a_bounded_number_of_log_lines() {
    let world = World::builder().processes().start().await;
    let identity = world.pki.identity(Role::Gateway, "berlin", "gw");
    let bad = query::channel(world.aggregator.addr(), &identity);
    for epoch in 0..1_000 {
        says(&bad, vec![start(epoch), start(epoch)]).await.unwrap();
    }
    // Connections that are not TLS.
    for _ in 0..200 {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(world.aggregator.direct_addr()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // It is closed, whatever the reply.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    // An honest gateway is still logged.
    let good = world.pki.identity(Role::Gateway, "lyon", "gw");
    let mut delivery = Delivery::start(query::channel(world.aggregator.addr(), &good), 1, now_ms()).await;
    delivery.deliver(1_700_000_000_000, 1.0, 0).await;
    let log = world.dir().join("aggregator").join("config.log");
    eventually("the honest gateway's line", async || {
        let lines = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let seen =
            lines.lines().any(|line| line.contains("delivery stream started") && line.contains("lyon/gw"));
        if seen { Ok(()) } else { Err(lines) }
    })
    .await;
    let lines = fs::read_to_string(&log).unwrap();
    // A minute may end in the meantime, which resets the limit.
    assert!(lines.lines().count() < 100, "{} lines:\n{lines}", lines.lines().count());
    assert!(lines.contains("handshake failed") && lines.contains("delivery stream ended"), "{lines}");
}
