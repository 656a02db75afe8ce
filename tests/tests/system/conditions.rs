//! Conditions that keep a server from its work are shown at `/readyz` and in the metrics while they hold; `/healthz`
//! stays good.

use std::fmt::Write as _;

use catchment_tests::{
    connection::Protocol, eventually::eventually, model::QueryRequest, now_ms, query, rogue, server::Server,
    world::World,
};

/// Waits until a server reports exactly these conditions, and returns the body of `/readyz`.
async fn holds(server: &Server, prefix: &str, names: &[&str], ready: bool) -> String {
    eventually(&format!("conditions {names:?} hold"), async || {
        let metrics = server.metrics().await;
        let (status, page) = server.http("/readyz").await;
        let start = format!("{prefix}_condition{{name=\"");
        let held: Vec<&str> =
            metrics.lines().filter_map(|line| line.strip_prefix(&start)?.strip_suffix("\"} 1")).collect();
        let said = names.iter().all(|name| page.contains(&format!("{name}: ")));
        let right = held == names && (status == 200) == ready && (said || ready);
        if right { Ok(page) } else { Err(format!("{held:?} {page}")) }
    })
    .await
}

fn world() -> catchment_tests::world::Builder {
    let http = Some(([127, 0, 0, 1], 0).into());
    World::builder()
        .gateway("berlin", "gw")
        .settings(move |settings| {
            (settings.http, settings.connections_max) = (http, Some(2));
            settings.outbox_bytes_max = Some("16MiB".parse().unwrap());
            settings.series_max = Some(1_000_000);
        })
        .options(move |options| (options.http, options.connections_max) = (http, Some(2)))
}

#[tokio::test]
async fn a_server_without_free_connection_slots_is_not_ready_until_one_is_free() {
    let world = world().start().await;
    let gateway = &world.gateways[0].server;
    holds(gateway, "catchment_gateway", &[], true).await;
    // Connections that have delivered nothing could be displaced.
    let mut first = world.connect("press-1", Protocol::Json).await;
    let mut second = world.connect("press-2", Protocol::Json).await;
    for connection in [&mut first, &mut second] {
        connection.line(r#"{"temperature":1}"#).await.unwrap();
    }
    let said = holds(gateway, "catchment_gateway", &["connections_full"], false).await;
    assert!(said.contains("all 2 places") && said.contains("connections_max"), "{said}");
    assert_eq!(gateway.http("/healthz").await.0, 200);
    drop(first);
    holds(gateway, "catchment_gateway", &[], true).await;
    drop(second);
    // The gateway's own connection takes one of the aggregator's slots; a handshake takes another.
    let silent = rogue::stalled_handshake(world.aggregator.addr()).await;
    let operator = world.operator();
    query::aggregate(operator.clone(), &QueryRequest::new("temperature", 0, 1000)).await.unwrap();
    let said = holds(&world.aggregator, "catchment_aggregator", &["connections_full"], false).await;
    assert!(said.contains("all 2 connection slots"), "{said}");
    assert_eq!(world.aggregator.http("/healthz").await.0, 200);
    drop((silent, operator));
    holds(&world.aggregator, "catchment_aggregator", &[], true).await;
}

#[tokio::test]
async fn a_gateway_whose_outbox_is_full_is_not_ready_until_it_is_delivered() {
    let world = world().start().await;
    let gateway = &world.gateways[0].server;
    world.aggregator.link.cut();
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let name = "n".repeat(200);
    let fill = async {
        // Every reading belongs to a new series with a long name, which is in the outbox with its partial.
        for line in 0.. {
            let mut text = String::from("[");
            for reading in 0..500 {
                let (comma, time) = (if reading == 0 { "" } else { "," }, now_ms() - 60_000);
                write!(
                    text,
                    "{comma}{{\"ts\":{time},\"values\":{{\"m\":1}},\"labels\":{{\"l\":\"{name}-{line}-{reading}\"}}}}"
                )
                .unwrap();
            }
            text.push(']');
            if connection.line(&text).await.is_err() {
                break;
            }
        }
        std::future::pending().await
    };
    let said = tokio::select! {
        said = holds(gateway, "catchment_gateway", &["outbox_full"], false) => said,
        () = fill => unreachable!(),
    };
    assert!(said.contains("outbox_bytes_max"), "{said}");
    assert_eq!(gateway.http("/healthz").await.0, 200);
    drop(connection);
    world.aggregator.link.resume();
    holds(gateway, "catchment_gateway", &[], true).await;
}
