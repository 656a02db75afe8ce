//! The gRPC client behind all pages, made when it is needed and made again after a failure.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::Mutex;

use super::error::DataError;
use crate::aggregator_client::{AggregatorClient, ClientError};

/// How long a failed attempt stands for the next ones: pages wait together, and do not knock one by one.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection to an aggregator.
pub(super) struct Connection {
    aggregator: String,
    identity: PathBuf,
    state: Mutex<State>,
}

enum State {
    None,
    Made(Box<AggregatorClient>),
    Failed { at: Instant, reason: String, is_final: bool },
}

/// What the page says of its server.
#[derive(Serialize)]
pub(super) struct About<'a> {
    aggregator: &'a str,
    version: &'static str,
}

impl Connection {
    /// Of an aggregator, with the identity in a folder. Connects when it is used.
    pub(super) fn new(aggregator: &str, identity: &Path) -> Self {
        let (aggregator, identity) = (aggregator.to_owned(), identity.to_owned());
        Self { aggregator, identity, state: Mutex::new(State::None) }
    }

    /// Its URL.
    pub(super) fn aggregator(&self) -> &str {
        &self.aggregator
    }

    /// What the page says of its server.
    pub(super) fn about(&self) -> About<'_> {
        About { aggregator: &self.aggregator, version: env!("CARGO_PKG_VERSION") }
    }

    /// The client.
    ///
    /// # Errors
    /// The aggregator does not answer, or was away a moment ago.
    pub(super) async fn client(&self) -> Result<AggregatorClient, DataError> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Made(client) => return Ok(AggregatorClient::clone(client)),
            State::Failed { at, reason, is_final } if at.elapsed() < PAUSE => {
                return Err(DataError::Away { reason: reason.clone(), is_final: *is_final });
            }
            State::None | State::Failed { .. } => {}
        }
        // With the identity that is in the folder now: it may have been renewed.
        match AggregatorClient::connect(&self.aggregator, &self.identity).await {
            Ok(client) => {
                *state = State::Made(Box::new(client.clone()));
                Ok(client)
            }
            Err(error) => {
                let (reason, is_final) = (error.to_string(), error.is_final());
                *state = State::Failed { at: Instant::now(), reason, is_final };
                Err(error.into())
            }
        }
    }

    /// Notes what came of a request: after a failed connection, the next one begins anew.
    ///
    /// # Errors
    /// That of the request.
    pub(super) async fn note<T>(&self, result: Result<T, DataError>) -> Result<T, DataError> {
        let failed = matches!(
            &result,
            Err(DataError::Client(ClientError::Connect { .. } | ClientError::Status { .. }))
        );
        // What an older aggregator does not know is no failure of the connection.
        if failed && !result.as_ref().is_err_and(DataError::is_unknown) {
            *self.state.lock().await = State::None;
        }
        result
    }
}
