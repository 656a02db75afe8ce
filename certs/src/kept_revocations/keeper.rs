//! Lists are on the disk before they count: whoever kills the process the moment after a revocation changes nothing.
//!
//! The trust hands lists over in the order in which they count ([`Keeper`]), and waits until they are written: on a
//! thread that may block, and with no lock that a handshake waits for. A disk that fails, or does not answer within
//! [`WITHIN`], does not hold up a revocation: the lists count, the condition `revocations_not_kept` says so, and writing
//! is tried again.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::sync_channel,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use catchment_proto::revocations::{EncodedLists, encode_lists};

use super::{ListEvents, Unkept};
use crate::{
    revocation::{RevocationList, Revocations},
    trust::Keeper,
};

/// For how long lists wait for the disk before they count.
pub(super) const WITHIN: Duration = Duration::from_secs(2);

/// Replaces the file's content.
pub(super) type WriteFile = Box<dyn Fn(&Bytes) -> io::Result<()> + Send + Sync>;

/// Writes the lists that should be in the file.
pub(super) struct Writer {
    events: Arc<dyn ListEvents>,
    write: WriteFile,
    /// The lists that count, or will in a moment.
    wanted: Mutex<Revocations>,
    /// What the file holds. Locked while it is written.
    written: Mutex<Revocations>,
}

impl Writer {
    pub(super) fn new(events: Arc<dyn ListEvents>, write: WriteFile) -> Arc<Self> {
        Arc::new(Self { events, write, wanted: Mutex::default(), written: Mutex::default() })
    }

    /// Writes the lists unless the file holds them. Returns the highest number of a root's list in the file; 0: there is
    /// none. Blocks on the disk.
    pub(super) fn write(&self) -> Result<u64, Unkept> {
        // One writer at a time; a later one finds the newest lists.
        let mut written = lock(&self.written);
        let wanted = lock(&self.wanted).clone();
        if !are_equal(written.lists(), wanted.lists()) {
            let EncodedLists { bytes, left_out } = encode_lists(wanted.lists().iter().map(encodable));
            if let Err(error) = (self.write)(&bytes) {
                self.events.not_kept(Some(format!(
                    "the revocation lists could not be written ({error}): they count, but a restart would not know them; \
                     free or repair the disk of the data folder"
                )));
                return Err(Unkept);
            }
            if left_out > 0 {
                tracing::warn!(
                    condition = "revocations_left_out",
                    left_out,
                    "there are too many or too long revocation lists: some are not kept in the data folder"
                );
            }
            *written = wanted.clone();
        }
        self.events.not_kept(None);
        let roots = wanted.lists().iter().filter(|list| list.issuer.is_none());
        Ok(roots.map(|list| list.number).max().unwrap_or(0))
    }
}

/// Waits for a [`Writer`].
pub(super) struct DiskKeeper {
    writer: Arc<Writer>,
    within: Duration,
    /// A thread writes: at most one does.
    busy: Arc<AtomicBool>,
}

impl DiskKeeper {
    pub(super) fn new(writer: Arc<Writer>, within: Duration) -> Self {
        Self { writer, within, busy: Arc::default() }
    }

    fn unanswered(&self) {
        self.writer.events.not_kept(Some(
            "the disk of the data folder does not answer: the newest revocation lists count, but a restart may not know \
             them"
                .to_owned(),
        ));
    }
}

impl Keeper for DiskKeeper {
    fn keep(&self, lists: &Revocations) {
        *lock(&self.writer.wanted) = lists.clone();
        // A disk that has not answered yet is not waited for twice. `keep_changes` writes these lists after it.
        if self.busy.swap(true, SeqCst) {
            return self.unanswered();
        }
        let (writer, busy) = (Arc::clone(&self.writer), Arc::clone(&self.busy));
        let (done, is_done) = sync_channel(1);
        let write = move || {
            // The condition says what failed.
            let _ = writer.write();
            busy.store(false, SeqCst);
            // Fails when nobody waits any more.
            let _ = done.send(());
        };
        match thread::Builder::new().name("revocations".to_owned()).spawn(write) {
            Ok(_) if is_done.recv_timeout(self.within).is_ok() => {}
            Ok(_) => self.unanswered(),
            Err(error) => {
                self.busy.store(false, SeqCst);
                tracing::warn!(%error, "no thread to write the revocation lists; they are written a moment later");
            }
        }
    }
}

impl fmt::Debug for DiskKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskKeeper").field("within", &self.within).finish_non_exhaustive()
    }
}

fn lock(lists: &Mutex<Revocations>) -> MutexGuard<'_, Revocations> {
    lists.lock().unwrap_or_else(PoisonError::into_inner)
}

fn are_equal(before: &[RevocationList], now: &[RevocationList]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| a.der == b.der && a.issuer == b.issuer)
}

/// A list as it is encoded. (The lists of a trust begin with those of roots, which count for every site.)
fn encodable(list: &RevocationList) -> (&[u8], Option<&[u8]>) {
    (&list.der, list.issuer.as_deref())
}
