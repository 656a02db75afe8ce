//! The revocation lists that count, kept in the data folder of a server: they hold while the uplink is cut, and after a
//! restart.
//!
//! Every change of the trust's lists is written before it counts (`keeper`), be it from a file of the identity folder or
//! from an aggregator. A start gives the kept lists to the trust before anything is accepted. So an older list in the
//! identity folder changes nothing, and neither does another one with the same number.

mod file;
mod keeper;

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use catchment_journal::{AtomicFileError, RealDisk};
use catchment_proto::wire;
use catchment_settings::supervise::resume_panic;
use tokio::{sync::watch, time::sleep};

use self::keeper::{DiskKeeper, WITHIN, WriteFile, Writer};
use crate::{
    identity::Role,
    revocation::RevocationError,
    trust::{Trust, TrustStatus},
};

/// Pause after lists could not be written.
pub const RETRY_EVERY: Duration = Duration::from_secs(10);

/// The lists of a trust, and their file in the data folder.
pub struct KeptRevocations {
    path: PathBuf,
    trust: Trust,
    events: Arc<dyn ListEvents>,
    writer: Arc<Writer>,
}

/// What happens to lists, for metrics.
pub trait ListEvents: Send + Sync {
    /// Lists brought news.
    fn taken(&self) {}
    /// A list was refused; the reason is one of [`REFUSED_REASONS`].
    fn refused(&self, _reason: &'static str) {}
    /// The file in the data folder was damaged.
    fn damaged(&self) {}
    /// The lists that count are not in the data folder, for this reason; `None`: they are. For
    /// [`crate::trust::REVOCATIONS_NOT_KEPT`].
    fn not_kept(&self, _reason: Option<String>) {}
}

/// Why lists are refused: all labels of [`ListEvents::refused`].
pub const REFUSED_REASONS: [&str; 6] =
    ["damaged", "rolled_back", "same_number", "signature", "too_large", "unreadable"];

/// What became of lists that an aggregator sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Each of them counts, or a newer one of its issuer does.
    pub is_held: bool,
    /// Why one was refused; empty: none was.
    pub refused: String,
}

impl KeptRevocations {
    /// Gives the kept lists of a data folder to the trust. A damaged file is set aside: newer lists will
    /// come, from the identity folder or from an aggregator. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(data: &Path, trust: &Trust, events: Arc<dyn ListEvents>) -> Result<Self, AtomicFileError> {
        let path = data.join(file::NAME);
        let write = Box::new(move |bytes: &Bytes| file::write(&RealDisk, &path, bytes));
        Self::open_with(data, trust, events, write, WITHIN)
    }

    /// As [`Self::open`], with another way to write, and another patience with it.
    fn open_with(
        data: &Path,
        trust: &Trust,
        events: Arc<dyn ListEvents>,
        write: WriteFile,
        within: Duration,
    ) -> Result<Self, AtomicFileError> {
        let kept = Self::load(data, trust, events, write)?;
        // An aggregator is the source of lists; gateways get newer ones than their files from it.
        trust.compare_file_with_kept(trust.peer().identity.role() == Role::Aggregator);
        // What counts from the start is kept from the start. If it cannot be written now, `keep_changes` tries again.
        trust.keep_by(Arc::new(DiskKeeper::new(Arc::clone(&kept.writer), within)));
        Ok(kept)
    }

    fn load(
        data: &Path,
        trust: &Trust,
        events: Arc<dyn ListEvents>,
        write: WriteFile,
    ) -> Result<Self, AtomicFileError> {
        let (path, writer) = (data.join(file::NAME), Writer::new(Arc::clone(&events), write));
        let kept = Self { path, trust: trust.clone(), events, writer };
        let lists = match file::read(&RealDisk, &kept.path)? {
            file::Found::Lists(lists) => lists,
            file::Found::Nothing => return Ok(kept),
            file::Found::Damaged { why, aside } => {
                kept.events.damaged();
                kept.events.refused("damaged");
                tracing::error!(
                    why, aside = %aside.display(),
                    "the revocation lists that were kept are damaged and set aside: until newer ones come, only those of \
                     the identity folder count"
                );
                return Ok(kept);
            }
        };
        // They come first: an equal number in the identity folder takes nothing from what counted.
        let errors = trust.start_from(&slices(&lists.lists), &slices(&lists.issuers));
        let refused = kept.refuse(&errors);
        tracing::info!(lists = lists.lists.len(), refused, "revocation lists of the data folder");
        Ok(kept)
    }

    /// Gives lists to the trust, which verifies them. Takes time with long lists.
    pub fn add(&self, lists: &wire::RevocationLists) -> Verdict {
        let (is_news, errors) = self.offer(lists);
        if is_news {
            self.events.taken();
        }
        Verdict { is_held: errors.iter().all(is_older), refused: self.refuse(&errors) }
    }

    /// Whether lists brought news, and why each of the others was refused.
    fn offer(&self, lists: &wire::RevocationLists) -> (bool, Vec<RevocationError>) {
        self.trust.offer_lists(&slices(&lists.lists), &slices(&lists.issuers))
    }

    /// Counts and logs refused lists. Returns why the first one was, or nothing.
    fn refuse(&self, errors: &[RevocationError]) -> String {
        errors.iter().for_each(|error| self.events.refused(reason(error)));
        let refused = errors.first().map(RevocationError::to_string).unwrap_or_default();
        if !refused.is_empty() {
            tracing::warn!(
                refused,
                count = errors.len(),
                "a revocation list is refused; the known one counts"
            );
        }
        refused
    }

    /// The trust, for each change.
    pub fn subscribe(&self) -> watch::Receiver<TrustStatus> {
        self.trust.subscribe()
    }

    /// Writes the lists that count now unless the file holds them. Returns the highest number of a root's list that
    /// is kept; 0: there is none.
    pub async fn keep(self: &Arc<Self>) -> Result<u64, Unkept> {
        let writer = Arc::clone(&self.writer);
        let keeping = tokio::task::spawn_blocking(move || writer.write());
        match resume_panic(keeping.await) {
            Ok(written) => written,
            Err(_) => Err(Unkept),
        }
    }

    /// Writes every change, forever; may be dropped at any await.
    pub fn keep_changes(self: Arc<Self>) -> impl Future<Output = ()> {
        let mut trust = self.subscribe();
        async move {
            loop {
                trust.mark_unchanged();
                if self.keep().await.is_err() {
                    sleep(RETRY_EVERY).await;
                } else if trust.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

impl fmt::Debug for KeptRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRevocations").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The lists are not on the disk; the condition `revocations_not_kept` says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unkept;

fn slices(blocks: &[Bytes]) -> Vec<&[u8]> {
    blocks.iter().map(|block| &**block).collect()
}

/// A newer list of the same issuer counts.
fn is_older(error: &RevocationError) -> bool {
    matches!(error, RevocationError::RolledBack { .. })
}

fn reason(error: &RevocationError) -> &'static str {
    match error {
        RevocationError::RolledBack { .. } => "rolled_back",
        RevocationError::SameNumber { .. } => "same_number",
        RevocationError::Signature => "signature",
        RevocationError::TooMany => "too_large",
        RevocationError::Content(_) => "unreadable",
    }
}

#[cfg(test)]
mod tests;
