//! The files of `deploy/grafana`, checked by the requests that Grafana makes with them: over mutual TLS, and through
//! `catchment proxy`.

use std::{fs, path::Path};

use catchment_tests::{
    api::{Answer, Api},
    connection::Protocol,
    debian::Background,
    device::Sample,
    eventually::eventually,
    model::labels,
    now_ms,
    process::command,
    world::World,
};
use serde_json::Value;

/// Step of the panels' queries; the windows are 1 s wide.
const STEP_S: i64 = 10;
/// Range of the panels.
const RANGE_S: i64 = 120;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The data of a successful answer without warnings or notes.
fn data((status, json): &Answer) -> Value {
    assert!(*status == 200 && json["status"] == "success", "{json}");
    for kind in ["warnings", "infos"] {
        assert!(json[kind].is_null(), "{json}");
    }
    json["data"].clone()
}

/// An expression as Grafana sends it.
fn interpolated(text: &str) -> String {
    let interval = format!("{STEP_S}s");
    let milliseconds = (STEP_S * 1000).to_string();
    let values = [
        ("$__interval_ms", milliseconds.as_str()),
        ("$__interval", interval.as_str()),
        ("$__range", "120s"),
        ("${metric}", "temperature"),
        ("$site", ".+"),
        ("$device", "(press-1|press-2)"),
    ];
    let text = values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!text.contains('$'), "an unknown variable: {text}");
    text
}

/// A world with readings of two devices in the last minutes, and a second that they reach, which Grafana has aligned to
/// the step.
async fn world() -> (World, i64) {
    let world = World::small().await;
    let now_s = now_ms() / 1000;
    for (name, room) in [("press-1", "north"), ("press-2", "south")] {
        let mut device = world.device(0, name, Protocol::Json);
        for second in (0..RANGE_S + 60).rev() {
            let values =
                vec![("temperature".to_owned(), 20.0 + (second % 7) as f64), ("load".to_owned(), 0.5)];
            let labels = labels(&[("room", room)]);
            device.send(&Sample { time_ms: (now_s - second) * 1000 - 500, labels, values }).await;
        }
        device.settle().await;
    }
    (world, (now_s - 20) / STEP_S * STEP_S)
}

/// What Grafana asks of a data source before any panel.
async fn check_data_source(api: &Api, start: &str, end: &str) {
    // "Save & test".
    let health = data(&api.post("query", &[("query", "1+1"), ("time", "4")]).await);
    assert_eq!(health, serde_json::json!({"resultType": "scalar", "result": [4, "2"]}));
    let version = data(&api.get("status/buildinfo", &[]).await)["version"].clone();
    let parts: Vec<u32> =
        version.as_str().unwrap().split('.').take(2).map(|part| part.parse().unwrap()).collect();
    assert!(parts >= vec![2, 24], "{version}: from 2.24 on it asks for label values with match[]");
    // The editor's lists.
    let names = data(&api.get("label/__name__/values", &[("start", start), ("end", end)]).await);
    assert_eq!(names, serde_json::json!(["load", "temperature"]));
    let matching = [("match[]", "temperature"), ("start", start), ("end", end), ("limit", "40000")];
    let labels = data(&api.post("labels", &matching).await);
    assert_eq!(labels, serde_json::json!(["__name__", "device", "room", "site"]));
    let rooms = data(&api.get("label/room/values", &[("match[]", "{__name__=~\".+\"}")]).await);
    assert_eq!(rooms, serde_json::json!(["north", "south"]));
    let series = data(&api.post("series", &matching).await);
    assert_eq!(series.as_array().unwrap().len(), 2, "{series}");
    assert!(data(&api.get("metadata", &[("limit", "40000")]).await).is_object());
    assert!(data(&api.get("rules", &[]).await)["groups"].is_array());
    let exemplars = [("query", "temperature"), ("start", start), ("end", end)];
    assert_eq!(data(&api.get("query_exemplars", &exemplars).await), serde_json::json!([]));
}

/// What the lists of the dashboard's variables ask.
async fn check_variables(api: &Api, dashboard: &Value, start: &str, end: &str) {
    let expected = [("metric", "temperature"), ("site", "berlin"), ("device", "press-2")];
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables.len(), expected.len());
    for (variable, (name, value)) in variables.iter().zip(expected) {
        assert_eq!(variable["name"], name);
        let query = interpolated(variable["query"]["query"].as_str().unwrap());
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (selector, label) = match inside.rsplit_once(", ") {
            Some((selector, label)) => (Some(selector), label),
            None => (None, inside),
        };
        let mut parameters = vec![("start", start), ("end", end)];
        parameters.extend(selector.map(|selector| ("match[]", selector)));
        let values = data(&api.get(&format!("label/{label}/values"), &parameters).await);
        assert!(values.as_array().unwrap().contains(&value.into()), "{query}: {values}");
    }
}

/// What the panels ask.
async fn check_panels(api: &Api, dashboard: &Value, start: &str, end: &str) {
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 5, "{} panels", panels.len());
    for panel in panels {
        assert_eq!(panel["datasource"]["uid"], "catchment", "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let query = interpolated(target["expr"].as_str().unwrap());
            let step = STEP_S.to_string();
            let result = if target["instant"] == true {
                data(&api.post("query", &[("query", &query), ("time", end)]).await)
            } else {
                let range = [("query", query.as_str()), ("start", start), ("end", end), ("step", &step)];
                data(&api.post("query_range", &range).await)
            };
            let first = &result["result"][0];
            let values = if panel["type"] == "heatmap" { "histograms" } else { "values" };
            let values = if target["instant"] == true { "value" } else { values };
            assert!(first[values].is_array(), "{query}: {result}");
            if target["instant"] != true {
                assert_eq!(
                    first[values].as_array().unwrap().len() as i64,
                    RANGE_S / STEP_S + 1,
                    "{query}: {result}"
                );
            }
        }
    }
}

async fn check_all(api: &Api, end: i64) {
    let dashboard: Value = serde_json::from_str(&file("dashboards/catchment.json")).unwrap();
    let (start, end) = ((end - RANGE_S).to_string(), end.to_string());
    check_data_source(api, &start, &end).await;
    check_variables(api, &dashboard, &start, &end).await;
    check_panels(api, &dashboard, &start, &end).await;
}

#[tokio::test]
async fn grafanas_requests_are_answered_over_mutual_tls_and_through_the_proxy() {
    let (world, end) = world().await;
    let operator = world.pki.operator();
    let api = Api { addr: world.aggregator.addr(), identity: Some(operator.clone()) };
    let query = "sum(count_over_time(temperature[140s])) + sum(count_over_time(load[140s]))";
    let time = end.to_string();
    let count = 2 * 2 * 140;
    eventually("complete figures", async || {
        let (_, json) = api.get("query", &[("query", query), ("time", &time)]).await;
        let seen = json["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok());
        let is_complete = json["warnings"].is_null() && seen == Some(count);
        if is_complete { Ok(()) } else { Err(json.to_string()) }
    })
    .await;
    check_all(&api, end).await;

    let mut proxy = command("catchment");
    proxy.args(["proxy", "--listen", "127.0.0.1:0", "--aggregator"]);
    proxy.arg(format!("https://{}", world.aggregator.addr())).arg("--identity").arg(&operator);
    let log = world.dir().join("proxy.log");
    let (_proxy, addr) = tokio::task::spawn_blocking(move || {
        let mut proxy = Background::start(proxy, "catchment", &log);
        let ready = |log: &str| log.lines().find_map(|line| line.strip_prefix("ready ")?.parse().ok());
        let addr = proxy.logged("ready", ready);
        (proxy, addr)
    })
    .await
    .unwrap();
    check_all(&Api { addr, identity: None }, end).await;
}

#[test]
fn the_data_source_uses_the_three_files_of_an_identity() {
    let source = file("provisioning/datasources/catchment.yml");
    for line in [
        "uid: catchment",
        "type: prometheus",
        "httpMethod: POST",
        "tlsAuth: true",
        "tlsAuthWithCACert: true",
        "tlsCACert: $__file{/etc/grafana/catchment/ca.pem}",
        "tlsClientCert: $__file{/etc/grafana/catchment/cert.pem}",
        "tlsClientKey: $__file{/etc/grafana/catchment/key.pem}",
    ] {
        assert!(source.lines().any(|found| found.trim() == line), "no {line:?} in\n{source}");
    }
    let provider = file("provisioning/dashboards/catchment.yml");
    assert!(provider.contains("type: file") && provider.contains("path: /etc/grafana/catchment/dashboards"));
}
