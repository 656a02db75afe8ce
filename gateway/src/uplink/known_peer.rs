//! What the aggregator of the latest stream can read, kept in the data folder.
//!
//! A start takes readings before it has a stream. Were states taken then although the aggregator cannot read them, their
//! batches would hold up all later ones. So a folder that delivered before begins with what was known; one that has only
//! seen aggregators of the first version, which nobody noted, begins without states. A new folder is believed to
//! deliver to an aggregator of its own version, and says so until there is a stream: a start before the first one
//! takes what the start before it took.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use catchment_journal::{RealDisk, read_atomic, write_atomic};
use catchment_proto::Capabilities;

use crate::intake::StateSupport;

/// Its file in the data folder.
const FILE: &str = "aggregator";

/// What the aggregator of the latest stream can read.
#[derive(Debug)]
pub(crate) struct KnownPeer {
    path: PathBuf,
    /// As the file says; `None`: it says nothing.
    written: Mutex<Option<Capabilities>>,
    /// Whether sessions may take states.
    pub(crate) states: StateSupport,
}

impl KnownPeer {
    /// Reads the file of a data folder. A damaged one counts as missing: the aggregator reports again.
    pub(crate) fn open(data: &Path, is_new: bool) -> Self {
        let path = data.join(FILE);
        let written = read_atomic(&RealDisk, &path).unwrap_or_else(|error| {
            tracing::warn!(%error, "what the aggregator can read is not known until it answers");
            None
        });
        let written = written.map(|bytes| {
            let names: Vec<String> = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
            Capabilities::read(&names)
        });
        let unknown = if is_new { Capabilities::OURS } else { Capabilities::NONE };
        let states = StateSupport::default();
        states.set(written.unwrap_or(unknown).contains(Capabilities::PARTIAL_2));
        let known = Self { path, written: Mutex::new(written), states };
        if is_new && written.is_none() {
            known.keep(unknown);
        }
        known
    }

    /// A stream begins with an aggregator that announced this: readings are taken by it from now on. Returns whether
    /// states were taken before.
    pub(super) fn note(&self, capabilities: Capabilities) -> bool {
        let before = self.states.get();
        self.states.set(capabilities.contains(Capabilities::PARTIAL_2));
        before
    }

    /// Keeps it in the folder. Blocks on the disk.
    pub(super) fn keep(&self, capabilities: Capabilities) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == Some(capabilities) {
            return;
        }
        match write_atomic(&RealDisk, &self.path, capabilities.names().join("\n").as_bytes()) {
            Ok(()) => *written = Some(capabilities),
            // The next stream tries again.
            Err(error) => tracing::warn!(
                condition = "aggregator_not_kept", %error, file = %self.path.display(),
                "cannot write what the aggregator can read"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_begins_with_what_its_last_aggregator_could_read() {
        let folder = tempfile::tempdir().unwrap();
        let open = |is_new| KnownPeer::open(folder.path(), is_new);
        assert!(open(true).states.get(), "a new folder");
        assert!(open(false).states.get(), "its second start, before there was a stream");
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        assert!(!open(false).states.get(), "an earlier version wrote it");
        let peer = open(false);
        assert!(!peer.note(Capabilities::OURS));
        peer.keep(Capabilities::OURS);
        assert!(peer.states.get() && open(false).states.get());
        assert!(peer.note(Capabilities::NONE));
        peer.keep(Capabilities::NONE);
        assert!(!peer.states.get() && !open(true).states.get());
        std::fs::write(folder.path().join(FILE), b"damaged").unwrap();
        assert!(!open(false).states.get());
    }
}
