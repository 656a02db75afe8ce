use arrow_flight::{decode::FlightRecordBatchStream, error::FlightError};
use catchment_columns::{BATCH_ROWS, HEADER_KEY, Kind as ValueKind, LabelColumns};
use catchment_proto::wire::{Gap, PointColumns, SeriesPoints, ValueColumn};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::*;

fn layout() -> Layout {
    let aggregates = vec![("count".to_owned(), ValueKind::Number)];
    Layout::new(LabelColumns::Each(vec!["device".to_owned()]), false, "", aggregates)
}

fn header(gaps: usize) -> AggregateResponse {
    let gaps = vec![Gap { site: "berlin".to_owned(), ..Gap::default() }; gaps];
    AggregateResponse { kind: Some(Kind::Header(Header { gaps, ..Header::default() })) }
}

fn series(device: String, rows: usize) -> AggregateResponse {
    let columns = PointColumns {
        start_ms: vec![1; rows],
        columns: vec![ValueColumn { numbers: vec![1.0; rows], values: Vec::new() }],
    };
    let labels = [("device".to_owned(), device)].into();
    let series = SeriesPoints { labels, columns: Some(columns), ..SeriesPoints::default() };
    AggregateResponse { kind: Some(Kind::Series(series)) }
}

async fn encoded(answer: Vec<Result<AggregateResponse, Status>>) -> Vec<Result<FlightData, Status>> {
    Batches::new(Box::pin(tokio_stream::iter(answer)), layout()).collect().await
}

async fn decoded(encoded: Vec<Result<FlightData, Status>>) -> Vec<arrow_array::RecordBatch> {
    let data = tokio_stream::iter(encoded).map_err(FlightError::from);
    FlightRecordBatchStream::new_from_flight_data(data).try_collect().await.unwrap()
}

#[tokio::test]
async fn small_series_share_batches_and_dictionaries_stay_small() {
    let mut answer = vec![Ok(header(0))];
    answer.extend((0..BATCH_ROWS).map(|device| Ok(series(format!("device-{device}"), 2))));
    let batches = decoded(encoded(answer).await).await;
    let rows: Vec<usize> = batches.iter().map(arrow_array::RecordBatch::num_rows).collect();
    assert_eq!(rows.iter().sum::<usize>(), 2 * BATCH_ROWS);
    assert!(rows.len() < 12 && rows.last() == Some(&0), "{rows:?}");
    for batch in &batches {
        let device = batch.column(1).to_data();
        assert_eq!(device.child_data()[0].len(), batch.num_rows() / 2, "those of the batch alone");
    }
}

#[tokio::test]
async fn damage_that_is_found_late_is_in_the_last_message() {
    let encoded = encoded(vec![Ok(header(0)), Ok(series("a".to_owned(), 3)), Ok(header(1))]).await;
    let last = encoded.last().unwrap().as_ref().unwrap();
    let json = String::from_utf8(last.app_metadata.to_vec()).unwrap();
    assert!(json.contains(r#""site":"berlin""#), "{json}");
    let batches = decoded(encoded).await;
    assert_eq!(batches.iter().map(arrow_array::RecordBatch::num_rows).collect::<Vec<_>>(), [3, 0]);
    assert_eq!(batches[0].schema().metadata()[HEADER_KEY], r#"{"complete_until":null}"#);
}

#[tokio::test]
async fn an_answer_that_fails_ends_with_its_error_and_no_end() {
    let failed = encoded(vec![Ok(header(0)), Ok(series("a".to_owned(), 3)), Err(Status::aborted("x"))]).await;
    assert_eq!(failed.last().unwrap().as_ref().unwrap_err().code(), tonic::Code::Aborted);
    assert!(failed.iter().flatten().all(|data| data.app_metadata.is_empty()));
    let empty = decoded(encoded(vec![Ok(header(0))]).await).await;
    assert_eq!(empty.iter().map(arrow_array::RecordBatch::num_rows).collect::<Vec<_>>(), [0]);
    let headless = encoded(Vec::new()).await;
    assert_eq!(headless[0].as_ref().unwrap_err().code(), tonic::Code::Internal);
}
