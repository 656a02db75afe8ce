//! PromQL over the store: runs expressions and lists of series as queries of an operator.
//!
//! Data path of an expression: `run` (evaluates it as a query, and sends the answer) → `source` (what the evaluator asks
//! of the store) → `views`, `select` (which series, by both names of a metric) → `widths`, `cuts` (where time is cut) →
//! `batches` (parts of the query, a few ahead) → `read` (one part) → `fold` (rows into panes) → `figures`.
//!
//! * `notes`: what is said with an answer: from when on it is incomplete, and why.
//! * `lists`: series, label names and label values.
//! * `failure`: why there is no answer, as the HTTP side says it.

mod batches;
mod cuts;
mod failure;
mod figures;
mod fold;
mod lists;
mod notes;
mod read;
mod run;
mod select;
mod source;
#[cfg(test)]
mod tests;
mod views;
mod widths;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use catchment_promql::{Answer, Labels, Matcher, Plan};
use futures_util::StreamExt as _;
use tokio_stream::Stream;
use tonic::Response;

pub(crate) use failure::{Failure, FailureKind};

use super::{ResponseStream, Runner, scan::Present, sink::Sink};
use crate::{access::CallingOperator, clock, ingest::StreamRegistry, metrics::Metrics, store::QueryStore};

/// A written answer, chunk by chunk. An error after the first chunk means that it is cut short.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// Writes an answer; runs on a query thread, which may yield after each chunk. Chunks of about 64 KiB are best.
pub(crate) type Written = Box<dyn Iterator<Item = Bytes> + Send>;

/// PromQL over the store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Promql {
    pub(crate) store: Arc<dyn QueryStore>,
    pub(crate) runner: Runner,
    pub(crate) streams: Arc<StreamRegistry>,
    /// How far ahead of the clock a watermark is believed.
    pub(crate) clock_tolerance: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

/// How an expression is answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Shortens the time that a query may take; `None` or longer: that of the configuration.
    pub(crate) timeout: Option<Duration>,
    /// Leaves out values of times for which readings may still come.
    pub(crate) hide_incomplete: bool,
}

/// Which series are listed: those that one of the lists of matchers selects (all, if there is none), with windows that
/// start in `[from_ms, to_ms)`.
#[derive(Clone, Debug)]
pub(crate) struct ListRequest {
    pub(crate) matches: Vec<Arc<[Matcher]>>,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// Most items; `None`: as many as memory allows.
    pub(crate) limit: Option<usize>,
    /// As in [`Options`].
    pub(crate) timeout: Option<Duration>,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listing<T> {
    /// Sorted, each once.
    pub(crate) items: Vec<T>,
    /// There are more than the limit.
    pub(crate) truncated: bool,
}

impl Promql {
    /// Evaluates a plan and writes the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn evaluate(
        &self,
        caller: &CallingOperator,
        plan: Plan,
        options: Options,
        write: impl FnOnce(Answer) -> Written + Send + 'static,
    ) -> Result<Chunks, Failure> {
        tracing::debug!(operator = %caller.operator, expression = %plan.text.escape_debug(), "PromQL");
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let present = Present {
            now_ms: clock::now_ms(),
            clock_tolerance: self.clock_tolerance,
            streams: Arc::clone(&self.streams),
        };
        let work = move |sink| run::evaluate(store, metrics, present, (plan, options), sink, write);
        Ok(chunks(self.runner.run_within(caller, options.timeout, work).await?))
    }

    /// Does work before a text is an expression or a list of matchers, on a query thread in a slot of the caller.
    ///
    /// # Errors
    /// It was not done.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        caller: &CallingOperator,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(self.runner.compute(caller, work).await?)
    }

    /// Lists series with their labels.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn series(
        &self,
        caller: &CallingOperator,
        request: ListRequest,
        write: impl FnOnce(Listing<Labels>) -> Written + Send + 'static,
    ) -> Result<Chunks, Failure> {
        let (store, timeout) = (Arc::clone(&self.store), request.timeout);
        let work = move |sink: Sink<Bytes>| async move {
            let written = write(lists::series(&*store, &request, &sink).await?);
            run::send(&sink, written).await
        };
        Ok(chunks(self.runner.run_within(caller, timeout, work).await?))
    }

    /// Lists names of labels.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn label_names(
        &self,
        caller: &CallingOperator,
        request: ListRequest,
        write: impl FnOnce(Listing<Arc<str>>) -> Written + Send + 'static,
    ) -> Result<Chunks, Failure> {
        let (store, timeout) = (Arc::clone(&self.store), request.timeout);
        let work = move |sink: Sink<Bytes>| async move {
            let written = write(lists::label_names(&*store, &request, &sink).await?);
            run::send(&sink, written).await
        };
        Ok(chunks(self.runner.run_within(caller, timeout, work).await?))
    }

    /// Lists values of a label; names of metrics of windows (`temperature:window`) only where a matcher asks for them.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn label_values(
        &self,
        caller: &CallingOperator,
        label: Arc<str>,
        request: ListRequest,
        write: impl FnOnce(Listing<Arc<str>>) -> Written + Send + 'static,
    ) -> Result<Chunks, Failure> {
        let (store, timeout) = (Arc::clone(&self.store), request.timeout);
        let work = move |sink: Sink<Bytes>| async move {
            let written = write(lists::label_values(&*store, &label, &request, &sink).await?);
            run::send(&sink, written).await
        };
        Ok(chunks(self.runner.run_within(caller, timeout, work).await?))
    }
}

fn chunks(response: Response<ResponseStream<Bytes>>) -> Chunks {
    Box::pin(response.into_inner().map(|chunk| chunk.map_err(Failure::from)))
}
