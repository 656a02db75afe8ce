//! Keeps the ends of certificates in the data folder.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use catchment_journal::RealDisk;
use catchment_settings::supervise::resume_panic;
use tokio::time::sleep;

use super::{Certificates, file};
use crate::clock;

/// How long changes gather before they are written. What a crash loses the gateways tell again.
const WRITE_AFTER: Duration = Duration::from_secs(60);
/// How long after its end a certificate is kept, so that a device with one that expired is shown as such; seconds.
const KEPT_AFTER_END_S: i64 = 366 * 86_400;

/// The ends of certificates, and their file in the data folder.
#[derive(Debug)]
pub(crate) struct KeptCertificates {
    pub(crate) certificates: Arc<Certificates>,
    path: PathBuf,
    /// Number of the last change that was written.
    written: AtomicU64,
}

impl KeptCertificates {
    /// Reads the file of a data folder. A damaged one counts as missing: the gateways tell again. Blocks on the disk.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join(file::NAME);
        let certificates = file::read(&RealDisk, &path).unwrap_or_else(|why| {
            tracing::warn!(
                why, file = %path.display(),
                "when certificates of devices end is not known until their gateways tell it again"
            );
            Certificates::default()
        });
        Self { certificates: Arc::new(certificates), path, written: AtomicU64::new(0) }
    }

    /// Writes changes, forever. May be dropped at any await.
    pub(crate) async fn keep_changes(self: Arc<Self>) {
        let mut changed = self.certificates.changed.subscribe();
        // What came before this began.
        changed.mark_changed();
        loop {
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
            sleep(WRITE_AFTER).await;
            changed.mark_unchanged();
            Arc::clone(&self).write().await;
        }
    }

    /// Writes what has changed since the last time, on a thread that may block on the disk.
    pub(crate) async fn write(self: Arc<Self>) {
        let writing = tokio::task::spawn_blocking(move || {
            let changes = self.certificates.changes();
            if self.written.load(Relaxed) == changes {
                return;
            }
            let ended_before_s = clock::now_ms() / 1_000 - KEPT_AFTER_END_S;
            match file::write(&RealDisk, &self.path, &self.certificates, ended_before_s) {
                Ok(()) => self.written.store(changes, Relaxed),
                // The next change tries again.
                Err(error) => tracing::warn!(
                    condition = "certificates_not_kept", %error, file = %self.path.display(),
                    "cannot write when certificates end: after a restart the gateways tell it again"
                ),
            }
        });
        let _ = resume_panic(writing.await);
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::{Name, wire};

    use super::*;
    use crate::testing::gateway;

    #[tokio::test]
    async fn the_next_start_knows_them_and_a_damaged_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let ends = |kept: &KeptCertificates| {
            kept.certificates.of_device(&Name::new("berlin").unwrap(), &Name::new("press").unwrap())
        };
        let kept = Arc::new(KeptCertificates::open(folder.path()));
        Arc::clone(&kept).write().await;
        assert!(!kept.path.exists(), "nothing has changed");
        let device = "press".to_owned();
        let expires_s = clock::now_ms();
        let one = wire::DeviceCertificate { device, expires_s, session_began_s: 1 };
        let told = wire::DeviceCertificates { devices: vec![one] };
        kept.certificates.take(&gateway("berlin", "g1"), told, 1, |reason| panic!("{reason}"));
        Arc::clone(&kept).write().await;
        assert_eq!(ends(&KeptCertificates::open(folder.path())), expires_s);
        std::fs::write(&kept.path, b"torn").unwrap();
        assert_eq!(ends(&KeptCertificates::open(folder.path())), 0);
    }
}
