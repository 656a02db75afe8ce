//! Asks the aggregator, again and again, for what the screen shows.
//!
//! Its load is bounded: one question at a time, for one view, and after each a pause of at least four times what it took.
//! Sparklines are asked for the rows on the screen alone, and again only when these change or after half a minute.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use catchment_proto::wire;
use tokio::sync::watch;

use super::{
    rows::{self, Collector, Key, Rows},
    spark::{self, Spark},
    state::{Asked, PAGE_ROWS, Sort},
};
use crate::{
    aggregator_client::{AggregatorClient, ClientError},
    args::{Connection, TopArgs, View},
    failure::{Failure, one_line},
    query::Outage,
    time::now_ms,
};

/// Most rows with a sparkline.
pub(super) const SPARKS_MAX: usize = 200;
/// Most queries for them.
const SPARK_QUERIES_MAX: usize = 8;
/// Sparklines are asked for again after this.
const SPARKS_EVERY: Duration = Duration::from_secs(30);
/// A list of series is long: metrics are listed again after this.
const METRICS_EVERY: Duration = Duration::from_secs(15);
/// Share of the time that may pass with waiting for answers.
const BUSY: u32 = 4;
/// An aggregator that says nothing for so long is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Keys that scroll come fast.
const SCROLLING: Duration = Duration::from_millis(150);

/// What the screen shows and needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) view: View,
    /// The rows on the screen.
    pub(super) visible: Vec<Key>,
    /// Which rows of the view.
    pub(super) asked: Asked,
}

/// What the aggregator said.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// What the rows are.
    pub(super) view: View,
    /// `None`: nothing yet of this view.
    pub(super) rows: Option<Arc<Rows>>,
    /// Of rows on the screen.
    pub(super) sparks: Arc<HashMap<Key, Spark>>,
    /// When the rows came, Unix milliseconds.
    pub(super) at_ms: i64,
    /// Since when it does not answer, Unix milliseconds, and why.
    pub(super) trouble: Option<(i64, String)>,
}

/// Lists all rows of a view.
///
/// # Errors
/// The request fails.
pub(super) async fn rows(client: &mut AggregatorClient, view: View) -> Result<Arc<Rows>, ClientError> {
    let mut collector = Collector::default();
    let rows = match view {
        View::Sites => rows::of_sites(&client.gateways("").await?),
        View::Gateways => rows::of_gateways(&client.gateways("").await?),
        View::Devices => {
            client.each_device(|device| collector.device(device)).await?;
            collector.finish()
        }
        View::Metrics => {
            client.each_series(|series| collector.series(series)).await?;
            collector.finish()
        }
    };
    Ok(Arc::new(rows))
}

/// What an aggregator is too old for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Old {
    /// Pages.
    pages: bool,
    /// Pages with the worst first.
    worst: bool,
}

impl Old {
    /// Notes what a refusal says.
    ///
    /// # Errors
    /// Its own, if it says nothing new of the version.
    fn learn(&mut self, error: ClientError) -> Result<(), ClientError> {
        match error {
            error if error.is_unimplemented() => self.pages = true,
            error if error.is_unknown_column() && !self.worst => self.worst = true,
            error => return Err(error),
        }
        Ok(())
    }
}

/// The aggregator's column for an order, and whether the greatest is first; `None`: it has no such pages.
fn column(view: View, sort: Sort, old: Old) -> Option<(&'static str, bool)> {
    match (view, sort) {
        _ if old.pages => None,
        (View::Sites | View::Metrics, _) => None,
        (_, Sort::Name) => Some(("site", false)),
        (_, Sort::Series) => Some(("series", true)),
        (View::Gateways | View::Devices, Sort::Worst) if !old.worst => Some(("worst", false)),
        (View::Gateways, Sort::Worst) => None,
        // All devices may be too many to sort here.
        (View::Devices, Sort::Worst) => Some(("last_seen", false)),
    }
}

/// Lists the rows of a view that are asked for, as far as the aggregator searches and sorts them; else all.
///
/// # Errors
/// The request fails, or the aggregator is of a version that does not know it.
async fn page(
    client: &mut AggregatorClient,
    view: View,
    asked: &Asked,
    old: Old,
) -> Result<Option<Arc<Rows>>, ClientError> {
    if view == View::Sites {
        let summary = client.summary(wire::SummaryRequest::default()).await?;
        return Ok(Some(Arc::new(rows::of_summary(&summary))));
    }
    let Some((sort, descending)) = column(view, asked.sort, old) else { return Ok(None) };
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let request = wire::PageRequest {
        search: asked.search.clone(),
        sort: sort.to_owned(),
        descending,
        offset: number(asked.offset),
        limit: number(PAGE_ROWS),
        ..wire::PageRequest::default()
    };
    let rows = match view {
        View::Gateways => rows::of_gateway_page(&client.gateway_page(request).await?, asked.clone()),
        _ => rows::of_device_page(client.device_page(request).await?, asked.clone()),
    };
    Ok(Some(Arc::new(rows)))
}

/// Queries the sparklines of rows, at most [`SPARKS_MAX`].
///
/// # Errors
/// The request fails.
async fn sparks(
    client: &mut AggregatorClient,
    view: View,
    keys: &[Key],
    now_ms: i64,
) -> Result<Arc<HashMap<Key, Spark>>, ClientError> {
    let mut sparks = HashMap::new();
    let mut keys = keys.get(..SPARKS_MAX).unwrap_or(keys);
    for _ in 0..SPARK_QUERIES_MAX {
        let Some((request, covered)) = spark::request(view, keys, now_ms) else { break };
        spark::add(&mut sparks, view, &request, &client.aggregate(&request).await?);
        keys = keys.get(covered..).unwrap_or_default();
    }
    Ok(Arc::new(sparks))
}

/// As [`sparks`]; none if the aggregator refuses, for example by a limit: the rows are shown all the same.
///
/// # Errors
/// The connection fails.
pub(super) async fn sparks_if_any(
    client: &mut AggregatorClient,
    view: View,
    keys: &[Key],
    now_ms: i64,
) -> Result<Arc<HashMap<Key, Spark>>, ClientError> {
    match sparks(client, view, keys, now_ms).await {
        Err(ClientError::Request(_) | ClientError::Status { .. }) => Ok(Arc::default()),
        result => result,
    }
}

/// The rows that are wanted, or all of a view that has no pages, or of an aggregator that is too old for them.
///
/// # Errors
/// The request fails.
async fn some_rows(
    client: &mut AggregatorClient,
    want: &Wanted,
    old: &mut Old,
) -> Result<Arc<Rows>, ClientError> {
    while !old.pages {
        match page(client, want.view, &want.asked, *old).await {
            Ok(Some(rows)) => return Ok(rows),
            Ok(None) => break,
            Err(error) => old.learn(error)?,
        }
    }
    rows(client, want.view).await
}

/// Asks and remembers.
pub(super) struct Fetcher {
    connection: Connection,
    every: Duration,
    client: Option<AggregatorClient>,
    data: Data,
    /// The rows whose sparklines there are, and since when.
    sparks_of: Option<(View, Vec<Key>, Instant)>,
    /// When the rows came, and which request they answered.
    rows_of: Option<(Asked, Instant)>,
    /// What the aggregator is too old for.
    old: Old,
}

impl Fetcher {
    pub(super) fn new(args: &TopArgs) -> Self {
        let data = Data { view: args.view, ..Data::default() };
        let connection = args.connection.clone();
        Self {
            connection,
            every: args.every,
            client: None,
            data,
            sparks_of: None,
            rows_of: None,
            old: Old::default(),
        }
    }

    /// Asks until the screen is gone. An outage is shown and survived.
    ///
    /// # Errors
    /// What cannot pass by itself, such as a refused identity.
    pub(super) async fn run(
        &mut self,
        mut wanted: watch::Receiver<Wanted>,
        publish: watch::Sender<Data>,
    ) -> Result<(), Failure> {
        let mut outage = Outage::default();
        loop {
            let want = wanted.borrow_and_update().clone();
            let begun = Instant::now();
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.round(&want, &publish)).await;
            let took = begun.elapsed();
            let (pause, is_away) = match answer {
                Ok(Ok(())) => {
                    outage.clear();
                    self.data.trouble = None;
                    (self.every.max(took * BUSY), false)
                }
                Ok(Err(error)) if error.is_final() => return Err(error.into()),
                Ok(Err(error)) => (self.away(&mut outage, &error), true),
                Err(_) => {
                    // A connection that hangs is not used again.
                    self.client = None;
                    let reason = format!("no answer within {ANSWER_TIMEOUT:?}");
                    let server = self.connection.aggregator.clone();
                    (self.away(&mut outage, &ClientError::Connect { server, reason, lasting: false }), true)
                }
            };
            publish.send_replace(self.data.clone());
            if is_away {
                tokio::time::sleep(pause).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    // Other keys follow; and many of them must not become many questions.
                    tokio::time::sleep(SCROLLING.max(took)).await;
                }
            }
        }
    }

    fn away(&mut self, outage: &mut Outage, error: &ClientError) -> Duration {
        let since = self.data.trouble.take().map_or_else(now_ms, |(since, _)| since);
        self.data.trouble = Some((since, one_line(&error.to_string())));
        outage.record_failure(error, |_| {})
    }

    /// Asks for the rows, publishes them, and asks for sparklines.
    async fn round(&mut self, want: &Wanted, publish: &watch::Sender<Data>) -> Result<(), ClientError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let Connection { aggregator, identity } = &self.connection;
                // It may have been upgraded.
                self.old = Old::default();
                none.insert(AggregatorClient::connect(aggregator, identity).await?)
            }
        };
        let view_changed = self.data.view != want.view;
        let every = if want.view == View::Metrics { METRICS_EVERY.max(self.every) } else { self.every };
        // Where all rows come, a search or another order needs no others.
        let has_pages = column(want.view, want.asked.sort, self.old).is_some();
        let is_new = |(asked, at): &(Asked, Instant)| {
            let same = *asked == want.asked || !has_pages && asked.refreshes == want.asked.refreshes;
            same && at.elapsed() < every
        };
        if view_changed || !self.rows_of.as_ref().is_some_and(is_new) {
            let rows = some_rows(client, want, &mut self.old).await?;
            let sparks = if view_changed { Arc::default() } else { Arc::clone(&self.data.sparks) };
            self.data = Data { view: want.view, rows: Some(rows), sparks, at_ms: now_ms(), trouble: None };
            self.rows_of = Some((want.asked.clone(), Instant::now()));
            publish.send_replace(self.data.clone());
        }
        let is_known = |(view, keys, at): &(View, Vec<Key>, Instant)| {
            (*view, keys) == (want.view, &want.visible) && at.elapsed() < SPARKS_EVERY
        };
        // Before the first rows were shown, the screen does not know which.
        if !want.visible.is_empty() && !view_changed && !self.sparks_of.as_ref().is_some_and(is_known) {
            self.data.sparks = sparks_if_any(client, want.view, &want.visible, now_ms()).await?;
            self.sparks_of = Some((want.view, want.visible.clone(), Instant::now()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_aggregator_is_too_old_for_is_asked_otherwise() {
        let refused = |words: &str| ClientError::Request(words.to_owned());
        let no_column = || refused("sort: there is no such column: write site, gateway or lag");
        let mut old = Old::default();
        assert_eq!(column(View::Gateways, Sort::Worst, old), Some(("worst", false)));
        assert_eq!(column(View::Devices, Sort::Worst, old), Some(("worst", false)));
        assert!(old.learn(refused("search: too long")).is_err() && old == Old::default());
        old.learn(no_column()).unwrap();
        assert!(old.learn(no_column()).is_err(), "it is not asked for ever");
        assert_eq!(column(View::Gateways, Sort::Worst, old), None);
        assert_eq!(column(View::Devices, Sort::Worst, old), Some(("last_seen", false)));
        assert_eq!(column(View::Gateways, Sort::Name, old), Some(("site", false)));
        let old = Old { pages: true, ..old };
        assert_eq!(column(View::Devices, Sort::Name, old), None);
    }
}
