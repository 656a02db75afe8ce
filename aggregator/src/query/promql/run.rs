//! Evaluates a plan as a query: again where wider windows were found, then the answer, chunk by chunk.

use std::sync::Arc;

use bytes::Bytes;
use catchment_promql::{Answer, Plan, Samples, Series, Value};

use super::{
    super::{error::QueryError, scan::Present, sink::Sink},
    Options, Written,
    source::StoreSource,
};
use crate::{metrics::Metrics, store::QueryStore};

/// How often an expression is evaluated anew.
const RETRIES: usize = 8;

/// Evaluates a plan, and sends what `write` makes of the answer.
///
/// # Errors
/// What ends the query.
pub(super) async fn evaluate(
    store: Arc<dyn QueryStore>,
    metrics: Arc<Metrics>,
    present: Present,
    (plan, options): (Plan, Options),
    sink: Sink<Bytes>,
    write: impl FnOnce(Answer) -> Written + Send,
) -> Result<(), QueryError> {
    let source = StoreSource::open(store, &sink, &present, plan.grid).await?;
    let result = answer(&plan, &source).await;
    // Their memory and threads are the query's: it ends after its parts.
    sink.task.stop_parts().await;
    let mut answer = result?;
    source.take_notes().put_into(&mut answer, plan.grid, options.hide_incomplete);
    drop(source);
    let (values, bytes) = size(&answer.value);
    sink.set_memory(bytes)?;
    metrics.query_points.inc_by(values);
    send(&sink, write(answer)).await
}

async fn answer(plan: &Plan, source: &StoreSource<'_>) -> Result<Answer, QueryError> {
    let mut retries = 0;
    loop {
        let result = catchment_promql::evaluate(plan, source).await;
        match result {
            Err(_) if source.must_begin_anew() && retries < RETRIES => retries += 1,
            result => return Ok(result?),
        }
    }
}

/// Sends what is written.
///
/// # Errors
/// What ends the query.
pub(super) async fn send(sink: &Sink<Bytes>, written: Written) -> Result<(), QueryError> {
    for chunk in written {
        sink.yield_point().await?;
        let bytes = chunk.len();
        sink.send(chunk, bytes).await?;
    }
    Ok(())
}

/// Number of values of an answer, and its memory in bytes.
fn size(value: &Value) -> (u64, usize) {
    let count = |series: &Series| match &series.samples {
        Samples::Floats(column) => column.iter().count(),
        Samples::Windows(windows) => windows.iter().flatten().count(),
    };
    match value {
        Value::Scalar(numbers) => (numbers.len() as u64, size_of_val(numbers.as_slice())),
        Value::Text(text) => (1, text.len()),
        Value::Vector(series) => {
            (series.iter().map(count).sum::<usize>() as u64, series.iter().map(Series::bytes).sum())
        }
    }
}
