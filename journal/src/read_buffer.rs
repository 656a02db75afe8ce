//! Reads a segment file through one small buffer.
//!
//! Bytes at and beyond `limit` are never read, so that the buffer holds no stale copy of bytes written there later.
//! Memory is [`READ_BUFFER_BYTES`] bytes, whatever the file's length.

use std::io;

use crate::fs::DiskFile;

/// Size of the buffer, and the maximum that one call can request.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

pub(crate) struct ReadBuffer<F> {
    file: F,
    /// File offset at which reading ends.
    limit: u64,
    /// File offset of the buffer.
    offset: u64,
    bytes: Vec<u8>,
    /// Bytes read from the file so far, a measure of work.
    pub(crate) work: u64,
}

impl<F: DiskFile> ReadBuffer<F> {
    pub(crate) fn new(file: F, limit: u64) -> Self {
        Self { file, limit, offset: 0, bytes: Vec::new(), work: 0 }
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Up to `len` bytes at `offset`; fewer only at the limit or at the end of the file.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = (len.min(READ_BUFFER_BYTES) as u64).min(self.limit.saturating_sub(offset)) as usize;
        let have = self.bytes.len() as u64;
        let inside = offset >= self.offset && offset + len as u64 <= self.offset + have;
        if !inside {
            self.fill(offset)?;
        }
        let from = (offset - self.offset) as usize;
        let to = (from + len).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    fn fill(&mut self, offset: u64) -> io::Result<()> {
        let want = (READ_BUFFER_BYTES as u64).min(self.limit.saturating_sub(offset)) as usize;
        self.offset = offset;
        self.bytes.clear();
        self.bytes.resize(want, 0);
        let mut filled = 0;
        while let Some(rest) = self.bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(filled);
        self.work += filled as u64;
        Ok(())
    }
}
