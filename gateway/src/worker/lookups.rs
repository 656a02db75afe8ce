//! Finds the numbers of series, for raw readings.

use std::rc::Rc;

use tokio::sync::mpsc;

use super::thread::WorkerThread;
use crate::raw::SeriesLookup;

/// Series looked up in one turn of the worker, some 50 µs.
const SLICE: usize = 128;

impl WorkerThread {
    /// Answers lookups as they come.
    pub(super) async fn answer_lookups(self: Rc<Self>, mut asked: mpsc::Receiver<SeriesLookup>) {
        while let Some(SeriesLookup { series, found }) = asked.recv().await {
            let mut numbers = Vec::new();
            for (slice, first) in series.chunks(SLICE).zip((0..).step_by(SLICE)) {
                {
                    let shard = self.context.shard.borrow();
                    let state = shard.state();
                    numbers.extend(slice.iter().zip(first..).filter_map(|(key, index)| {
                        let device = state.device(&key.device)?;
                        Some((device, state.series(device, &key.metric, &key.labels)?, index))
                    }));
                }
                tokio::task::yield_now().await;
            }
            // The one that asked may be gone.
            let _ = found.send(numbers);
        }
        std::future::pending().await
    }
}
