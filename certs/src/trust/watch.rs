//! When a changed folder is loaded, tried again and reported.
//!
//! Files are replaced one after another, so a folder that does not fit together is tried again for a while before it is
//! reported. A folder whose files change while they are read is not taken: it may be a mixture.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Shared, files::Stamp, swap::SwapError};
use crate::folder::FolderError;

/// For how long a folder that is not valid may be in the middle of a change.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
/// How often a folder with a reported problem is tried again though no file changed: a certificate becomes valid, a
/// disk readable.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(60);

/// Looks at the files until the future is dropped, on threads that may block.
pub(super) async fn watch(shared: &Arc<Shared>) {
    let mut watcher = Watcher { seen: shared.loaded, failing: None };
    loop {
        tokio::time::sleep(shared.config.check_every).await;
        let shared = Arc::clone(shared);
        let look = move || {
            watcher.look(&shared, Instant::now());
            watcher
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(after) => watcher = after,
            // The runtime ends.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(error) => tracing::error!(%error, "watching the identity folder failed; it is tried again"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Watcher {
    /// The files that were tried last.
    seen: Stamp,
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    tried: Instant,
    reported: bool,
}

impl Watcher {
    fn look(&mut self, shared: &Shared, now: Instant) {
        let stamp = Stamp::of(&shared.dir);
        if stamp != self.seen {
            // A new change has its own time to settle.
            self.failing = None;
        } else {
            match &self.failing {
                None => return,
                Some(failing) if failing.reported && now.duration_since(failing.tried) < TRY_AGAIN_EVERY => {
                    return;
                }
                Some(_) => {}
            }
        }
        self.seen = stamp;
        match self.attempt(shared) {
            Ok(()) => self.failing = None,
            Err(error) => {
                let since = self.failing.map_or(now, |failing| failing.since);
                let reported = now.duration_since(since) >= SETTLES_WITHIN;
                if reported {
                    shared.refuse(&error);
                }
                self.failing = Some(Failing { since, tried: now, reported });
            }
        }
    }

    fn attempt(&self, shared: &Shared) -> Result<(), SwapError> {
        let folder = shared.reload()?;
        if Stamp::of(&shared.dir) != self.seen {
            let error = io::Error::other("the files change while they are read");
            return Err(FolderError::Read { path: shared.dir.clone(), error }.into());
        }
        shared.take(folder)
    }
}
