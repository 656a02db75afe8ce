//! Arrow Flight over the wire: the answer of a query as record batches, and what a tool asks to look around.

use std::collections::BTreeMap;

use arrow_array::{
    Array as _, RecordBatch,
    cast::AsArray as _,
    types::{Float64Type, Int32Type, TimestampMillisecondType},
};
use arrow_flight::{
    Criteria, FlightClient, FlightDescriptor, Ticket, error::FlightError,
    flight_service_client::FlightServiceClient,
};
use arrow_schema::DataType;
use catchment_proto::wire::{AggregateRequest, CalendarStep};
use futures_util::TryStreamExt as _;
use prost::Message as _;
use tonic::Code;

use super::rig::{Running, World, query_request, run_query, site_gateway};
use crate::testing::{batch, key, state_batch};

/// Labels, start and values of each row.
type Rows = Vec<(BTreeMap<String, String>, i64, Vec<Option<f64>>)>;

fn rows(batches: &[RecordBatch]) -> Rows {
    let mut rows = Vec::new();
    for batch in batches {
        let (schema, time) = (batch.schema(), batch.column(0).as_primitive::<TimestampMillisecondType>());
        for row in 0..batch.num_rows() {
            let (mut labels, mut values) = (BTreeMap::new(), Vec::new());
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                if let Some(label) = column.as_dictionary_opt::<Int32Type>() {
                    if let Some(key) = label.key(row) {
                        let value = label.values().as_string::<i32>().value(key);
                        labels.insert(field.name().clone(), value.to_owned());
                    }
                } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
                    values.push(numbers.is_valid(row).then(|| numbers.value(row)));
                }
            }
            rows.push((labels, time.value(row), values));
        }
    }
    rows
}

async fn fetch(
    client: &mut FlightClient,
    request: &AggregateRequest,
) -> Result<Vec<RecordBatch>, FlightError> {
    client.do_get(Ticket::new(request.encode_to_vec())).await?.try_collect().await
}

/// Two sites, two devices, a metric of numbers and one of states.
async fn fleet() -> (World, Running) {
    let world = World::new();
    let running = world.start().await;
    for (site, offset) in [("berlin", 0.0), ("munich", 100.0)] {
        let mut delivery = world.delivery(running.addr, site).await;
        let readings: Vec<(i64, f64)> =
            (0..50).map(|second| (second * 1_000, offset + second as f64)).collect();
        let states = [(1_000, "auto"), (6_000, "off")];
        delivery.send(&state_batch(1, key("d1", "mode", &[]), &states)).await;
        delivery.send(&batch(2, key("d1", "temperature", &[("room", "1")]), &readings, 60_000)).await;
        delivery.send(&batch(3, key("d2", "temperature", &[]), &readings[30..], 60_000)).await;
        delivery.progress(1, 60_000, 0).await;
        delivery.until(3).await.unwrap();
    }
    (world, running)
}

fn client(world: &World, running: &Running) -> FlightClient {
    FlightClient::new(world.channel(running.addr, &super::rig::operator()))
}

#[tokio::test]
async fn a_flight_is_the_answer_of_the_query() {
    let (world, running) = fleet().await;
    let mut client = client(&world, &running);
    let request = AggregateRequest {
        by: vec!["site".into(), "device".into(), "room".into()],
        step_ms: 20_000,
        fill: 1,
        ..query_request("temperature")
    };
    let request = AggregateRequest { to_ms: 60_000, ..request };
    let right = run_query(&mut world.query(running.addr), request.clone()).await.unwrap();
    let batches = fetch(&mut client, &request).await.unwrap();
    let mut expected: Rows = Vec::new();
    for (labels, points) in &right.series {
        let labels: BTreeMap<String, String> = labels
            .split(',')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        expected.extend(points.iter().map(|(start, values)| (labels.clone(), *start, values.clone())));
    }
    assert_eq!(expected.len(), 12);
    assert!(
        expected.iter().any(|(_, _, values)| *values == [None, None]),
        "points without readings are null"
    );
    assert_eq!(rows(&batches), expected);

    let schema = batches[0].schema();
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["time", "site", "device", "room", "count", "sum"]);
    let until: serde_json::Value = serde_json::from_str(&schema.metadata()["catchment"]).unwrap();
    assert_eq!(until["complete_until"], "1970-01-01T00:01:00Z");
    assert_eq!(schema.metadata()["complete_until"], "1970-01-01T00:01:00Z");
    assert_eq!((&until["completeness"]["expected"], right.complete_until_ms), (&2.into(), Some(60_000)));
}

#[tokio::test]
async fn texts_states_calendars_and_several_selectors_have_their_types() {
    let (world, running) = fleet().await;
    let mut client = client(&world, &running);
    let request = AggregateRequest {
        aggregates: ["last_state", "state_times", "count"].map(str::to_owned).to_vec(),
        without: vec!["gateway".into()],
        more_selectors: vec!["temperature".into()],
        calendar_step: Some(CalendarStep { unit: 1, count: 1 }),
        time_zone: "Europe/Berlin".into(),
        ..query_request("mode")
    };
    let batches = fetch(&mut client, &request).await.unwrap();
    let batch = &batches[0];
    let schema = batch.schema();
    let kinds: Vec<(&str, String)> =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().to_string())).collect();
    assert_eq!(
        kinds.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["time", "selector", "labels", "last_state", "state_times", "count"]
    );
    assert!(kinds[0].1.contains("Europe/Berlin") && kinds[4].1.starts_with("Map"), "{kinds:?}");
    assert_eq!(schema.field(3).data_type(), &DataType::Utf8);
    let selectors = batch.column(1).as_primitive::<arrow_array::types::UInt32Type>();
    assert_eq!(selectors.values(), &[0, 0, 1, 1, 1, 1]);
    let texts: Vec<Option<&str>> = batch.column(3).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("off"), Some("off"), None, None, None, None]);
    let times = batch.column(4).as_map();
    assert_eq!((times.value(0).num_columns(), times.value(0).len(), times.null_count()), (2, 2, 4));
}

#[tokio::test]
async fn tools_can_look_around() {
    let (world, running) = fleet().await;
    let mut client = client(&world, &running);
    let list: Vec<_> = client.list_flights(Vec::<u8>::new()).await.unwrap().try_collect().await.unwrap();
    let names: Vec<_> = list.iter().map(|info| info.flight_descriptor.clone().unwrap().path).collect();
    assert_eq!(names, [["mode"], ["temperature"]]);
    let some: Vec<_> = client
        .list_flights(r#"{device="d2"}"#.as_bytes().to_vec())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(some.len(), 1);

    let request = AggregateRequest { by: vec!["site".into()], ..query_request("temperature") };
    let descriptor = FlightDescriptor::new_cmd(request.encode_to_vec());
    let info = client.get_flight_info(descriptor.clone()).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<RecordBatch> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    let promised = info.try_decode_schema().unwrap();
    assert_eq!(promised.fields(), batches[0].schema().fields());
    assert_eq!(client.get_schema(descriptor).await.unwrap().fields(), promised.fields());
    assert_eq!(batches[0].num_rows(), 2);
    let path = client.get_flight_info(FlightDescriptor::new_path(vec!["mode".into()])).await.unwrap();
    assert_eq!(path.try_decode_schema().unwrap().field(1).name(), "labels");
}

#[tokio::test]
async fn what_is_not_served_is_refused_in_words() {
    let (world, running) = fleet().await;
    let channel = world.channel(running.addr, &super::rig::operator());
    let mut client = FlightServiceClient::new(channel);
    let refused = client.do_get(Ticket::new(vec![0xff])).await.unwrap_err();
    assert!(refused.message().contains("AggregateRequest"), "{refused}");
    for (change, word) in [
        (AggregateRequest { aggregates: vec!["p200".into()], ..query_request("m") }, "unknown aggregate"),
        (AggregateRequest { to_ms: 0, ..query_request("m") }, "range is empty"),
        (AggregateRequest { time_zone: "Europe/Berln".into(), ..query_request("m") }, "Europe/Berlin"),
    ] {
        let refused = client.do_get(Ticket::new(change.encode_to_vec())).await.unwrap_err();
        assert!(refused.code() == Code::InvalidArgument && refused.message().contains(word), "{refused}");
    }
    let refused = client.list_actions(arrow_flight::Empty {}).await.unwrap_err();
    assert!(refused.code() == Code::Unimplemented && refused.message().contains("no actions"), "{refused}");
    let refused = client.do_put(tokio_stream::empty()).await.unwrap_err();
    assert!(refused.code() == Code::Unimplemented && refused.message().contains("gateway"), "{refused}");

    let channel = world.channel(running.addr, &site_gateway("berlin"));
    let mut stranger = FlightServiceClient::new(channel);
    let ticket = Ticket::new(query_request("m").encode_to_vec());
    for status in [
        stranger.do_get(ticket).await.unwrap_err(),
        stranger.list_flights(Criteria::default()).await.unwrap_err(),
        stranger.get_flight_info(FlightDescriptor::new_path(vec!["m".into()])).await.unwrap_err(),
        stranger.get_schema(FlightDescriptor::new_path(vec!["m".into()])).await.unwrap_err(),
        stranger.list_actions(arrow_flight::Empty {}).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    }
}
