use std::fs;

use arrow_array::{cast::AsArray as _, types::Int32Type};
use arrow_ipc::reader::StreamReader;
use catchment_proto::wire::{Gap, PointColumns, SeriesPoints, ValueColumn};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn request() -> QueryRequest {
    QueryRequest { by: vec!["device".to_owned()], ..QueryRequest::default() }
}

fn header(gaps: usize) -> AggregateResponse {
    let gaps = vec![Gap { site: "berlin".to_owned(), ..Gap::default() }; gaps];
    let aggregates = vec!["mean".to_owned(), "last_state".to_owned()];
    AggregateResponse { kind: Some(Kind::Header(Header { gaps, aggregates, ..Header::default() })) }
}

fn series(device: &str, rows: usize) -> AggregateResponse {
    let columns = PointColumns {
        start_ms: vec![1_000; rows],
        columns: vec![ValueColumn { numbers: vec![0.5; rows], values: Vec::new() }, ValueColumn::default()],
    };
    let labels = [("device".to_owned(), device.to_owned())].into();
    let series = SeriesPoints { labels, columns: Some(columns), ..SeriesPoints::default() };
    AggregateResponse { kind: Some(Kind::Series(series)) }
}

/// Writes 40,000 points of two devices; damage is found late.
fn written(path: &Path, format: FileFormat) -> u64 {
    let (request, target) = (request(), Target::open(Some(path)).unwrap());
    let mut export = Export::new(&request, format, &target);
    for message in [header(0), series("a", 30_000), series("b", 10_000), header(1)] {
        assert!(export.push(message).is_ok());
    }
    let Ok((rows, header)) = export.finish() else { panic!("it is written") };
    assert!(!path.exists(), "a half file never has its name");
    assert_eq!(header.gaps.len(), 1);
    target.complete().unwrap();
    rows
}

#[test]
fn parquet_has_the_rows_and_the_last_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    assert_eq!(written(&path, FileFormat::Parquet), 40_000);
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    let metadata = reader.schema().metadata()["catchment"].clone();
    assert!(metadata.contains("berlin"), "{metadata}");
    let (mut rows, mut devices) = (0, Vec::new());
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        rows += batch.num_rows();
        assert_eq!(batch.column(3).null_count(), batch.num_rows(), "no states");
        let device = batch.column(1).as_dictionary::<Int32Type>();
        devices.extend(
            device
                .downcast_dict::<arrow_array::StringArray>()
                .unwrap()
                .into_iter()
                .flatten()
                .map(str::to_owned),
        );
    }
    assert_eq!(rows, 40_000);
    assert_eq!((devices[0].as_str(), devices[39_999].as_str()), ("a", "b"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn an_arrow_stream_has_the_rows_and_the_first_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrows");
    assert_eq!(written(&path, FileFormat::Arrow), 40_000);
    let reader = StreamReader::try_new(fs::File::open(&path).unwrap(), None).unwrap();
    assert_eq!(reader.schema().metadata()["catchment"], r#"{"complete_until":null}"#);
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 40_000);
}

#[test]
fn a_failed_export_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write_whole(&path, b"before").unwrap();
    let (request, target) = (request(), Target::open(Some(&path)).unwrap());
    let mut export = Export::new(&request, FileFormat::Arrow, &target);
    assert!(export.push(header(0)).is_ok() && export.push(series("a", 9)).is_ok());
    drop(export);
    drop(target);
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = write_whole(&folder.path().join("none").join("b"), b"x").unwrap_err();
    assert!(error.to_string().contains("--output") && error.exit_status() == 1, "{error}");
    assert!(write_whole(folder.path(), b"x").is_err(), "a folder is no file");
    // A device is written to, and stays what it is.
    write_whole(Path::new("/dev/null"), b"x").unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn columns_are_those_of_the_request() {
    let names = |request: &QueryRequest, aggregates: &[&str]| {
        let aggregates = aggregates.iter().map(|name| (*name).to_owned()).collect();
        let layout = layout(request, &Header { aggregates, ..Header::default() });
        layout.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&request(), &["mean"]), ["time", "device", "mean"]);
    let map = QueryRequest {
        without: vec!["gateway".to_owned()],
        more_selectors: vec!["m".to_owned()],
        ..QueryRequest::default()
    };
    assert_eq!(names(&map, &["p99"]), ["time", "selector", "labels", "p99"]);
    assert_eq!((kind("last_state"), kind("state_times")), (ValueKind::Text, ValueKind::States));
    assert_eq!((kind("sum/count"), kind("of the future")), (ValueKind::Number, ValueKind::Number));
}
