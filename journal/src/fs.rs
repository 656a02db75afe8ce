//! The file-system trait that this crate builds on, and its implementation for the operating system.
//!
//! Contract: written bytes and new lengths are durable after [`DiskFile::sync_data`]; created, renamed and
//! removed names are durable after [`Disk::sync_dir`] of their folder; nothing else is durable. Paths are complete.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, FallocateFlags, StatxFlags};
use rustix::io::Errno;

/// File systems that write in place: ext2 to ext4, and XFS (`linux/magic.h`). Btrfs, ZFS, F2FS and others do not.
const IN_PLACE: [rustix::fs::FsWord; 2] = [0xef53, 0x5846_5342];

/// Identity and state of a file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Device and inode number: unique on this machine.
    pub id: (u64, u64),
    /// Number of names (hard links); 0 after its removal.
    pub links: u64,
    /// Length in bytes.
    pub len: u64,
}

impl FileStatus {
    /// Status of a path relative to an open folder, or, with an empty path, of the open file itself.
    ///
    /// Does not query times. Once the change time has been queried, Linux updates it with the next write (multigrain
    /// timestamps, since 6.13), and on ext4 without a journal each sync then writes the inode too: querying it after
    /// each commit cost a second disk access per sync.
    fn of(folder: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::NLINK | StatxFlags::SIZE;
        let status = rustix::fs::statx(folder, path, flags, wanted)?;
        let device = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
        Ok(Self { id: (device, status.stx_ino), links: status.stx_nlink.into(), len: status.stx_size })
    }
}

/// A file system, or something that behaves like one.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Creates a file for reading and writing; fails if it exists.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Self::File>;
    /// Names of a folder's entries, in no particular order. Names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Length of a file in bytes; `None` if there is none.
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;
    /// The file or folder to which a path leads; `None` if there is none.
    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file within its folder atomically, replacing an existing one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates a folder and its missing parents, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that a file in this folder could still take; `u64::MAX` where the file system has no size of its own.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Whether the file system overwrites in place: rewriting a block takes no new space, and its sync waits only for
    /// the block.
    fn overwrites_in_place(&self, dir: &Path) -> bool;
    /// An unpredictable number.
    fn random_u64(&self) -> u64;
}

/// An open file, read and written at positions.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Allocates the blocks of a range, which read as zeros, and extends the file to include it.
    /// Reports a full disk.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Truncates or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes bytes and length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes bytes and all metadata durable (`fsync`).
    fn sync_all(&self) -> io::Result<()>;
    /// Status of the open file, even if its path now leads elsewhere.
    fn status(&self) -> io::Result<FileStatus>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64> {
        Ok(self.status()?.len)
    }
    /// True if the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The operating system's file system.
#[derive(Copy, Clone, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn create_new(&self, path: &Path) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        Ok(self.status(path)?.map(|status| status.len))
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        match FileStatus::of(rustix::fs::CWD, path, AtFlags::empty()) {
            Ok(status) => Ok(Some(status)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir_all(parent)?;
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(parent)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        // `/proc` and some file systems over a network tell no size at all: that is not a full disk.
        if stat.f_blocks == 0 {
            return Ok(u64::MAX);
        }
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn overwrites_in_place(&self, dir: &Path) -> bool {
        rustix::fs::statfs(dir).is_ok_and(|stat| IN_PLACE.contains(&stat.f_type))
    }

    fn random_u64(&self) -> u64 {
        // SipHash with a key from the operating system.
        RandomState::new().build_hasher().finish()
    }
}

impl DiskFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        loop {
            return match rustix::fs::fallocate(self, FallocateFlags::empty(), offset, len) {
                Ok(()) => Ok(()),
                Err(Errno::INTR) => continue,
                // Not supported by the file system: writing zeros reserves the space as well.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, offset, len),
                Err(errno) => Err(errno.into()),
            };
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn status(&self) -> io::Result<FileStatus> {
        FileStatus::of(self, Path::new(""), AtFlags::EMPTY_PATH)
    }
}

/// Fills a range with zeros in bounded steps.
pub(crate) fn write_zeros(file: &impl DiskFile, offset: u64, len: u64) -> io::Result<()> {
    let zeros = [0u8; 64 << 10];
    let end = offset.saturating_add(len);
    let mut at = offset;
    while at < end {
        let step = (end - at).min(zeros.len() as u64);
        file.write_all_at(zeros.get(..step as usize).unwrap_or(&zeros), at)?;
        at += step;
    }
    Ok(())
}

/// True for errors of a full disk or quota, which pass once space is freed.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_a_size_is_not_full() {
        assert_eq!(RealDisk.free_bytes(Path::new("/proc")).unwrap(), u64::MAX);
        let real = RealDisk.free_bytes(&std::env::temp_dir()).unwrap();
        assert!(real < u64::MAX, "{real}");
    }
}
