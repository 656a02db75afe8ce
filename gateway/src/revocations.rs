//! The revocation lists that count, kept in the data folder: they hold while the uplink is cut, and after a restart.
//!
//! Every change of the trust's lists is written, be it from a file of the identity folder or from an aggregator. A start
//! gives the kept lists to the trust before anything is accepted. So an older list in the identity folder changes
//! nothing.

mod file;

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use catchment_certs::{RevocationError, RevocationList, Revocations, Trust, TrustStatus};
use catchment_journal::{AtomicFileError, RealDisk};
use catchment_proto::{
    revocations::{EncodedLists, encode_lists},
    wire,
};
use catchment_settings::supervise::resume_panic;
use tokio::{sync::watch, time::sleep};

use crate::metrics::Metrics;

/// Pause after lists could not be written.
pub(crate) const RETRY_EVERY: Duration = Duration::from_secs(10);

/// The lists of a trust, and their file in the data folder.
#[derive(Debug)]
pub(crate) struct KeptRevocations {
    path: PathBuf,
    trust: Trust,
    metrics: Arc<Metrics>,
    /// What the file holds.
    written: Mutex<Revocations>,
}

/// What became of lists that an aggregator sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Each of them counts, or a newer one of its issuer does.
    pub(crate) is_held: bool,
    /// Why one was refused; empty: none was.
    pub(crate) refused: String,
}

impl KeptRevocations {
    /// Gives the kept lists of a data folder to the trust. A damaged file is set aside: an aggregator sends its lists
    /// again. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn open(data: &Path, trust: &Trust, metrics: &Arc<Metrics>) -> Result<Self, AtomicFileError> {
        let path = data.join(file::NAME);
        let kept =
            Self { path, trust: trust.clone(), metrics: Arc::clone(metrics), written: Mutex::default() };
        let lists = match file::read(&RealDisk, &kept.path)? {
            file::Found::Lists(lists) => lists,
            file::Found::Nothing => return Ok(kept),
            file::Found::Damaged { why, aside } => {
                metrics.damage.inc();
                metrics.revocations.refuse("damaged");
                tracing::error!(
                    why, aside = %aside.display(),
                    "the revocation lists that were kept are damaged and set aside: until an aggregator sends its lists, \
                     only those of the identity folder count"
                );
                return Ok(kept);
            }
        };
        let verdict = kept.add(&lists);
        tracing::info!(
            lists = lists.lists.len(),
            refused = verdict.refused,
            "revocation lists of the data folder"
        );
        Ok(kept)
    }

    /// Gives lists to the trust, which verifies them. Takes time with long lists.
    pub(crate) fn add(&self, lists: &wire::RevocationLists) -> Verdict {
        let issuers: Vec<&[u8]> = lists.issuers.iter().map(|issuer| &**issuer).collect();
        let all: Vec<&[u8]> = lists.lists.iter().map(|list| &**list).collect();
        let errors = match self.trust.add_lists(&all, &issuers) {
            Ok(is_news) => {
                self.metrics.revocations.taken.inc_by(u64::from(is_news));
                return Verdict { is_held: true, refused: String::new() };
            }
            // Those that are valid were taken; one by one, each of the others says why not.
            Err(_) => all.iter().filter_map(|list| self.trust.add_lists(&[list], &issuers).err()),
        };
        let errors: Vec<RevocationError> = errors.collect();
        errors.iter().for_each(|error| self.metrics.revocations.refuse(reason(error)));
        let newer = errors.iter().all(|error| matches!(error, RevocationError::RolledBack { .. }));
        let refused = errors.first().map(RevocationError::to_string).unwrap_or_default();
        if !refused.is_empty() {
            tracing::warn!(
                refused,
                count = errors.len(),
                "a revocation list is refused; the known one counts"
            );
        }
        Verdict { is_held: newer, refused }
    }

    /// The trust, for each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<TrustStatus> {
        self.trust.subscribe()
    }

    /// Writes the lists that count now unless the file holds them. Returns the highest number of a root's list that
    /// is kept; 0: there is none.
    pub(crate) async fn keep(self: &Arc<Self>) -> Result<u64, Unkept> {
        let kept = Arc::clone(self);
        let keeping = tokio::task::spawn_blocking(move || kept.write());
        match resume_panic(keeping.await) {
            Ok(written) => written,
            Err(_) => Err(Unkept),
        }
    }

    /// See [`Self::keep`]. Blocks on the disk.
    fn write(&self) -> Result<u64, Unkept> {
        // One writer at a time; whoever comes later finds the newest lists.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let counting = self.trust.subscribe().borrow().revocations.clone();
        if !are_equal(written.lists(), counting.lists()) {
            let EncodedLists { bytes, left_out } = encode_lists(counting.lists().iter().map(encodable));
            if let Err(error) = file::write(&RealDisk, &self.path, &bytes) {
                tracing::error!(
                    condition = "revocations_not_kept", %error, file = %self.path.display(),
                    "cannot write the revocation lists: they count, but a restart would not know them"
                );
                return Err(Unkept);
            }
            if left_out > 0 {
                tracing::warn!(
                    condition = "revocations_left_out",
                    left_out,
                    "there are too many or too long revocation lists: some are not kept in the data folder"
                );
            }
            *written = counting.clone();
        }
        let roots = counting.lists().iter().filter(|list| list.issuer.is_none());
        Ok(roots.map(|list| list.number).max().unwrap_or(0))
    }

    /// Writes every change, forever; may be dropped at any await.
    pub(crate) fn keep_changes(self: Arc<Self>) -> impl Future<Output = ()> {
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

/// The lists are not on the disk; the log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unkept;

fn reason(error: &RevocationError) -> &'static str {
    match error {
        RevocationError::RolledBack { .. } => "rolled_back",
        RevocationError::Signature => "signature",
        RevocationError::TooMany => "too_large",
        RevocationError::Content(_) => "unreadable",
    }
}

fn are_equal(before: &[RevocationList], now: &[RevocationList]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| a.der == b.der && a.issuer == b.issuer)
}

/// A list as it is encoded. (The lists of a trust begin with those of roots, which count for every site.)
fn encodable(list: &RevocationList) -> (&[u8], Option<&[u8]>) {
    (&list.der, list.issuer.as_deref())
}

#[cfg(test)]
mod tests;
