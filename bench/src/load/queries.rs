//! Queries of two operators: trivial ones of the first, in sequence, while the second sends heavy and unread ones.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use catchment_proto::wire::{AggregateRequest, query_client::QueryClient};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{now_ns, operator};

/// How long a result is left unread.
const UNREAD: Duration = Duration::from_secs(30);
/// Streams per connection; an aggregator takes 64.
const STREAMS: usize = 50;
/// Time for all other queries to start or to queue.
const SETTLE: Duration = Duration::from_millis(500);

/// The second operator's queries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others {
    /// Concurrent queries over everything, each repeated when it ends.
    pub(crate) heavy: usize,
    /// Concurrent queries whose large results are not read, each repeated when it ends.
    pub(crate) unread: usize,
}

async fn connect(addr: SocketAddr, identity: &Path, reluctant: bool) -> anyhow::Result<QueryClient<Channel>> {
    Ok(QueryClient::new(operator::channel(addr, identity, reluctant).await?))
}

fn everything(aggregates: &[&str]) -> AggregateRequest {
    AggregateRequest {
        selector: r#"{device=~"press-.*"}"#.to_owned(),
        from_ms: 0,
        to_ms: now_ns() / 1_000_000 + 86_400_000,
        aggregates: aggregates.iter().map(|name| (*name).to_owned()).collect(),
        ..AggregateRequest::default()
    }
}

/// Sends a query and reads its result to the end; returns the number of messages.
async fn ask(client: &mut QueryClient<Channel>, request: AggregateRequest) -> anyhow::Result<u64> {
    let mut answer = client.aggregate(request).await?.into_inner();
    let mut messages = 0;
    while answer.message().await?.is_some() {
        messages += 1;
    }
    Ok(messages)
}

/// Repeats a heavy query. An operator with this many queries must expect refusals.
async fn heavy(mut client: QueryClient<Channel>) {
    loop {
        if ask(&mut client, everything(&["count", "p50", "p99"])).await.is_err() {
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// Never reads a result, and repeats the query when its deadline has passed.
async fn unread(mut client: QueryClient<Channel>) {
    let request = AggregateRequest {
        by: vec!["device".to_owned(), "__name__".to_owned()],
        step_ms: i64::from(super::delivery::WIDTH_MS),
        ..everything(&["count", "sum", "mean", "min", "max", "first", "last", "p99"])
    };
    loop {
        let answer = client.aggregate(request.clone()).await;
        tokio::time::sleep(UNREAD).await;
        drop(answer);
    }
}

/// Seconds that each trivial query took while the other queries run.
///
/// # Errors
/// A trivial query that fails.
pub(crate) fn run(
    addr: SocketAddr,
    (first, second): (&Path, &Path),
    others: Others,
    duration: Duration,
) -> anyhow::Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for start in (0..others.heavy).step_by(STREAMS) {
            let client = connect(addr, second, false).await?;
            for _ in start..others.heavy.min(start + STREAMS) {
                tasks.spawn(heavy(client.clone()));
            }
        }
        for start in (0..others.unread).step_by(STREAMS) {
            let client = connect(addr, second, true).await?;
            for _ in start..others.unread.min(start + STREAMS) {
                tasks.spawn(unread(client.clone()));
            }
        }
        tokio::time::sleep(SETTLE).await;
        let mut client = connect(addr, first, false).await?;
        let trivial =
            AggregateRequest { selector: r#"{device="press-00000"}"#.to_owned(), ..everything(&["count"]) };
        let (mut seconds, deadline) = (Vec::new(), Instant::now() + duration);
        while Instant::now() < deadline || seconds.is_empty() {
            let asked = Instant::now();
            let messages = ask(&mut client, trivial.clone()).await?;
            ensure!(messages == 2, "an answer of {messages} messages: no header, or no series");
            seconds.push(asked.elapsed().as_secs_f64());
        }
        Ok(seconds)
    })
}
