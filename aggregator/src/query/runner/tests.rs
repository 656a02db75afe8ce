use std::time::Duration;

use catchment_proto::{Name, OperatorId};
use tokio::sync::oneshot;
use tonic::Code;

use super::*;

/// Far longer than anything here takes.
const NEVER: Duration = Duration::from_secs(3_600);

fn limits() -> QueryLimits {
    QueryLimits { threads: 1, timeout: NEVER, read_timeout: NEVER, ..QueryLimits::default() }
}

fn runner(limits: QueryLimits) -> Runner {
    Runner::new(limits, Metrics::new(), &Arc::default()).unwrap()
}

fn operator(name: &str) -> CallingOperator {
    CallingOperator {
        operator: OperatorId { name: Name::new(name).unwrap() },
        disconnect: Disconnect::default(),
    }
}

async fn collect<T>(answer: Result<Response<ResponseStream<T>>, Status>) -> (Vec<T>, Option<Status>) {
    let mut stream = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let (mut messages, mut status) = (Vec::new(), None);
    while let Some(item) = stream.next().await {
        match item {
            Ok(message) => messages.push(message),
            Err(error) => status = Some(error),
        }
    }
    (messages, status)
}

/// The complete answer of a trivial query.
async fn collect_of(runner: &Runner, name: &str) -> (Vec<u32>, Option<Status>) {
    collect(runner.run(&operator(name), one).await).await
}

/// Sends messages without end.
async fn endless(sink: Sink<u32>) -> Result<(), QueryError> {
    loop {
        sink.yield_point().await?;
        sink.send(1, 64 << 10).await?;
    }
}

/// Works without end, and finds nothing.
async fn busy(sink: Sink<u32>) -> Result<(), QueryError> {
    sink.send(1, 1).await?;
    loop {
        sink.yield_point().await?;
    }
}

async fn one(sink: Sink<u32>) -> Result<(), QueryError> {
    sink.yield_point().await?;
    sink.send(7, 1).await
}

/// Waits for something that should happen immediately.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("it happens")
}

async fn until(runner: &Runner, reached: impl Fn(QueryCounts) -> bool) {
    let counts = runner.counts();
    let happens = async {
        while !reached(counts()) {
            tokio::task::yield_now().await;
        }
    };
    in_time(happens).await;
}

#[tokio::test]
async fn messages_arrive_in_order_and_a_failure_after_them() {
    let count = |fail: bool| {
        move |sink: Sink<u32>| async move {
            for number in 0..10_000 {
                sink.send(number, 100).await?;
            }
            if fail { Err(QueryError::TooManyPoints { max: 1 }) } else { Ok(()) }
        }
    };
    let (runner, ada) = (runner(limits()), operator("ada"));
    let (messages, status) = collect(runner.run(&ada, count(false)).await).await;
    assert_eq!((messages, status.is_none()), ((0..10_000).collect(), true));
    let (messages, status) = collect(runner.run(&ada, count(true)).await).await;
    assert_eq!((messages.len(), status.unwrap().code()), (10_000, Code::InvalidArgument));
    until(&runner, |counts| counts == QueryCounts::default()).await;
}

#[tokio::test]
async fn work_that_panics_gives_no_complete_answer_and_releases_its_slot() {
    let (runner, ada) = (runner(QueryLimits { queries_max: 1, ..limits() }), operator("ada"));
    let answer = runner.run(&ada, |sink: Sink<u32>| async move {
        sink.send(1, 1).await?;
        panic!("on purpose")
    });
    let (messages, status) = collect(answer.await).await;
    assert_eq!((messages, status.unwrap().code()), (vec![1], Code::Internal));
    let (messages, status) = collect(runner.run(&ada, one).await).await;
    assert_eq!((messages, status.is_none()), (vec![7], true));
}

#[tokio::test]
async fn unread_answers_of_one_operator_take_nothing_from_another() {
    let runner = runner(limits());
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(runner.run(&operator("ada"), endless).await.unwrap());
    }
    let (messages, status) = in_time(collect_of(&runner, "eve")).await;
    assert_eq!((messages, status.is_none()), (vec![7], true));
    assert!(runner.counts()().running >= 16, "all of them are still running");
    drop(unread);
    until(&runner, |counts| counts == QueryCounts::default()).await;
}

#[tokio::test]
async fn heavy_work_of_one_operator_yields_to_another() {
    let runner = runner(limits());
    let mut heavy = Vec::new();
    for _ in 0..10 {
        heavy.push(runner.run(&operator("ada"), busy).await.unwrap());
    }
    let (messages, _) = in_time(collect_of(&runner, "eve")).await;
    assert_eq!(messages, [7]);
    assert!(runner.counts()().running >= 10);
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_with_the_reason() {
    let (runner, ada) =
        (runner(QueryLimits { read_timeout: Duration::from_millis(20), ..limits() }), operator("ada"));
    let begun = runner.run(&ada, endless).await.unwrap();
    // A query that has sent everything, which nobody reads.
    let done = runner.run(&ada, |sink: Sink<u32>| async move {
        sink.send(1, 1).await?;
        sink.send(2, 1).await
    });
    let done = done.await.unwrap();
    until(&runner, |counts| counts.running == 0 && counts.memory == 0).await;
    // Not even the reason was read.
    in_time(ada.disconnect.triggered()).await;
    for answer in [begun, done] {
        let (messages, status) = collect(Ok(answer)).await;
        assert_eq!(messages.len(), 1, "the message that was taken before; the rest is dropped");
        let status = status.unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("query_read_timeout"), "{status}");
    }
}

#[tokio::test]
async fn a_deadline_holds_if_nothing_is_found_and_if_work_hangs() {
    let short = QueryLimits { timeout: Duration::from_millis(50), ..limits() };
    let (runner, ada) = (runner(short), operator("ada"));
    let (_, status) = collect(runner.run(&ada, busy).await).await;
    assert_eq!(status.unwrap().code(), Code::DeadlineExceeded);
    // A disk that does not respond: it does not block the caller.
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let hangs = move |_: Sink<u32>| async move {
        let _ = released.recv();
        Ok(())
    };
    let (_, status) = collect(runner.run(&ada, hangs).await).await;
    assert_eq!(status.unwrap().code(), Code::DeadlineExceeded);
    drop(release);
    until(&runner, |counts| counts == QueryCounts::default()).await;
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_work() {
    let (runner, ada) = (runner(limits()), operator("ada"));
    let (ended, end) = oneshot::channel();
    let answer = runner.run(&ada, move |sink: Sink<u32>| async move {
        let result = busy(sink).await;
        let _ = ended.send(matches!(result, Err(QueryError::Gone)));
        result
    });
    drop(answer.await.unwrap());
    assert!(end.await.unwrap());
    // Even while it waits for its reader.
    drop(runner.run(&ada, endless).await.unwrap());
    until(&runner, |counts| counts == QueryCounts::default()).await;
}

#[tokio::test]
async fn beyond_its_queue_an_operator_is_refused_at_once_and_another_is_served() {
    let bounds = QueryLimits { per_operator_max: 1, waiting_per_operator_max: 1, ..limits() };
    let runner = runner(bounds);
    let first = runner.run(&operator("ada"), endless).await.unwrap();
    let second = {
        let runner = runner.clone();
        tokio::spawn(async move { collect(runner.run(&operator("ada"), one).await).await })
    };
    until(&runner, |counts| counts.waiting == 1).await;
    let status = runner.run(&operator("ada"), one).await.err().unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("queries_waiting_per_operator_max"), "{status}");
    assert_eq!(in_time(collect_of(&runner, "eve")).await.0, [7]);
    drop(first);
    assert_eq!(second.await.unwrap().0, [7], "its turn comes");
}

#[tokio::test]
async fn a_waiting_query_leaves_with_its_caller_or_is_refused_at_its_deadline() {
    let bounds = QueryLimits { per_operator_max: 1, timeout: Duration::from_millis(100), ..limits() };
    let (runner, ada) = (runner(bounds), operator("ada"));
    let _first = runner.run(&ada, endless).await.unwrap();
    {
        let mut waiting = Box::pin(runner.run(&ada, one));
        let once = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending()));
        assert!(once.await);
        assert_eq!(runner.counts()().waiting, 1);
    }
    assert_eq!(runner.counts()().waiting, 0);
    // The first query may end a moment before this one is refused: both have about the same deadline.
    let status = collect(runner.run(&ada, busy).await).await.1.unwrap();
    assert!(matches!(status.code(), Code::ResourceExhausted | Code::DeadlineExceeded), "{status}");
}

#[tokio::test]
async fn exceeding_the_memory_limit_is_explained() {
    let (runner, ada) = (runner(QueryLimits { memory_max: 8 << 20, ..limits() }), operator("ada"));
    let holds = |bytes: usize| {
        move |sink: Sink<u32>| async move {
            sink.set_memory(bytes)?;
            sink.set_memory(0)?;
            sink.set_memory(bytes)
        }
    };
    assert!(collect(runner.run(&ada, holds(3 << 20)).await).await.1.is_none());
    let status = collect(runner.run(&ada, holds(5 << 20)).await).await.1.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("8MiB"), "{status}");
    until(&runner, |counts| counts == QueryCounts::default()).await;
}
