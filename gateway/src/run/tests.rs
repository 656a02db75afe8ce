use super::*;

#[tokio::test]
async fn health_does_not_outlive_a_task_that_panicked() {
    let supervisor = Arc::new(Supervisor::default());
    let Endpoints { healthy, ready, .. } = endpoints(&Metrics::new(), &[], &supervisor);
    assert_eq!((healthy(), ready()), (Ok(()), Ok(())));
    supervisor.task("tick of shard 0", |_| (), async { panic!("no time") }).await;
    for state in [healthy(), ready()] {
        let why = state.unwrap_err();
        assert!(why.starts_with("the task \"tick of shard 0\" panicked: no time"), "{why}");
    }
    let observing = std::future::pending();
    let ended = serve(std::future::pending(), &supervisor, &[], observing).await;
    assert!(matches!(ended, Err(RunError::Defect(_))), "{ended:?}");
}

#[tokio::test]
async fn a_panic_of_what_observes_ends_the_gateway() {
    let supervisor = Arc::new(Supervisor::default());
    let observing = async { panic!("no clock") };
    let ended = serve(std::future::pending(), &supervisor, &[], observing).await;
    let why = ended.unwrap_err().to_string();
    assert!(why.starts_with("the task \"observe\" panicked: no clock"), "{why}");
}
