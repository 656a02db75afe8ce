use super::*;

fn runner(queries_max: usize, timeout_ms: u64) -> Runner {
    let timeout = Duration::from_millis(timeout_ms);
    Runner::new(QueryLimits { queries_max, timeout, points_max: 10 }, Metrics::new())
}

async fn collect<T>(answer: Response<AnswerStream<T>>) -> (Vec<T>, Option<Status>) {
    let (mut messages, mut status) = (Vec::new(), None);
    let mut stream = answer.into_inner();
    while let Some(item) = stream.next().await {
        match item {
            Ok(message) => messages.push(message),
            Err(error) => status = Some(error),
        }
    }
    (messages, status)
}

#[tokio::test]
async fn messages_come_in_order_and_a_failure_behind_them() {
    let count = |fail: bool| {
        move |outlet: &Outlet<u32>| {
            (0..100).try_for_each(|i| outlet.send(i))?;
            if fail { Err(AskError::TooManyPoints { points: 2, max: 1 }) } else { Ok(()) }
        }
    };
    let runner = runner(1, 60_000);
    let (messages, status) = collect(runner.run(count(false)).await.unwrap()).await;
    assert_eq!((messages, status.is_none()), ((0..100).collect(), true));
    let (messages, status) = collect(runner.run(count(true)).await.unwrap()).await;
    assert_eq!((messages.len(), status.unwrap().code()), (100, tonic::Code::InvalidArgument));
}

#[tokio::test]
async fn a_worker_that_panics_is_no_whole_answer_and_gives_its_place_back() {
    let runner = runner(1, 60_000);
    let answer = runner.run(|outlet: &Outlet<u32>| {
        outlet.send(1)?;
        panic!("on purpose")
    });
    let (messages, status) = collect(answer.await.unwrap()).await;
    assert_eq!((messages, status.unwrap().code()), (vec![1], tonic::Code::Internal));
    let (messages, status) = collect(runner.run(|outlet| outlet.send(2)).await.unwrap()).await;
    assert_eq!((messages, status.is_none()), (vec![2], true));
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_given_up_and_told() {
    let runner = runner(1, 50);
    let answer = runner.run(|outlet: &Outlet<u32>| (0..).try_for_each(|i| outlet.send(i))).await.unwrap();
    // The only place is free again once the deadline is over.
    let _place = runner.permits.acquire().await.unwrap();
    let (_, status) = collect(answer).await;
    assert_eq!(status.unwrap().code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_work() {
    let runner = runner(1, 60_000);
    let (ended, end) = oneshot::channel();
    let answer = runner.run(move |outlet: &Outlet<u32>| {
        let result = loop {
            if let Err(error) = outlet.check() {
                break Err(error);
            }
        };
        let _ = ended.send(matches!(result, Err(AskError::Gone)));
        result
    });
    drop(answer.await.unwrap());
    assert!(end.await.unwrap());
}

#[tokio::test]
async fn questions_wait_for_a_place_and_are_refused_in_the_end() {
    let runner = runner(1, 50);
    let place = Arc::clone(&runner.permits).acquire_owned().await.unwrap();
    let refused = runner.run(|_: &Outlet<u32>| Ok(())).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    drop(place);
    assert!(runner.run(|_: &Outlet<u32>| Ok(())).await.is_ok());
}
