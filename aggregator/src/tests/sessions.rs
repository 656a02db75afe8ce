//! Sessions that end from outside: with the certificate of their peer, or at the maximum age of a connection.

use std::time::Duration;

use catchment_proto::wire::query_client::QueryClient;
use tonic::Code;

use super::{
    rig::{
        Delivery, TIMEOUT, World, channel, operator, other_operator, query_request, run_query, site_gateway,
    },
    watch::{Watcher, watch_request},
};
use crate::testing::{batch, key};

/// How long certificates of these tests last: time enough for a handshake and a request on a slow machine.
const LASTS: Duration = Duration::from_secs(5);

/// How a watch ends that is read to its end.
async fn end_of(mut watch: Watcher) -> tonic::Status {
    loop {
        if let Err(status) = watch.read().await {
            return status;
        }
    }
}

#[tokio::test]
async fn streams_end_with_the_certificate_of_their_peer_and_others_continue() {
    let world = World::new();
    let running = world.start().await;
    let (gateway, ada) = (site_gateway("berlin"), operator());
    let [short, eve] = [&gateway, &other_operator()].map(|identity| world.identity_for(identity, LASTS));
    let mut ending = Delivery::start(channel(running.addr, &short), 1).await.unwrap();
    let mut staying = world.delivery(running.addr, "lyon").await;
    let mut client = QueryClient::new(channel(running.addr, &eve));
    let watch = Watcher::of(client.watch(watch_request()).await.unwrap().into_inner()).unwrap();
    for delivery in [&mut ending, &mut staying] {
        delivery.send(&batch(1, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000)).await;
        delivery.until(1).await.unwrap();
    }
    let watch = end_of(watch).await;
    assert_eq!((watch.code(), watch.message().contains("expired")), (Code::Unauthenticated, true), "{watch}");
    let end = ending.until(2).await.unwrap_err();
    assert_eq!((end.code(), end.message().contains("renew it")), (Code::Unauthenticated, true), "{end}");
    ending.send(&batch(2, key("d1", "m", &[]), &[(11_000, 1.0)], 30_000)).await;
    // Both connections, whether or not their peers close them.
    running.until_counted(r#"connections_ended_total{reason="expired"}"#).await;
    running.until_metric(r#"sessions{role="operator"} 0"#).await;
    running.until_metric(r#"sessions{role="gateway"} 1"#).await;
    // Who comes again is refused; whose certificate lasts has noticed nothing.
    assert!(Delivery::start(channel(running.addr, &short), 1).await.is_err());
    staying.send(&batch(2, key("d1", "m", &[]), &[(11_000, 1.0)], 30_000)).await;
    staying.until(2).await.unwrap();
    let answer =
        run_query(&mut QueryClient::new(world.channel(running.addr, &ada)), query_request("m")).await;
    let answer = answer.unwrap();
    assert!(answer.series.iter().all(|(_, points)| !points.is_empty()), "{answer:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_too_old_ends_and_the_next_one_is_served() {
    let world = World::new();
    let mut config = world.config();
    config.connection_age_max = Some(Duration::from_secs(1));
    let running = super::rig::Running::new(crate::bind(config).await.unwrap());
    let mut delivery = world.delivery(running.addr, "berlin").await;
    delivery.send(&batch(1, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000)).await;
    delivery.until(1).await.unwrap();
    let end = delivery.until(2).await.unwrap_err();
    assert_eq!(
        (end.code(), end.message().contains("connection_age_max")),
        (Code::Unavailable, true),
        "{end}"
    );
    running.until_metric(r#"ingest_streams_ended_total{reason="connection_age"} 1"#).await;
    running.until_counted(r#"connections_ended_total{reason="connection_age"}"#).await;
    let again = tokio::time::timeout(TIMEOUT, world.delivery(running.addr, "berlin")).await.unwrap();
    assert_eq!(again.delivered, [1, 0]);
    running.stop().await.unwrap();
}
