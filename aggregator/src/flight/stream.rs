//! The messages of an answer into Flight's messages, as they come: the schema with what the header says, then batches.
//!
//! Every stream ends with a batch without rows whose `app_metadata` is the header as JSON. It is the one that counts: if
//! stored windows turn out to be damaged while the answer is read, that is known only then, and the metadata of the schema
//! was sent long before.
//!
//! A batch is converted in about a millisecond by the task that sends it; the query's threads work ahead meanwhile, as far
//! as its result queue allows.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use arrow_flight::FlightData;
use catchment_columns::{Layout, Rows, header_json, metadata};
use catchment_proto::wire::{AggregateResponse, Header, aggregate_response::Kind};
use tokio_stream::Stream;
use tonic::Status;

use super::encoder::{Encoder, status};
use crate::query::ResponseStream;

/// An answer as batches.
pub(super) struct Batches {
    answer: ResponseStream<AggregateResponse>,
    layout: Layout,
    encoder: Encoder,
    /// Once the header has come.
    rows: Option<Rows>,
    /// The last one that came.
    header: Header,
    /// What the reader takes next.
    ready: VecDeque<FlightData>,
    over: bool,
}

impl Batches {
    /// The answer to a request whose columns these are.
    pub(super) fn new(answer: ResponseStream<AggregateResponse>, layout: Layout) -> Self {
        Self {
            answer,
            layout,
            encoder: Encoder::new(),
            rows: None,
            header: Header::default(),
            ready: VecDeque::new(),
            over: false,
        }
    }

    fn push(&mut self, message: AggregateResponse) -> Result<(), Status> {
        match message.kind {
            Some(Kind::Header(header)) => {
                if self.rows.is_none() {
                    let schema = self.layout.schema_with(metadata(&header));
                    self.ready.push_back(self.encoder.schema(&schema));
                    self.rows = Some(Rows::new(self.layout.clone(), schema));
                }
                self.header = header;
            }
            Some(Kind::Series(series)) => {
                let rows = self.rows.as_mut().ok_or_else(headless)?;
                rows.push(series);
                if rows.is_full() {
                    let batch = rows.take().map_err(status)?;
                    self.ready.extend(self.encoder.batch(&batch)?);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The rows that are left, then the end.
    fn finish(&mut self) -> Result<(), Status> {
        let rows = self.rows.as_mut().ok_or_else(headless)?;
        if !rows.is_empty() {
            let batch = rows.take().map_err(status)?;
            self.ready.extend(self.encoder.batch(&batch)?);
        }
        let end = self.encoder.batch(&rows.take().map_err(status)?)?;
        self.ready.extend(end);
        if let Some(end) = self.ready.back_mut() {
            end.app_metadata = header_json(&self.header).into();
        }
        Ok(())
    }
}

/// Every answer begins with its header.
fn headless() -> Status {
    Status::internal("the answer has no header; this is a defect of the aggregator")
}

impl Stream for Batches {
    type Item = Result<FlightData, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(data) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(data)));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let done = match ready!(this.answer.as_mut().poll_next(context)) {
                Some(Ok(message)) => this.push(message),
                Some(Err(status)) => Err(status),
                None => {
                    this.over = true;
                    this.finish()
                }
            };
            if let Err(status) = done {
                this.over = true;
                this.ready.clear();
                return Poll::Ready(Some(Err(status)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
