//! Reads a snapshot, file by file, and streams it. Runs on a thread of its own with a low priority.

use std::{collections::HashSet, time::Instant};

use catchment_proto::wire::{self, BackupResponse, backup_response::Kind};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time::timeout,
};
use tonic::Status;

use super::{CHUNK_BYTES, pace::Pace};
use crate::store::{BackupError, BackupFile, Contents, Snapshot, StoreError};

/// Files in one message of the list.
const FILES_A_MESSAGE: usize = 1_000;
/// Longest time in which the caller takes nothing.
const TAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Reads the files that are wanted and passes on their content in order, at most [`CHUNK_BYTES`] at once. Returns their
/// number and bytes.
///
/// # Errors
/// [`BackupError`], also for a file whose length or checksum is not what it must be; that of `each`.
pub(crate) fn read_files<E: From<BackupError>>(
    snapshot: &mut dyn Snapshot,
    wanted: impl Fn(&BackupFile) -> bool,
    mut each: impl FnMut(&BackupFile, u64, Vec<u8>) -> Result<(), E>,
) -> Result<(u64, u64), E> {
    let files = snapshot.contents().files.clone();
    let (mut count, mut sum) = (0, 0);
    for (number, file) in files.iter().enumerate().filter(|(_, file)| wanted(file)) {
        let (mut offset, mut checksum) = (0, 0);
        let damaged = |what: &str| BackupError::Damaged(format!("{}: {what}", file.name));
        loop {
            let left = file.bytes.saturating_sub(offset).min(CHUNK_BYTES as u64) as usize;
            let mut content = vec![0; left];
            let mut filled = 0;
            while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match snapshot.read(number, offset + filled as u64, rest)? {
                    0 => return Err(damaged("it is shorter than it must be").into()),
                    read => filled += read,
                }
            }
            checksum = crc32c::crc32c_append(checksum, &content);
            let end = offset + left as u64;
            if end == file.bytes && checksum != file.checksum {
                return Err(damaged("its checksum differs").into());
            }
            each(file, offset, content)?;
            offset = end;
            if offset >= file.bytes {
                break;
            }
        }
        (count, sum) = (count + 1, sum + file.bytes);
    }
    Ok((count, sum))
}

/// Why a stream ended early.
#[derive(Debug)]
pub(crate) enum End {
    /// The caller is gone: nobody to report to.
    Gone,
    /// It is told.
    Told(&'static str, Status),
}

impl From<BackupError> for End {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        match error {
            BackupError::Store(StoreError::Full(_)) => {
                Self::Told("no_space", Status::resource_exhausted(text))
            }
            BackupError::Store(_) => Self::Told("store_failed", Status::unavailable(text)),
            BackupError::Damaged(_) => Self::Told("damaged", Status::data_loss(text)),
            BackupError::Io { .. } => Self::Told("disk", Status::internal(text)),
        }
    }
}

/// A stream to a caller.
pub(crate) struct Sender {
    pub(crate) runtime: Handle,
    pub(crate) responses: mpsc::Sender<Result<BackupResponse, Status>>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) pace: Pace,
}

impl Sender {
    /// Sends what a snapshot consists of, then the files that the caller lacks. Returns the number of bytes sent.
    ///
    /// # Errors
    /// See [`End`].
    pub(crate) fn send(
        &mut self,
        snapshot: &mut dyn Snapshot,
        have: &HashSet<BackupFile>,
    ) -> Result<u64, End> {
        for start in starts(snapshot.contents()) {
            self.put(Kind::Start(start))?;
        }
        let (files, bytes) = read_files(
            snapshot,
            |file| !have.contains(file),
            |file, offset, content| {
                let bytes = content.len();
                let name = file.name.clone();
                self.put(Kind::Chunk(wire::BackupChunk { name, offset, content: content.into() }))?;
                self.wait(bytes)
            },
        )?;
        self.put(Kind::End(wire::BackupEnd { files, bytes }))?;
        Ok(bytes)
    }

    /// Queues a message; waits while the caller does not take any.
    fn put(&mut self, kind: Kind) -> Result<(), End> {
        let Self { runtime, responses, stopping, .. } = self;
        let sending = async {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => Err(stopped()),
                sent = timeout(TAKE_TIMEOUT, responses.send(Ok(BackupResponse { kind: Some(kind) }))) => match sent {
                    Ok(sent) => sent.map_err(|_| End::Gone),
                    Err(_) => {
                        let text = "the caller has taken nothing for a minute: run the backup again, it goes on";
                        Err(End::Told("not_read", Status::deadline_exceeded(text)))
                    }
                },
            }
        };
        runtime.block_on(sending)
    }

    /// Waits as long as the rate says.
    fn wait(&mut self, bytes: usize) -> Result<(), End> {
        let pause = self.pace.sent(bytes, Instant::now());
        if pause.is_zero() {
            return Ok(());
        }
        let Self { runtime, responses, stopping, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => Err(stopped()),
                () = responses.closed() => Err(End::Gone),
                () = tokio::time::sleep(pause) => Ok(()),
            }
        })
    }
}

/// Why backups end early: all labels for metrics.
pub(crate) const END_REASONS: [&str; 9] =
    ["busy", "closed", "damaged", "disk", "no_space", "not_read", "panicked", "stopping", "store_failed"];

fn stopped() -> End {
    End::Told(
        "stopping",
        Status::unavailable("this aggregator is stopping: run the backup again, it goes on"),
    )
}

/// The list of files, in messages of bounded length.
fn starts(contents: &Contents) -> Vec<wire::BackupStart> {
    let file = |file: &BackupFile| wire::BackupFile {
        name: file.name.clone(),
        bytes: file.bytes,
        checksum: file.checksum,
    };
    let start = |files: &[BackupFile]| wire::BackupStart {
        format: contents.format,
        files: files.iter().map(file).collect(),
        taken_ms: contents.taken_ms,
        version: contents.version.clone(),
        store: contents.store,
    };
    contents.files.chunks(FILES_A_MESSAGE).map(start).collect()
}
