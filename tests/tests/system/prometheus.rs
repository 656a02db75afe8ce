//! Prometheus' API of the real programs: over mutual TLS, and through `catchment proxy`.

use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_tests::{
    api::Api,
    delivery::Delivery,
    eventually::eventually,
    now_ms,
    process::{Process, program_output},
    query,
    world::World,
};
use http_body_util::Full;
use hyper::{Request, header};
use serde_json::{Value, json};

/// Devices, seconds after the start, readings of that second.
const READINGS: [(&str, i64, &[f64]); 3] =
    [("a", 10, &[1.0, 2.0, 3.0]), ("b", 20, &[5.0]), ("a", 70, &[10.0])];

/// A minute an hour ago, from which on readings were delivered; complete for the next 50 minutes.
async fn delivered(world: &World) -> (Delivery, i64) {
    let start_ms = (now_ms() / 60_000 - 60) * 60_000;
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let channel = query::channel(world.aggregator.addr(), &identity);
    let mut delivery = Delivery::start(channel, 9, start_ms).await;
    for (device, second, values) in READINGS {
        let time_ms = start_ms + second * 1_000;
        let mut partial = Partial::empty();
        for (number, value) in values.iter().enumerate() {
            partial.push(Timestamp::from_millis(time_ms + number as i64).unwrap(), *value);
        }
        delivery.deliver_partial(device, "energy", time_ms, &partial, start_ms + 50 * 60_000).await;
    }
    (delivery, start_ms)
}

fn seconds(ms: i64) -> String {
    (ms / 1_000).to_string()
}

/// Labels and values of a vector, sorted by device.
fn vector(data: &Value) -> Vec<(String, String)> {
    assert_eq!(data["resultType"], "vector", "{data}");
    let value = |entry: &Value| {
        let device = entry["metric"]["device"].as_str().unwrap_or_default().to_owned();
        (device, entry["value"][1].as_str().unwrap_or_else(|| panic!("{data}")).to_owned())
    };
    data["result"].as_array().unwrap().iter().map(value).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(device, value)| ((*device).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn expressions_and_lists_over_mutual_tls() {
    let world = World::builder().processes().start().await;
    let (_delivery, start_ms) = delivered(&world).await;
    let api = Api { addr: world.aggregator.addr(), identity: Some(world.pki.operator()) };
    let minute = seconds(start_ms + 60_000);

    // What Grafana asks first.
    let data = api.data("query", &[("query", "1+1"), ("time", "4")]).await;
    assert_eq!(data, json!({"resultType": "scalar", "result": [4, "2"]}));
    for (expression, expected) in [
        ("energy", pairs(&[("a", "3"), ("b", "5")])),
        ("sum_over_time(energy[1m])", pairs(&[("a", "6"), ("b", "5")])),
        ("avg by (site) (avg_over_time(energy{site=\"rome\"}[1m]))", pairs(&[("", "3.5")])),
        ("sum(sum_over_time(energy[1m])) / sum(count_over_time(energy[1m]))", pairs(&[("", "2.75")])),
        ("histogram_count(sum(sum_over_time(energy:window[1m])))", pairs(&[("", "4")])),
        ("energy{device=~`b|c`} > 4", pairs(&[("b", "5")])),
        ("nothing", Vec::new()),
    ] {
        let data = api.data("query", &[("query", expression), ("time", &minute)]).await;
        assert_eq!(vector(&data), expected, "{expression}");
    }
    let window = api.data("query", &[("query", "energy:window{device=\"a\"}"), ("time", &minute)]).await;
    let histogram = &window["result"][0]["histogram"][1];
    assert_eq!((&histogram["count"], &histogram["sum"]), (&json!("3"), &json!("6")), "{window}");
    assert_eq!(histogram["buckets"].as_array().unwrap().len(), 3);

    let range = [
        ("query", "sum(sum_over_time(energy[1m]))"),
        ("start", &minute),
        ("end", &seconds(start_ms + 180_000)),
        ("step", "1m"),
    ];
    let (status, answer) = api.post("query_range", &range).await;
    let values = json!([[start_ms / 1_000 + 60, "11"], [start_ms / 1_000 + 120, "10"]]);
    let matrix = json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]});
    assert_eq!((status, &answer["data"]), (200, &matrix), "{answer}");
    assert!(answer.get("warnings").is_none(), "complete: {answer}");
    let (_, now) = api.get("query", &[("query", "sum(sum_over_time(energy[1h]))")]).await;
    assert!(now["warnings"][0].as_str().is_some_and(|text| text.contains("rome/gw")), "{now}");

    let labels = json!(["__name__", "device", "site"]);
    assert_eq!(api.data("labels", &[]).await, labels);
    assert_eq!(api.data("label/__name__/values", &[]).await, json!(["energy"]));
    assert_eq!(api.data("label/device/values", &[("match[]", "energy")]).await, json!(["a", "b"]));
    assert_eq!(
        api.data("series", &[("match[]", "energy{device=\"b\"}"), ("match[]", "nothing")]).await,
        json!([{"__name__": "energy", "device": "b", "site": "rome"}])
    );
    let metadata = json!({"energy": [{"type": "unknown", "help": "", "unit": ""}]});
    assert_eq!(api.data("metadata", &[("limit", "10")]).await, metadata);
    assert_eq!(api.data("format_query", &[("query", "energy+1")]).await, json!("energy + 1"));
}

#[tokio::test]
async fn hostile_expressions_are_refused_in_words() {
    let world = World::builder().processes().start().await;
    let (_delivery, start_ms) = delivered(&world).await;
    let api = Api { addr: world.aggregator.addr(), identity: Some(world.pki.operator()) };
    let time = seconds(start_ms + 60_000);
    let nested = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    for (expression, word) in [
        (nested.as_str(), ""),
        ("energy[1e30]", ""),
        ("irate(energy[5m])", "irate"),
        ("energy[5m]", ""),
        ("sum(", ""),
        ("energy offset 1e30", ""),
    ] {
        let (status, answer) = api.post("query", &[("query", expression), ("time", &time)]).await;
        assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(word)), "{answer}");
    }
    let data = api.data("query", &[("query", "energy{device=\"b\"}"), ("time", &time)]).await;
    assert_eq!(vector(&data), pairs(&[("b", "5")]));
}

#[tokio::test]
async fn a_proxy_serves_programs_without_certificates() {
    let mut world = World::builder().processes().start().await;
    let (delivery, start_ms) = delivered(&world).await;
    let url = format!("https://{}", world.aggregator.addr());
    let operator = world.pki.operator();
    let connection = ["--aggregator", &url, "--identity", operator.to_str().unwrap()];
    let arguments: Vec<&str> = ["proxy", "--listen", "127.0.0.1:0"].into_iter().chain(connection).collect();
    let proxy = Process::start_with("catchment", &arguments, &world.dir().join("proxy.log"));
    let api = Api { addr: proxy.addr, identity: None };
    let time = seconds(start_ms + 60_000);
    let parameters = [("query", "sum_over_time(energy[1m])"), ("time", time.as_str())];
    assert_eq!(vector(&api.data("query", &parameters).await), pairs(&[("a", "6"), ("b", "5")]));
    let (status, posted) = api.post("query", &parameters).await;
    assert_eq!((status, vector(&posted["data"])), (200, pairs(&[("a", "6"), ("b", "5")])));
    // Errors come through too.
    let (status, answer) = api.get("query", &[("query", "(")]).await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    // A name that was made to resolve to loopback, a page of another host, another path.
    let request =
        |path: &str, host: &str| Request::get(path.to_owned()).header(header::HOST, host.to_owned());
    let body = Full::default;
    let rebound = request("/api/v1/rules", "evil.example").body(body()).unwrap();
    assert_eq!(api.send(rebound).await.0, 403);
    let page = request("/api/v1/rules", "localhost").header(header::ORIGIN, "http://evil.example");
    assert_eq!(api.send(page.body(body()).unwrap()).await.0, 403);
    let other = request("/catchment.v1.Query/Aggregate", "localhost").body(body()).unwrap();
    assert_eq!(api.send(other).await.0, 404);

    // The aggregator is away, and comes back.
    drop(delivery);
    world.aggregator.stop().await;
    let (status, answer) = api.get("query", &parameters).await;
    assert_eq!((status, &answer["status"]), (502, &json!("error")), "{answer}");
    world.aggregator.start().await;
    eventually("an answer", async || match api.get("query", &parameters).await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(proxy.terminate().success());
    for (listen, word) in [("0.0.0.0:0", "loopback"), ("nowhere", "127.0.0.1:9090")] {
        let arguments: Vec<&str> = ["proxy", "--listen", listen].into_iter().chain(connection).collect();
        let output = program_output("catchment", &arguments).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{output:?}");
    }
}
