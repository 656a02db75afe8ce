//! What the page asks for, as JSON: lists of the fleet and the points of charts.
//!
//! `parameters` (of the URL) → `connection` (one gRPC client, made again after a failure) → `lists` (devices and gateways,
//! listed once for all pages) or `explore` (a query, whose `step` fits the panel) → `fleet`, `gateways`, `devices` (what is shown of the lists).

mod connection;
mod devices;
mod error;
mod explore;
mod fleet;
mod gateways;
mod lists;
mod parameters;
mod step;

use std::{path::Path, time::Duration};

use catchment_settings::text::one_line;
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use self::{connection::Connection, error::DataError, lists::Lists, parameters::Parameters};
use crate::proxy::{Body, whole};

/// Requests that are answered at once; further ones wait, as many as there are connections.
const AT_ONCE: usize = 8;
/// How long an answer may take, with the wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers `/data/…`.
pub(super) struct Data {
    connection: Connection,
    lists: Lists,
    slots: Semaphore,
}

impl Data {
    /// Of an aggregator, with the identity in a folder.
    pub(super) fn new(aggregator: &str, identity: &Path) -> Self {
        let connection = Connection::new(aggregator, identity);
        Self { connection, lists: Lists::default(), slots: Semaphore::new(AT_ONCE) }
    }

    /// The answer to `/data/NAME?QUERY`; `None`: there is no such name.
    pub(super) async fn answer(&self, name: &str, query: &str) -> Option<Response<Body>> {
        let parameters = Parameters::parse(query);
        let answer = timeout(ANSWER_TIMEOUT, self.json(name, parameters)).await;
        match answer.unwrap_or(Err(DataError::Timeout)) {
            Ok(None) => None,
            Ok(Some(json)) => Some(response(StatusCode::OK, json)),
            Err(error) => {
                let said = Said { error: one_line(&error.to_string()), kind: error.kind() };
                Some(response(error.status(), serde_json::to_string(&said).unwrap_or_default()))
            }
        }
    }

    async fn json(&self, name: &str, parameters: Parameters) -> Result<Option<String>, DataError> {
        // It is never closed.
        let _slot = self.slots.acquire().await;
        match name {
            "about" => text(&self.connection.about()).map(Some),
            "explore" => {
                let answer = explore::answer(&self.connection, &parameters).await?;
                spawn_blocking(move || text(&answer).map(Some)).await?
            }
            "fleet" | "gateways" | "devices" => {
                let listed = self.lists.fresh(&self.connection).await?;
                let name = name.to_owned();
                // Sorting a large fleet takes a while.
                spawn_blocking(move || match name.as_str() {
                    "fleet" => text(&fleet::answer(&listed, &parameters)?).map(Some),
                    "gateways" => text(&gateways::answer(&listed, &parameters)?).map(Some),
                    _ => text(&devices::answer(&listed, &parameters)?).map(Some),
                })
                .await?
            }
            _ => Ok(None),
        }
    }
}

/// An error as the page shows it.
#[derive(Serialize)]
struct Said {
    error: String,
    kind: &'static str,
}

fn text(answer: &impl Serialize) -> Result<String, DataError> {
    serde_json::to_string(answer).map_err(|error| DataError::Parameter(error.to_string()))
}

fn response(status: StatusCode, json: String) -> Response<Body> {
    let mut answer = Response::new(whole(json));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
