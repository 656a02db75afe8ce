//! Queries for aggregates: the whole result, or its messages as they come.

use catchment_proto::wire::{self, aggregate_response::Kind};

use super::{AggregatorClient, ClientError, RESULT_POINTS_MAX};
use crate::query_result::{QueryRequest, QueryResult};

impl AggregatorClient {
    /// Queries aggregates.
    ///
    /// # Errors
    /// The aggregator refuses the request, the role lacks the right, or the connection fails.
    pub async fn aggregate(&mut self, query: &QueryRequest) -> Result<QueryResult, ClientError> {
        let mut result = QueryResult::default();
        if !query.more_selectors.is_empty() {
            result.selectors = query.selectors().cloned().collect();
        }
        let mut points = 0_usize;
        self.answer(query, |message| {
            if let Some(Kind::Series(series)) = &message.kind {
                let columns = series.columns.as_ref().map_or(0, |columns| columns.start_ms.len());
                points = points.saturating_add(series.points.len().max(columns)).saturating_add(1);
            }
            if points > RESULT_POINTS_MAX {
                return Err(ClientError::TooMuch);
            }
            result.push_message(message);
            Ok(())
        })
        .await?;
        Ok(result)
    }

    /// Queries aggregates, and gives each message of the answer to `take` as it comes: there may be any number.
    ///
    /// # Errors
    /// As [`Self::aggregate`], and those of `take`.
    pub(crate) async fn answer<E: From<ClientError>>(
        &mut self,
        query: &QueryRequest,
        mut take: impl FnMut(wire::AggregateResponse) -> Result<(), E>,
    ) -> Result<(), E> {
        let response = self.query.aggregate(query.to_wire()).await;
        let mut stream = response.map_err(|status| self.refused(&status))?.into_inner();
        while let Some(message) = stream.message().await.map_err(|status| self.refused(&status))? {
            if let Some(Kind::Header(header)) = &message.kind
                && header.request_version < 1
                && query.needs_version_1()
            {
                return Err(ClientError::Old { server: self.server.clone() }.into());
            }
            take(message)?;
        }
        Ok(())
    }
}
