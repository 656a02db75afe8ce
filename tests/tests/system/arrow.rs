//! Arrow and Parquet: a Flight client reads what `catchment query --format json` prints, and so does a reader of the files
//! that it writes.

use std::{fs, path::Path, process::Output};

use arrow_array::{
    Array as _, RecordBatch,
    cast::AsArray as _,
    types::{Float64Type, Int32Type, TimestampMillisecondType},
};
use arrow_flight::{FlightClient, Ticket};
use arrow_ipc::reader::StreamReader;
use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::AggregateRequest;
use catchment_tests::{delivery::Delivery, process::run, query, world::World};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

/// 2026-11-22T00:00:00Z.
const START: i64 = 1_795_305_600_000;
const AGGREGATES: [&str; 4] = ["count", "mean", "p99", "sample_stddev"];

/// A gateway of site rome delivers three devices, of which one is silent for a while.
async fn delivered(world: &World) {
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let mut delivery = Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, START).await;
    for (device, every) in [("a", 1), ("b", 3), ("c", 20)] {
        for minute in (0..30_i64).filter(|minute| minute % every == 0) {
            let time_ms = START + minute * 60_000;
            let mut partial = Partial::empty();
            for number in 0..=minute % 4 {
                partial.push(Timestamp::from_millis(time_ms).unwrap(), (minute * number) as f64 / 3.0);
            }
            delivery.deliver_partial(device, "temperature", time_ms, &partial, START + 3_600_000).await;
        }
    }
}

/// The rows of batches as `--format json` has them: labels, time and aggregates, `null` where there is none.
fn rows(batches: &[RecordBatch]) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let (mut labels, mut point) = (serde_json::Map::new(), serde_json::Map::new());
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                let name = field.name().clone();
                if let Some(label) = column.as_dictionary_opt::<Int32Type>() {
                    if let Some(key) = label.key(row) {
                        labels.insert(name, label.values().as_string::<i32>().value(key).into());
                    }
                } else if let Some(time) = column.as_primitive_opt::<TimestampMillisecondType>() {
                    point.insert("t".to_owned(), time.value(row).into());
                } else {
                    let numbers = column.as_primitive::<Float64Type>();
                    point.insert(name, numbers.is_valid(row).then(|| digits(numbers.value(row))).into());
                }
            }
            rows.push(json!([labels, point]));
        }
    }
    rows
}

/// The same of the JSON that the tool prints.
/// To fifteen digits: what this test reads JSON with may miss the last bit of a number.
fn digits(number: f64) -> f64 {
    format!("{number:.14e}").parse().unwrap()
}

fn rows_of_json(printed: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for series in printed["series"].as_array().unwrap() {
        for point in series["points"].as_array().unwrap() {
            let mut point = point.as_object().unwrap().clone();
            for (_, value) in &mut point {
                if let Some(number) = value.as_f64() {
                    *value = digits(number).into();
                }
            }
            let minute = point["t"].as_str().unwrap()[14..16].parse::<i64>().unwrap();
            point.insert("t".to_owned(), (START + minute * 60_000).into());
            rows.push(json!([series["labels"], point]));
        }
    }
    rows
}

struct Asking {
    url: String,
    identity: String,
}

impl Asking {
    async fn run(&self, arguments: &str) -> Output {
        let connection = ["--aggregator", &self.url, "--identity", &self.identity];
        let query = "query temperature --from 2026-11-22 --to 2026-11-22T00:30:00Z --step 5m --fill null --by site,device";
        let agg = format!("--agg {}", AGGREGATES.join(","));
        let all = [query, &agg, arguments].join(" ");
        let arguments: Vec<String> = all.split_whitespace().chain(connection).map(str::to_owned).collect();
        let run = move || run("catchment", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(output.status.success(), "{all}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

fn parquet(path: &Path) -> (Vec<RecordBatch>, String) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let metadata = reader.schema().metadata()["catchment"].clone();
    (reader.build().unwrap().map(Result::unwrap).collect(), metadata)
}

#[tokio::test]
async fn flight_and_files_have_what_json_prints() {
    let world = World::builder().start().await;
    delivered(&world).await;
    let url = format!("https://{}", world.aggregator.addr());
    let asking = Asking { url, identity: world.pki.operator().to_str().unwrap().to_owned() };
    let printed: Value = serde_json::from_slice(&asking.run("--format json").await.stdout).unwrap();
    let right = rows_of_json(&printed);
    assert_eq!(right.len(), 18, "three devices, six points");
    assert!(right.iter().any(|row| row[1]["mean"].is_null()), "some are filled");

    let request = AggregateRequest {
        selector: "temperature".to_owned(),
        from_ms: START,
        to_ms: START + 1_800_000,
        step_ms: 300_000,
        fill: 1,
        by: ["site", "device"].map(str::to_owned).to_vec(),
        aggregates: AGGREGATES.map(str::to_owned).to_vec(),
        ..AggregateRequest::default()
    };
    let mut client = FlightClient::new(world.operator());
    let mut stream = client.do_get(Ticket::new(request.encode_to_vec())).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch.unwrap());
    }
    assert_eq!(rows(&batches), right);
    let header: Value = serde_json::from_str(&batches[0].schema().metadata()["catchment"]).unwrap();
    assert_eq!(header["complete_until"], printed["complete_until"]);
    assert_eq!(header["completeness"]["expected"], 1);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("temperature.parquet");
    let output = asking.run(&format!("--format parquet -o {}", path.display())).await;
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("18 points"), "{output:?}");
    let (batches, metadata) = parquet(&path);
    assert_eq!(rows(&batches), right);
    let header: Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(header["complete_until"], printed["complete_until"]);

    // Standard output, and a file of any format.
    let piped = asking.run("--format parquet").await.stdout;
    fs::write(&path, piped).unwrap();
    assert_eq!(rows(&parquet(&path).0), right);
    let piped = asking.run("--format arrow").await.stdout;
    let reader = StreamReader::try_new(piped.as_slice(), None).unwrap();
    assert_eq!(rows(&reader.map(Result::unwrap).collect::<Vec<_>>()), right);
    let path = folder.path().join("temperature.json");
    asking.run(&format!("--format json -o {}", path.display())).await;
    let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(rows_of_json(&written), right);
}
