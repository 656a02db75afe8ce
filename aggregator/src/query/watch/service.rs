//! From a request to the stream of its messages.

use std::sync::Arc;

use catchment_proto::wire::{WatchRequest, WatchResponse};
use prost::Message as _;
use tonic::{Response, Status};

use super::{
    error::WatchError,
    hub::{Hub, WatchHub},
    reader::WatchReader,
    request::Request,
};
use crate::{
    access::CallingOperator,
    clock,
    metrics::Metrics,
    query::{
        compute::{are_quick, compute},
        runner::ResponseStream,
    },
};

/// A longer query has very many names, however short they are.
const QUICK_BYTES: usize = 1 << 11;

impl WatchHub {
    /// Opens a watch.
    ///
    /// # Errors
    /// The request is invalid, or there are too many watches.
    pub(crate) async fn watch(
        &self,
        caller: &CallingOperator,
        request: WatchRequest,
    ) -> Result<Response<ResponseStream<WatchResponse>>, Status> {
        let hub = &self.0;
        let opened = match checked(hub, caller, request).await {
            Ok(request) => hub.open(caller, request),
            Err(error) => Err(error),
        };
        let subscription = opened.map_err(|error: WatchError| {
            Metrics::count(&hub.metrics.watch.refused, error.reason());
            Status::from(error)
        })?;
        let reader = WatchReader { hub: Arc::clone(hub), subscription, over: false };
        Ok(Response::new(Box::pin(reader)))
    }
}

/// Checks a request: on a query thread, unless that takes no time. A page opens many watches at once, and most are short.
/// An operator who has no room for another watch is refused before.
async fn checked(hub: &Hub, caller: &CallingOperator, request: WatchRequest) -> Result<Request, WatchError> {
    if hub.is_stopping() {
        return Err(WatchError::Stopping);
    }
    hub.check_room(&hub.lock(), &caller.operator)?;
    let (now_ms, longest) = (clock::now_ms(), hub.queries.timeout);
    let is_quick = is_quick(&request);
    let check = move || Request::new(request, now_ms);
    let request = match is_quick {
        true => check()?,
        false => compute(&hub.workers, &caller.operator, longest, check).await??,
    };
    let selector = request.plan.selectors.first().map_or("", |selector| selector.text());
    tracing::debug!(operator = %caller.operator, selector = %selector.escape_debug(), "watch");
    Ok(request)
}

/// Whether a request is checked so quickly that it may be done at once. Not with steps of a calendar: their list is long.
fn is_quick(request: &WatchRequest) -> bool {
    let Some(query) = &request.query else { return true };
    let selectors = query.more_selectors.iter().chain([&query.selector]);
    let names = query.by.iter().chain(&query.without).chain(&query.aggregates);
    let texts = selectors.chain(names).chain([&query.time_zone, &query.order]);
    query.calendar_step.is_none()
        && are_quick(texts.map(String::as_str))
        && query.encoded_len() <= QUICK_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use catchment_proto::wire::{AggregateRequest, CalendarStep, calendar_step::Unit};

    use super::*;
    use crate::{
        config::WatchLimits,
        testing::{MemoryStore, TakenSlot, caller, one_slot_runner},
    };

    #[tokio::test]
    async fn a_request_is_checked_in_a_slot_of_its_operator() {
        let (metrics, ada) = (Metrics::new(), caller("ada"));
        let runner = one_slot_runner(&metrics);
        let (streams, watches) =
            (Arc::default(), WatchLimits { per_operator_max: 2, ..WatchLimits::default() });
        let store = Arc::new(MemoryStore::default());
        let streams = (&streams, Duration::ZERO);
        let hub = WatchHub::start(store, &runner, streams, &metrics, watches, &Arc::default()).unwrap();
        let of = |query: AggregateRequest| WatchRequest { query: Some(query), ..WatchRequest::default() };
        let short = AggregateRequest { selector: "m".to_owned(), step_ms: 1_000, ..Default::default() };
        let calendar = AggregateRequest {
            step_ms: 0,
            calendar_step: Some(CalendarStep { unit: Unit::Day.into(), count: 1 }),
            ..short.clone()
        };
        let slow = [
            AggregateRequest { selector: "m{a=~\"b.*\"}".to_owned(), ..short.clone() },
            AggregateRequest { selector: "m".repeat(2_000), ..short.clone() },
            AggregateRequest { by: vec![String::new(); 2_000], ..short.clone() },
            calendar.clone(),
        ];
        let taken = TakenSlot::take(&runner, &ada).await;
        for query in slow {
            let refused = hub.watch(&ada, of(query)).await.map(|_| ()).unwrap_err();
            assert!(refused.message().contains("waiting"), "{refused}");
        }
        let quick = hub.watch(&ada, of(short.clone())).await.unwrap();
        taken.free().await;
        // The watch that is open has a turn in the same slot.
        let slow = loop {
            match hub.watch(&ada, of(calendar.clone())).await {
                Ok(slow) => break slow,
                Err(error) => assert!(error.message().contains("waiting"), "{error}"),
            }
            tokio::task::yield_now().await;
        };
        let refused = hub.watch(&ada, of(short)).await.map(|_| ()).unwrap_err();
        assert!(refused.message().contains("watches_per_operator_max"), "{refused}");
        drop((quick, slow));
    }
}
