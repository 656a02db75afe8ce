//! The service `catchment.v1.Maintenance`: one backup at a time, for operators.

use std::{collections::HashSet, sync::Arc, time::Duration};

use catchment_proto::wire::{BackupRequest, BackupResponse, maintenance_server::Maintenance};
use catchment_settings::{priority, supervise::catch_thread};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    pace::Pace,
    sender::{End, Sender},
};
use crate::{
    access, clock,
    metrics::Metrics,
    store::{BackupError, BackupFile, BackupSource, Snapshot},
};

/// Chunks that wait for the connection, 1 MiB.
const RESPONSES_MAX: usize = 4;
/// How long a caller may take to take the reason of an early end.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// The service.
pub(crate) struct MaintenanceService {
    /// `None`: the store cannot be backed up this way.
    source: Option<Arc<dyn BackupSource>>,
    metrics: Arc<Metrics>,
    /// 0: unbounded.
    bytes_per_second: u64,
    stopping: watch::Receiver<bool>,
    alone: Arc<Semaphore>,
}

impl MaintenanceService {
    /// Backs up a store at this rate, at most; 0: unbounded.
    pub(crate) fn new(
        source: Option<Arc<dyn BackupSource>>,
        metrics: &Arc<Metrics>,
        bytes_per_second: u64,
        stopping: &watch::Receiver<bool>,
    ) -> Self {
        Self {
            source,
            metrics: Arc::clone(metrics),
            bytes_per_second,
            stopping: stopping.clone(),
            alone: Arc::new(Semaphore::new(1)),
        }
    }

    /// The rate of a backup: the least of the bounds, of which 0 is none.
    fn rate(&self, asked: u64) -> u64 {
        match (self.bytes_per_second, asked) {
            (0, rate) | (rate, 0) => rate,
            (most, asked) => most.min(asked),
        }
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let caller = access::operator(&request)?;
        let none = || Status::unimplemented("this aggregator's store has backups of its own");
        let source = Arc::clone(self.source.as_ref().ok_or_else(none)?);
        let Ok(alone) = Arc::clone(&self.alone).try_acquire_owned() else {
            Metrics::count(&self.metrics.backup.failed, "busy");
            return Err(Status::resource_exhausted("another backup is running: try again when it has ended"));
        };
        let BackupRequest { have, bytes_per_second_max } = request.into_inner();
        let file = |file: catchment_proto::wire::BackupFile| BackupFile {
            name: file.name,
            bytes: file.bytes,
            checksum: file.checksum,
        };
        let have: HashSet<BackupFile> = have.into_iter().map(file).collect();
        let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
        let mut sender = Sender {
            runtime: Handle::current(),
            responses: responses.clone(),
            stopping: self.stopping.clone(),
            pace: Pace::new(self.rate(bytes_per_second_max)),
        };
        let (metrics, runtime) = (Arc::clone(&self.metrics), Handle::current());
        let run = move || {
            let _alone = alone;
            tracing::info!(who = %caller.operator, "backup started");
            let sent = catch_thread(|| {
                let mut snapshot = snapshot_of(&*source).map_err(End::from)?;
                let bytes = sender.send(&mut *snapshot, &have)?;
                Ok((bytes, snapshot.contents().taken_ms))
            });
            report(sent, &metrics, (&runtime, &responses));
        };
        let thread = std::thread::Builder::new().name("backup".to_owned());
        thread
            .spawn(run)
            .map_err(|error| Status::resource_exhausted(format!("no thread for a backup: {error}")))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Takes a snapshot on this thread, which has a low priority from then on. Not before: flushes, and gateways that wait for
/// them, wait for the first part, and every busy thread could hold them up.
fn snapshot_of(source: &dyn BackupSource) -> Result<Box<dyn Snapshot>, BackupError> {
    source.snapshot(clock::now_ms(), &mut priority::lower)
}

/// Counts and logs how a backup ended, and tells the caller.
fn report(
    sent: Result<Result<(u64, i64), End>, String>,
    metrics: &Metrics,
    (runtime, responses): (&Handle, &mpsc::Sender<Result<BackupResponse, Status>>),
) {
    let (reason, status) = match sent {
        Ok(Ok((bytes, taken_ms))) => {
            metrics.backup.completed(bytes, taken_ms);
            tracing::info!(bytes, taken_ms, "backup sent");
            return;
        }
        Ok(Err(End::Gone)) => ("closed", None),
        Ok(Err(End::Told(reason, status))) => (reason, Some(status)),
        Err(panic) => {
            tracing::error!(panic, "a backup panicked");
            ("panicked", Some(Status::internal("internal error in this backup, see the aggregator's log")))
        }
    };
    Metrics::count(&metrics.backup.failed, reason);
    tracing::warn!(reason, message = status.as_ref().map(Status::message), "backup ended early");
    if let Some(status) = status {
        // To a caller that takes nothing, the stream's end has to do.
        let told = async { tokio::time::timeout(TELL_TIMEOUT, responses.send(Err(status))).await };
        let _ = runtime.block_on(told);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// The nice value of this thread.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    /// Notes the priority while flushes wait, and after that.
    struct Noting(Mutex<Vec<i32>>);

    impl BackupSource for Noting {
        fn snapshot(&self, _: i64, released: &mut dyn FnMut()) -> Result<Box<dyn Snapshot>, BackupError> {
            self.0.lock().unwrap().push(nice());
            released();
            self.0.lock().unwrap().push(nice());
            Err(BackupError::Damaged("it is noted".to_owned()))
        }
    }

    #[test]
    fn a_backup_has_a_low_priority_only_once_no_flush_waits_for_it() {
        let (source, before) = (Noting(Mutex::default()), nice());
        std::thread::scope(|threads| {
            threads.spawn(|| assert!(snapshot_of(&source).is_err()));
        });
        let [waiting, after] = source.0.into_inner().unwrap()[..] else { panic!("two notes") };
        assert_eq!(waiting, before);
        assert!(after > waiting || waiting == 19, "{waiting} {after}");
    }
}
