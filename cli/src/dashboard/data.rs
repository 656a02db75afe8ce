//! What the page asks for, as JSON: lists of the fleet and the points of charts.
//!
//! `parameters` (of the URL) → `connection` (one gRPC client, made again after a failure) → `lists` (the state of the fleet,
//! asked for once for all pages) or `explore` (a query, whose `step` fits the panel) → `fleet`, `gateways`, `devices` (what is shown of
//! the lists). `live`: a chart, and then each `round` of its changes as the aggregator pushes them. `unread`: the room of answers
//! until they are sent.

mod connection;
mod devices;
mod error;
mod explore;
mod fleet;
mod gateways;
mod lists;
mod live;
mod parameters;
mod round;
mod step;
mod unread;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use catchment_settings::text::one_line;
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use self::{
    connection::Connection, error::DataError, lists::Lists, live::Live, parameters::Parameters,
    unread::Unread,
};
use crate::proxy::{Body, whole};

/// Requests that are answered at once; further ones wait, as many as there are connections.
const AT_ONCE: usize = 8;
/// How long an answer may take, with the wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers `/data/…`.
pub(super) struct Data {
    connection: Arc<Connection>,
    lists: Lists,
    live: Live,
    slots: Semaphore,
    unread: Arc<Unread>,
}

impl Data {
    /// Of an aggregator, with the identity in a folder.
    pub(super) fn new(aggregator: &str, identity: &Path) -> Self {
        let connection = Arc::new(Connection::new(aggregator, identity));
        let slots = Semaphore::new(AT_ONCE);
        let unread = Arc::new(Unread::default());
        Self { connection, lists: Lists::default(), live: Live::default(), slots, unread }
    }

    /// Connects, and asks for the first view, which is kept for a moment.
    pub(super) async fn prepare(&self) {
        // It fails again, with words, when the page asks.
        let _ = self.answer("fleet", "").await;
    }

    /// Ends answers that have not ended by themselves.
    pub(super) fn stop(&self) {
        self.live.stop();
    }

    /// The answer to `/data/NAME?QUERY`; `None`: there is no such name.
    pub(super) async fn answer(&self, name: &str, query: &str) -> Option<Response<Body>> {
        let parameters = Parameters::parse(query);
        let answer = timeout(ANSWER_TIMEOUT, self.body(name, parameters)).await;
        match answer.unwrap_or(Err(DataError::Timeout)) {
            Ok(answer) => answer,
            Err(error) => {
                let said = Said { error: one_line(&error.to_string()), kind: error.kind() };
                Some(response(error.status(), serde_json::to_string(&said).unwrap_or_default()))
            }
        }
    }

    async fn body(&self, name: &str, parameters: Parameters) -> Result<Option<Response<Body>>, DataError> {
        // It is never closed. A live chart leaves it when it has begun.
        let _slot = self.slots.acquire().await;
        if name == "live" {
            return self.live.answer(&self.connection, &self.unread, parameters).await.map(Some);
        }
        let Some(json) = self.json(name, parameters).await? else { return Ok(None) };
        // It keeps its slot meanwhile: as many answers at most wait for room.
        Ok(Some(response(StatusCode::OK, self.unread.hold(json.into_bytes()).await)))
    }

    async fn json(&self, name: &str, parameters: Parameters) -> Result<Option<String>, DataError> {
        match name {
            "about" => text(&self.connection.about()).map(Some),
            "explore" => {
                let answer = explore::answer(&self.connection, &parameters).await?;
                spawn_blocking(move || text(&answer).map(Some)).await?
            }
            "fleet" => fleet::answer(&self.connection, &self.lists, parameters).await.map(Some),
            "gateways" => gateways::answer(&self.connection, &self.lists, parameters).await.map(Some),
            "devices" => devices::answer(&self.connection, &self.lists, parameters).await.map(Some),
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

fn response(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(whole(json));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn answers_wait_until_others_are_read() {
        let mut data = Data::new("https://localhost:1", Path::new("identity"));
        let length = text(&data.connection.about()).unwrap().capacity() as u32;
        data.unread = Arc::new(Unread::of(2 * length));
        let data = Arc::new(data);
        let ask = || {
            let data = Arc::clone(&data);
            tokio::spawn(async move { data.answer("about", "").await.unwrap() })
        };
        let (first, second) = (ask().await.unwrap(), ask().await.unwrap());
        let third = ask();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!third.is_finished(), "there is room for two");
        let read = first.into_body().collect().await.unwrap().to_bytes();
        assert!(!third.is_finished(), "what was taken is not yet sent");
        drop(read);
        let third = third.await.unwrap();
        // One that is given up makes room as well.
        drop(second);
        drop(third);
        assert_eq!(ask().await.unwrap().status(), StatusCode::OK);
    }
}
