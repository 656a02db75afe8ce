//! The metrics, a flight each.

use std::collections::BTreeSet;

use arrow_flight::{FlightDescriptor, FlightInfo};
use arrow_schema::Schema;

use super::request;
use crate::{
    clock,
    query::{QueryError, Sink, each_series},
    selector::Selector,
    store::QueryStore,
};

/// Approximate memory of a metric's name among many, and of its message without the name.
const NAME_BYTES: usize = 96;
const MESSAGE_BYTES: usize = 1_024;

/// Lists the metrics of the series that a selector matches, in order of their names; of all if it is empty. Their number
/// is bounded by the memory of queries.
///
/// # Errors
/// What ended it early.
pub(super) async fn execute(
    store: &dyn QueryStore,
    selector: &str,
    schema: &Schema,
    sink: &Sink<FlightInfo>,
) -> Result<(), QueryError> {
    let selector = Selector::parse_or_all(selector)?;
    let (mut metrics, mut bytes) = (BTreeSet::new(), 0);
    each_series(store, &selector, sink, |entry| {
        if !metrics.contains(&entry.key.metric) {
            bytes += NAME_BYTES + entry.key.metric.as_str().len();
            metrics.insert(entry.key.metric);
        }
        bytes
    })
    .await?;
    let now_ms = clock::now_ms();
    while let Some(metric) = metrics.pop_first() {
        sink.yield_point().await?;
        let name = metric.as_str();
        let descriptor = FlightDescriptor::new_path(vec![name.to_owned()]);
        let info = request::info(descriptor, &request::of_metric(name, now_ms), schema);
        // It was encoded before.
        let info = info.map_err(|_| QueryError::Panicked)?;
        sink.send(info, MESSAGE_BYTES + 3 * name.len()).await?;
    }
    Ok(())
}
