//! Many MQTT clients at once. `CATCHMENT_TEST_MQTT_CONNECTIONS` sets their number (default 200; a thousand take some
//! minutes if the programs are built without optimisation).

use std::sync::Arc;

use catchment_tests::{
    model::QueryRequest,
    mqtt::{Client, ConnectOptions, publish},
    world::World,
};
use tokio::sync::{Barrier, Semaphore};

const TS: i64 = 1_700_000_000_000;
/// Messages per client.
const MESSAGES: u16 = 5;
/// Concurrent handshakes.
const HANDSHAKES: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_are_all_counted() {
    let given = std::env::var("CATCHMENT_TEST_MQTT_CONNECTIONS").ok().and_then(|text| text.parse().ok());
    let clients: usize = given.unwrap_or(200);
    let world = World::small().await;
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    // No client sends before all are connected.
    let all_open = Arc::new(Barrier::new(clients));
    let mut tasks = Vec::new();
    for number in 0..clients {
        let (device, addr) = (format!("press-{number}"), world.gateway_addr());
        let identity = world.pki.device("berlin", &device);
        for value in 1..=MESSAGES {
            world.note(&device, &[], "m", TS, value.into());
        }
        let (handshakes, all_open) = (Arc::clone(&handshakes), Arc::clone(&all_open));
        tasks.push(tokio::spawn(async move {
            let permit = handshakes.acquire().await.unwrap();
            let version = if number % 2 == 0 { 4 } else { 5 };
            let mut client = Client::open(addr, &identity, None, None).await.unwrap();
            assert_eq!(client.connect(ConnectOptions::clean(version, "c")).await.unwrap(), (false, 0));
            drop(permit);
            all_open.wait().await;
            for id in 1..=MESSAGES {
                let payload = format!(r#"{{"ts":{TS},"values":{{"m":{id}}}}}"#);
                client.send(&publish(version, 1, id, "telemetry", &payload)).await.unwrap();
            }
            for id in 1..=MESSAGES {
                assert_eq!(client.acknowledgement().await, (4, id, 0));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let all = QueryRequest::new("m", TS, TS + 1000);
    world.agrees(&[all.clone().aggregates(&["count", "sum", "min", "max"]), all.by(&["device"])]).await;
}
