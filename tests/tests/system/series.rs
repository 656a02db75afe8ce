//! Many series: readings without room are refused before their acknowledgement; acknowledged readings without room
//! wait.

use std::collections::BTreeSet;

use catchment_proto::wire::{FleetRequest, ForgetSeriesRequest, Gateway, fleet_client::FleetClient};
use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    eventually::{eventually, within},
    model::{QueryRequest, Reading, labels},
    server::Program,
    world::World,
};
use serde_json::json;

const TS: i64 = 1_700_000_000_000;

/// A connection of a device to one of the gateways.
async fn connect(world: &World, gateway: usize, device: &str) -> Connection {
    let identity = world.pki.device(&world.gateways[gateway].site, device);
    let addr = world.gateways[gateway].server.addr();
    let opening = Connection::open(addr, Credentials::of(&identity), Protocol::Json);
    within("a connection", opening).await.unwrap()
}

/// Sends one reading per line, each of its own metric, and waits for the acknowledgements; returns the accepted
/// metrics. `line`: number of the connection's last line so far.
async fn send(connection: &mut Connection, line: &mut u64, metrics: &[String]) -> BTreeSet<String> {
    let first = *line;
    for metric in metrics {
        let text = json!({"ts": TS, "values": {metric: 1.0}}).to_string();
        within("the gateway reads", connection.line(&text)).await.unwrap();
        *line += 1;
    }
    let mut taken: BTreeSet<String> = metrics.iter().cloned().collect();
    loop {
        let answer =
            within("an answer", connection.answer()).await.unwrap().expect("the connection stays open");
        if let Some(number) = answer["error"]["line"].as_u64() {
            assert_eq!(answer["error"]["code"], "too_many_series", "{answer}");
            taken.remove(&metrics[(number - first - 1) as usize]);
        } else if answer["ack"].as_u64() == Some(*line) {
            return taken;
        }
    }
}

/// Records accepted readings in the model.
fn note(world: &World, gateway: usize, device: &str, metrics: &BTreeSet<String>) {
    let known = &world.gateways[gateway];
    for metric in metrics {
        let labels = labels(&[("site", &known.site), ("gateway", &known.name), ("device", device)]);
        world.model.note(Reading { metric: metric.clone(), labels, time_ms: TS, value: 1.0 });
    }
}

fn names(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{prefix}{number}")).collect()
}

fn queries<'a>(metrics: impl IntoIterator<Item = &'a String>) -> Vec<QueryRequest> {
    metrics
        .into_iter()
        .map(|metric| QueryRequest::new(metric, TS, TS + 1000).by(&["site", "device"]))
        .collect()
}

/// The aggregator's list entry of a site's gateway.
async fn gateway(world: &World, site: &str) -> Result<Gateway, String> {
    let request = FleetRequest { selector: format!("{{site=\"{site}\"}}") };
    let list = FleetClient::new(world.operator()).list_gateways(request).await;
    let message = list.map_err(|status| status.to_string())?.into_inner().message().await;
    message.map_err(|status| status.to_string())?.ok_or_else(|| "no gateway".to_owned())
}

/// Waits until a gateway has its first budget.
async fn until_budget(world: &World, gateway: usize) {
    let server = &world.gateways[gateway].server;
    eventually("a budget", async || {
        let metrics = server.metrics().await;
        let refusal = metrics.lines().find_map(|line| line.strip_prefix("catchment_gateway_series_max "));
        refusal.filter(|max| *max != "0").map(drop).ok_or(metrics.clone())
    })
    .await;
}

#[tokio::test]
async fn a_device_that_invents_series_is_refused_before_the_ack_and_disturbs_no_other_site() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .gateway("lyon", "gw")
        .settings(|settings| settings.http = Some(([127, 0, 0, 1], 0).into()))
        .options(|options| options.store_series_max = Some(40))
        .start()
        .await;
    until_budget(&world, 0).await;
    until_budget(&world, 1).await;
    let (mut inventor, mut line) = (connect(&world, 0, "press-1").await, 0);
    let mut taken = send(&mut inventor, &mut line, &names("m", 0..60)).await;
    assert!(!taken.is_empty() && taken.len() <= 10, "{taken:?}");
    // The budget follows delivery, up to the gateway's whole limit: on the same connection, the same names.
    eventually("the gateway's whole limit", async || {
        taken.extend(send(&mut inventor, &mut line, &names("m", 0..60)).await);
        if taken.len() < 10 { Err(format!("{taken:?}")) } else { Ok(()) }
    })
    .await;
    let again = send(&mut inventor, &mut line, &names("new", 0..5)).await;
    assert_eq!(again.len(), 0, "the limit is reached");

    let (mut other, mut other_line) = (connect(&world, 1, "press-2").await, 0);
    let of_lyon = send(&mut other, &mut other_line, &names("z", 0..3)).await;
    assert_eq!(of_lyon.len(), 3, "the other site has its own room");
    note(&world, 1, "press-2", &of_lyon);
    world.agrees(&queries(&of_lyon)).await;
    // Every acknowledged reading is there, and nothing else.
    let listed = eventually("all series", async || {
        let known = gateway(&world, "berlin").await?;
        if known.series == 10 { Ok(known) } else { Err(format!("{known:?}")) }
    })
    .await;
    assert_eq!((listed.series_max, listed.waits_for.as_str()), (Some(10), ""));
    for metric in &taken {
        let query = QueryRequest::new(metric, TS, TS + 1000).by(&["site", "device"]);
        eventually("an acknowledged reading", async || {
            let answer = world.query(&query).await.map_err(|status| status.to_string())?;
            if answer.table.is_empty() { Err(format!("{metric} is missing")) } else { Ok(()) }
        })
        .await;
    }
}

#[tokio::test]
async fn acknowledged_readings_without_room_wait_until_series_are_forgotten() {
    let mut world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.http = Some(([127, 0, 0, 1], 0).into()))
        .start()
        .await;
    until_budget(&world, 0).await;
    let (mut connection, mut line) = (connect(&world, 0, "press-1").await, 0);
    let junk = send(&mut connection, &mut line, &names("junk", 0..10)).await;
    assert_eq!(junk.len(), 10);
    eventually("the junk series", async || match gateway(&world, "berlin").await?.series {
        10 => Ok(()),
        series => Err(format!("{series} series")),
    })
    .await;

    // While offline, the gateway accepts what its budget allows; then the limit is lowered.
    world.aggregator.stop().await;
    let good = send(&mut connection, &mut line, &names("good", 0..5)).await;
    assert_eq!(good.len(), 5);
    note(&world, 0, "press-1", &good);
    let Program::Aggregator(options) = &mut world.aggregator.program else { panic!("an aggregator") };
    options.series_per_gateway_max = Some(10);
    world.aggregator.start().await;
    let waiting = eventually("the gateway is listed as waiting", async || {
        let known = gateway(&world, "berlin").await?;
        if known.waits_for.is_empty() { Err(format!("{known:?}")) } else { Ok(known.waits_for) }
    })
    .await;
    assert!(
        waiting.contains("gateway berlin/gw may have 10 series and has 10")
            && waiting.contains("forget series"),
        "{waiting}"
    );
    let metrics = world.gateways[0].server.metrics().await;
    let refused = metrics.lines().find(|line| line.starts_with("catchment_gateway_batches_refused_total"));
    assert!(refused.is_some_and(|line| !line.ends_with(" 0")), "{refused:?}");
    // A known series is never refused, a new one is.
    assert_eq!(send(&mut connection, &mut line, &["good0".to_owned(), "more".to_owned()]).await.len(), 1);
    note(&world, 0, "press-1", &["good0".to_owned()].into());

    let selector = "{__name__=~\"junk.*\"}".to_owned();
    let request = ForgetSeriesRequest { selector, dry_run: false };
    let forgotten = FleetClient::new(world.operator()).forget_series(request).await.unwrap().into_inner();
    assert_eq!(forgotten.series, 10);
    world.agrees(&queries(&good)).await;
    let known = gateway(&world, "berlin").await.unwrap();
    assert_eq!((known.series, known.waits_for.as_str()), (5, ""));
    // There is room for new series again.
    eventually("room for a new series", async || {
        let taken = send(&mut connection, &mut line, &["fresh".to_owned()]).await;
        if taken.is_empty() { Err("it is refused".to_owned()) } else { Ok(()) }
    })
    .await;
}
