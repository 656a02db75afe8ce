//! The catalog as a file: every key and value of the tree, as they are.
//!
//! ```text
//! magic (8) | version u16 | one zstd frame of:
//!   head: length u32, a message
//!   for each key, in order: its length u8, not 0 | length of the value u32 | key | value
//!   0 u8 | number of keys u64 | CRC-32C of everything since the head, u32
//! ```
//!
//! Numbers are little endian. Values are sealed by the tree, so each carries a checksum of its own. Keys are not
//! interpreted, so records of later versions are copied like any other.

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use catchment_journal::{Disk, DiskFile};
use prost::Message;
use zstd::stream::{read::Decoder, write::Encoder};

use super::BackupError;
use crate::store::{
    catalog::catalog_store::CatalogStore,
    tree::records::{self, Meta},
};

const MAGIC: [u8; 8] = *b"ctchexpo";
const VERSION: u16 = 1;
/// Level 1 takes a third of the space at several hundred MB/s.
const LEVEL: i32 = 1;
/// Longest head and value that are read: much more than any that is written.
const HEAD_BYTES_MAX: u32 = 64 << 10;
const VALUE_BYTES_MAX: u32 = 64 << 20;
/// Name of the copy while it is made.
const SPOOL: &str = "catalog.spool";
const BUFFER_BYTES: usize = 256 << 10;

/// What is known of the store besides its catalog.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::store) struct ExportHead {
    #[prost(fixed64, tag = "1")]
    pub(in crate::store) store: u64,
    #[prost(sint64, tag = "2")]
    pub(in crate::store) taken_ms: i64,
    /// Owner of the data folder; empty: none.
    #[prost(string, tag = "3")]
    pub(in crate::store) owner: String,
}

/// A copy of the catalog.
pub(super) struct Exported<F> {
    pub(super) file: F,
    pub(super) bytes: u64,
    pub(super) checksum: u32,
}

/// A file without a name, gone with its handle.
pub(super) struct Spool<F> {
    file: F,
    bytes: u64,
    checksum: u32,
}

impl<F: DiskFile> Spool<F> {
    /// Creates it in a data folder.
    pub(super) fn create<D: Disk<File = F>>(disk: &Arc<D>, folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(SPOOL);
        let failed = |source| BackupError::Io { what: format!("cannot create {}", path.display()), source };
        // One that a kill left between creation and removal.
        if disk.len(&path).map_err(failed)?.is_some() {
            disk.remove(&path).map_err(failed)?;
        }
        let file = disk.create_new(&path).map_err(failed)?;
        disk.remove(&path).map_err(failed)?;
        Ok(Self { file, bytes: 0, checksum: 0 })
    }
}

impl<F: DiskFile> Write for Spool<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts records by the first byte of their key.
#[derive(Default)]
struct Found {
    gateways: u64,
    epochs: u64,
    groups: u64,
    tables: u64,
    all: u64,
}

impl Found {
    fn add(&mut self, key: &[u8]) {
        self.all += 1;
        match key.first() {
            Some(&records::GATEWAY) => self.gateways += 1,
            Some(&records::EPOCH) => self.epochs += 1,
            Some(&records::GROUP) => self.groups += 1,
            Some(&records::TABLE) => self.tables += 1,
            _ => {}
        }
    }

    /// What is missing of the records that must exist.
    fn missing(&self, meta: &Meta) -> Option<String> {
        let kinds = [
            ("gateways", self.gateways, u64::from(meta.gateways)),
            ("epochs", self.epochs, u64::from(meta.epochs)),
            ("groups of series", self.groups, u64::from(meta.groups)),
            ("tables", self.tables, meta.tables),
        ];
        let wrong = kinds.into_iter().find(|(_, found, must)| found != must);
        wrong.map(|(what, found, must)| format!("the catalog has {found} {what}, but must have {must}"))
    }
}

/// Writes the catalog into a spool. The caller holds the flush lock, whose content is `meta`.
///
/// # Errors
/// [`BackupError::Damaged`] for a record that is damaged or missing.
pub(super) fn export<F: DiskFile>(
    catalog_store: &CatalogStore,
    meta: &Meta,
    head: &ExportHead,
    spool: Spool<F>,
) -> Result<Exported<F>, BackupError> {
    let failed = |source| BackupError::Io { what: "cannot copy the catalog".to_owned(), source };
    let mut spool = BufWriter::with_capacity(BUFFER_BYTES, spool);
    spool.write_all(&MAGIC).map_err(failed)?;
    spool.write_all(&VERSION.to_le_bytes()).map_err(failed)?;
    let mut out = Summed { inner: Encoder::new(spool, LEVEL).map_err(failed)?, checksum: 0 };
    let head = head.encode_to_vec();
    out.put(&[&(head.len() as u32).to_le_bytes(), &head]).map_err(failed)?;
    let (mut found, mut broken) = (Found::default(), None);
    let walked = catalog_store.each_record(|key, value| {
        found.add(key);
        let written = match records::unseal(key, value) {
            Ok(_) => put_record(&mut out, key, value),
            Err(reason) => {
                broken = Some(BackupError::Damaged(format!("record {}: {reason}", key.escape_ascii())));
                return Ok(ControlFlow::Break(()));
            }
        };
        if let Err(error) = written {
            broken = Some(failed(error));
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    });
    if let Some(error) = broken {
        return Err(error);
    }
    walked.map_err(|reason| BackupError::Damaged(format!("the catalog cannot be read: {reason}")))?;
    if let Some(missing) = found.missing(meta) {
        return Err(BackupError::Damaged(missing));
    }
    out.put(&[&[0], &found.all.to_le_bytes()]).map_err(failed)?;
    let checksum = out.checksum;
    out.put(&[&checksum.to_le_bytes()]).map_err(failed)?;
    let spool = out.inner.finish().map_err(failed)?;
    let Spool { file, bytes, checksum } = spool.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(Exported { file, bytes, checksum })
}

fn put_record(out: &mut Summed<impl Write>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
    let (key_bytes, value_bytes) = (u8::try_from(key.len()), u32::try_from(value.len()));
    out.put(&[&[key_bytes.map_err(invalid)?], &value_bytes.map_err(invalid)?.to_le_bytes(), key, value])
}

/// Passes bytes on and sums them.
struct Summed<W> {
    inner: W,
    checksum: u32,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.checksum = crc32c::crc32c_append(self.checksum, part);
            self.inner.write_all(part)?;
        }
        Ok(())
    }
}

impl<R: Read> Summed<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Ok(bytes)
    }

    /// The next `length` bytes; memory grows with what is there.
    fn take_long(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.inner).take(u64::from(length)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Ok(bytes)
    }
}

/// Reads an export.
pub(in crate::store) struct ExportReader<R: Read> {
    summed: Summed<Decoder<'static, BufReader<R>>>,
    keys: u64,
    ended: bool,
}

fn malformed(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

impl<R: Read> ExportReader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// Of the reader; [`io::ErrorKind::InvalidData`] for what is no export that this version reads.
    pub(in crate::store) fn open(mut from: R) -> io::Result<(Self, ExportHead)> {
        let (mut magic, mut version) = ([0; 8], [0; 2]);
        from.read_exact(&mut magic)?;
        from.read_exact(&mut version)?;
        let version = u16::from_le_bytes(version);
        if magic != MAGIC {
            return Err(malformed("it is no copy of a catalog"));
        }
        if version != VERSION {
            return Err(malformed(format!("it has format {version}, this program knows format {VERSION}")));
        }
        let mut summed = Summed { inner: Decoder::new(from)?, checksum: 0 };
        let length = u32::from_le_bytes(summed.take()?);
        if length > HEAD_BYTES_MAX {
            return Err(malformed("its head is too long"));
        }
        let head = summed.take_long(length)?;
        let head = ExportHead::decode(head.as_slice()).map_err(|_| malformed("its head is malformed"))?;
        Ok((Self { summed, keys: 0, ended: false }, head))
    }

    /// The next key and value; `None` after the last, once number and checksum of all were compared.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(in crate::store) fn next(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        if self.ended {
            return Ok(None);
        }
        let [key_bytes] = self.summed.take()?;
        if key_bytes == 0 {
            let keys = u64::from_le_bytes(self.summed.take()?);
            let checksum = self.summed.checksum;
            if (keys, u32::from_le_bytes(self.summed.take()?)) != (self.keys, checksum) {
                return Err(malformed("its number of keys or its checksum does not match"));
            }
            self.ended = true;
            return Ok(None);
        }
        let value_bytes = u32::from_le_bytes(self.summed.take()?);
        if value_bytes > VALUE_BYTES_MAX {
            return Err(malformed("a value is too long"));
        }
        let key = self.summed.take_long(u32::from(key_bytes))?;
        let value = self.summed.take_long(value_bytes)?;
        self.keys += 1;
        Ok(Some((key, value)))
    }
}
