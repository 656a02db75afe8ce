//! An operator that may ask one question at a time, and whose only slot can be taken.

use std::sync::{Arc, mpsc};

use catchment_proto::{Name, OperatorId};
use tokio::task::JoinHandle;

use crate::{
    access::{CallingOperator, Disconnect},
    config::QueryLimits,
    metrics::Metrics,
    query::Runner,
};

/// A runner with one slot for each operator, where nobody waits for one.
pub(crate) fn one_slot_runner(metrics: &Arc<Metrics>) -> Runner {
    let limits = QueryLimits { per_operator_max: 1, waiting_per_operator_max: 0, ..QueryLimits::default() };
    Runner::new(limits, Arc::clone(metrics), &Arc::default()).unwrap()
}

/// An operator that calls.
pub(crate) fn caller(name: &str) -> CallingOperator {
    let operator = OperatorId { name: Name::new(name).unwrap() };
    CallingOperator { operator, disconnect: Disconnect::default() }
}

/// Work that takes a slot until it is told to end.
pub(crate) struct TakenSlot {
    end: mpsc::SyncSender<()>,
    work: JoinHandle<String>,
}

impl TakenSlot {
    /// Takes a slot of `caller`; returns when it is taken.
    pub(crate) async fn take(runner: &Runner, caller: &CallingOperator) -> Self {
        let (end, ended) = mpsc::sync_channel::<()>(1);
        let (busy, caller) = (runner.clone(), caller.clone());
        let work = move || {
            // An error is the end too.
            let _ = ended.recv();
            std::thread::current().name().unwrap_or_default().to_owned()
        };
        let work = tokio::spawn(async move { busy.compute(&caller, work).await.unwrap() });
        while runner.counts()().running == 0 {
            tokio::task::yield_now().await;
        }
        Self { end, work }
    }

    /// Frees the slot; returns the name of the thread that worked in it.
    pub(crate) async fn free(self) -> String {
        drop(self.end);
        self.work.await.unwrap()
    }
}
