//! Waiting for free disk space before a server starts.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::OutageLog;

/// Pause between two looks at the free space.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until the file system of a folder has `needed` free bytes, as `free_bytes` tells them, and logs a warning while
/// it waits. The folder may not exist yet: then its nearest existing parent counts. Ends at once where the free
/// space cannot be read: what opens the folder next reports why.
pub async fn wait_for_space(folder: &Path, needed: u64, free_bytes: impl Fn(&Path) -> io::Result<u64>) {
    let mut outage = OutageLog::default();
    while let Ok(free) = free_bytes(&existing(folder)) {
        if free >= needed {
            break;
        }
        if outage.record_failure(Instant::now(), "space").is_some() {
            let data = folder.display();
            tracing::warn!(
                %data, free, needed,
                "the file system is full: make room on it; the start waits until then"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    if outage.record_recovery(Instant::now()).is_some() {
        tracing::info!(data = %folder.display(), "enough disk space is free: starting");
    }
}

/// A folder, or its nearest parent that exists.
fn existing(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|path| path.exists());
    // A relative path has no existing ancestor if none of its parts exists.
    there.filter(|path| !path.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_until_there_is_enough_space() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("not/there/yet");
        let answers = RefCell::new(vec![100, 100, 99, 0].into_iter());
        let looked = RefCell::new(Vec::new());
        let began = tokio::time::Instant::now();
        let free = |path: &Path| {
            looked.borrow_mut().push(path.to_owned());
            Ok(answers.borrow_mut().next_back().unwrap())
        };
        wait_for_space(&data, 100, free).await;
        assert_eq!(began.elapsed(), 2 * PAUSE);
        assert_eq!(looked.into_inner(), vec![folder.path(); 3], "the nearest parent that exists");
    }

    #[tokio::test(start_paused = true)]
    async fn unreadable_free_space_is_left_to_who_opens_the_folder() {
        wait_for_space(Path::new("surely/not/there"), 1, |path| {
            assert_eq!(path, Path::new("."));
            Err(io::ErrorKind::PermissionDenied.into())
        })
        .await;
    }
}
