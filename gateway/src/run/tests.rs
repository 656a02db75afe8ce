use std::{sync::Arc, time::Duration};

use catchment_settings::{
    http::Endpoints,
    supervise::{self, Supervisor},
};
use tokio::{sync::watch, time::sleep};

use super::{
    RunError,
    probes::endpoints,
    serve::{serve, watch_over},
};
use crate::metrics::Metrics;

#[tokio::test]
async fn a_panicked_task_makes_the_gateway_unhealthy() {
    let supervisor = Arc::new(Supervisor::default());
    let Endpoints { healthy, ready, .. } =
        endpoints(&Metrics::new(), &[], &supervisor, watch::Sender::new(false).subscribe());
    assert_eq!((healthy(), ready()), (Ok(()), Ok(String::new())));
    supervisor.task("tick of shard 0", |_| (), async { panic!("no time") }).await;
    for state in [healthy(), ready().map(drop)] {
        let why = state.unwrap_err();
        assert!(why.starts_with("the task \"tick of shard 0\" panicked: no time"), "{why}");
    }
    let observing = std::future::pending();
    let ended = serve(std::future::pending(), &supervisor, &[], observing).await;
    assert!(matches!(ended, Err(RunError::Defect(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn the_task_whose_panic_poisoned_a_log_is_named() {
    use catchment_journal::{GroupLog, RealDisk};

    let folder = tempfile::tempdir().unwrap();
    let open = || GroupLog::open(Arc::new(RealDisk), folder.path(), Default::default(), "t").unwrap().0;
    let supervisor = Arc::new(Supervisor::default());
    let log = open();
    log.poison("no disk");
    let failed = watch_over(std::future::pending(), &supervisor, &[log]).await;
    assert!(matches!(&failed, Err(RunError::Failed(why)) if **why == *"no disk"), "{failed:?}");
    let log = open();
    log.poison("half-way");
    let late = async {
        sleep(Duration::from_millis(500)).await;
        supervisor.task("tick", |_| (), async { panic!("no time") }).await;
    };
    // The log fails while the panic unwinds; its task ends later.
    let _ = supervise::catch_thread(|| panic!("the first effect"));
    let logs = [log];
    let (failed, ()) = tokio::join!(watch_over(std::future::pending(), &supervisor, &logs), late);
    assert!(matches!(&failed, Err(RunError::Defect(why)) if why.contains("\"tick\" panicked")), "{failed:?}");
}

#[tokio::test]
async fn a_panic_while_observing_ends_the_gateway() {
    let supervisor = Arc::new(Supervisor::default());
    let observing = async { panic!("no clock") };
    let ended = serve(std::future::pending(), &supervisor, &[], observing).await;
    let why = ended.unwrap_err().to_string();
    assert!(why.starts_with("the task \"observe\" panicked: no clock"), "{why}");
}
