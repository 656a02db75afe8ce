//! A live chart: its points, then every change of them, as lines of JSON until the page closes.
//!
//! The first line is the chart. Then the aggregator pushes (`Query.Watch`), and each round of changes is a line. While the
//! aggregator is away, a line says so, and the watch continues from its token later. A page that reads slowly makes the watch
//! wait, and the aggregator merges what changes meanwhile. Lines count among the answers that are not sent.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use catchment_proto::wire::{WatchResponse, watch_response::Kind};
use catchment_settings::text::one_line;
use http_body_util::BodyExt as _;
use hyper::{Response, body::Frame, header};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};
use tonic::Code;

use super::{
    connection::Connection,
    error::DataError,
    explore::{self, Chart},
    parameters::Parameters,
    round::{Round, Rounds},
    text,
    unread::Unread,
};
use crate::{aggregator_client::ClientError, length::Length, proxy::Body};

/// Pages that are pushed to at once; further ones ask from time to time.
const PAGES_MAX: usize = 32;
/// Lines that wait for a page.
const LINES_MAX: usize = 2;
/// The first pause after the aggregator went away; it doubles up to the last.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The live charts of a dashboard.
pub(super) struct Live {
    slots: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

/// A line to the page.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The chart as it is now. Always first.
    Chart(Box<Chart>),
    /// What has changed.
    Round(Round),
    /// The aggregator does not answer; rounds follow when it does again.
    Away(String),
    /// The last line: nothing is pushed, for this reason; the page is to ask now and then.
    Poll(String),
}

/// Nobody reads the lines any more.
struct Gone;

impl Default for Live {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(PAGES_MAX)), stop: watch::Sender::new(false) }
    }
}

impl Live {
    /// Ends all live charts, so that the server can stop.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Answers with a chart and its changes.
    ///
    /// # Errors
    /// A parameter is wrong, or the aggregator refuses or is away.
    pub(super) async fn answer(
        &self,
        connection: &Arc<Connection>,
        unread: &Arc<Unread>,
        parameters: Parameters,
    ) -> Result<Response<Body>, DataError> {
        let (chart, step) = explore::answer_with_step(connection, &parameters).await?;
        let (lines, body) = mpsc::channel(LINES_MAX);
        let unpushed = unpushed(&parameters, &chart);
        let (connection, unread) = (Arc::clone(connection), Arc::clone(unread));
        let page = Page { connection, unread, parameters, step, lines };
        // While the request still has its slot: charts wait for room there.
        let first = page.line(Line::Chart(Box::new(chart))).await?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        let mut stopped = self.stop.subscribe();
        let closed = page.lines.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Whatever it ends with, the page sees the end of the body.
                _ = page.serve(first, unpushed, slot) => {}
                () = closed.closed() => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        let mut answer = Response::new(Lines(body).boxed_unsync());
        let kind = header::HeaderValue::from_static("application/jsonl");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(answer)
    }
}

/// Why a chart cannot be pushed; `None`: it can.
fn unpushed(parameters: &Parameters, chart: &Chart) -> Option<&'static str> {
    if !matches!(parameters.text("to"), "" | "now") {
        return Some("the range does not end now");
    }
    // Which series are shown may change with every point.
    chart.more.then_some("there are more series than are shown")
}

/// A page that is served.
struct Page {
    connection: Arc<Connection>,
    unread: Arc<Unread>,
    parameters: Parameters,
    step: Length,
    lines: mpsc::Sender<Bytes>,
}

impl Page {
    async fn serve(
        self,
        first: Bytes,
        unpushed: Option<&'static str>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Gone> {
        self.lines.send(first).await.map_err(|_| Gone)?;
        let why = match (unpushed, slot) {
            (Some(why), _) => why.to_owned(),
            (None, None) => format!("{PAGES_MAX} pages are live"),
            (None, Some(_slot)) => self.follow().await?,
        };
        self.send(Line::Poll(why)).await
    }

    /// Pushes until that cannot go on; returns why.
    async fn follow(&self) -> Result<String, Gone> {
        let mut rounds = Rounds::default();
        let mut pause = PAUSE;
        loop {
            let before = rounds.token();
            let error = match self.watch(&mut rounds).await {
                Ok(End::Gone) => return Err(Gone),
                Ok(End::Many) => return Ok("there are more series than are shown".to_owned()),
                Err(error) => error,
            };
            let words = one_line(&error.to_string());
            if is_refused(&error) {
                return Ok(words);
            }
            if rounds.token() != before {
                pause = PAUSE;
            }
            self.send(Line::Away(words)).await?;
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One watch, until it ends.
    async fn watch(&self, rounds: &mut Rounds) -> Result<End, DataError> {
        let watching = async {
            let mut client = self.connection.client().await?;
            let request = explore::watched(&self.parameters, self.step)?;
            let mut stream = client.watch(&request, rounds.token()).await?;
            rounds.begin(request.to_ms.saturating_sub(request.from_ms));
            loop {
                let message = stream.message().await.map_err(|status| client.refused(&status))?;
                let Some(message) = message else {
                    return Err(ClientError::Cut { server: self.connection.aggregator().to_owned() }.into());
                };
                if let Some(end) = self.take(rounds, message).await? {
                    return Ok(end);
                }
            }
        };
        self.connection.note(watching.await).await
    }

    async fn take(&self, rounds: &mut Rounds, message: WatchResponse) -> Result<Option<End>, DataError> {
        let is_progress = matches!(message.kind, Some(Kind::Progress(_)));
        rounds.take(message)?;
        if rounds.are_many() {
            return Ok(Some(End::Many));
        }
        if is_progress && self.send(Line::Round(rounds.finish())).await.is_err() {
            return Ok(Some(End::Gone));
        }
        Ok(None)
    }

    async fn send(&self, line: Line) -> Result<(), Gone> {
        let line = self.line(line).await.map_err(|_| Gone)?;
        self.lines.send(line).await.map_err(|_| Gone)
    }

    /// The text of a line, once there is room for it.
    async fn line(&self, line: Line) -> Result<Bytes, DataError> {
        // A whole chart takes a while.
        let mut text = spawn_blocking(move || text(&line)).await??;
        text.push('\n');
        Ok(self.unread.hold(text.into_bytes()).await)
    }
}

/// Why a watch ended.
enum End {
    /// The page is closed.
    Gone,
    /// It has more series than are shown.
    Many,
}

/// Whether the same watch would be refused again.
fn is_refused(error: &DataError) -> bool {
    let exhausted = |code: &Code| *code == Code::ResourceExhausted || *code == Code::FailedPrecondition;
    match error {
        DataError::Client(ClientError::Status { code, .. }) if exhausted(code) => true,
        error => error.is_final(),
    }
}

/// The body: the lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
