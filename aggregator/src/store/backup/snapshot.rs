//! Takes a snapshot of a running store.
//!
//! Invariant: catalog and tables are those of one commit, that of the flush. The flush lock is held from the flush until
//! the catalog is copied, so nothing is committed between.

use std::{io, sync::Arc};

use catchment_journal::{Disk, DiskFile};
use prost::Message;

use super::{
    BackupError, BackupFile, CATALOG, Contents, FORMAT, Snapshot, TABLES,
    export::{ExportHead, Exported, Spool, export},
};
use crate::store::{
    StoreError,
    embedded::{inner::Inner, locks::lock},
    flush::flusher::{self, flush_applied_locked},
    tables::{
        error::TableError,
        table::Table,
        version::{FOLDER, StoredTable, Version},
    },
    tree::{
        WriteBatch,
        records::{self, Meta},
    },
};

/// The identity of a store.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct StoreIdRecord {
    #[prost(fixed64, tag = "1")]
    pub(in crate::store) id: u64,
}

/// A snapshot of an embedded store.
pub(super) struct TableSnapshot<D: Disk> {
    contents: Contents,
    /// The first of its files.
    catalog: D::File,
    /// The others; held so that their files stay.
    tables: Vec<Arc<StoredTable<D>>>,
    disk: Arc<D>,
    open: Option<(usize, D::File)>,
}

/// Flushes everything that was durable before the call, and takes that state. Calls `released` once no flush waits for it
/// any more; the indices of the tables are read after that.
pub(super) fn take<D: Disk>(
    inner: &Inner<D>,
    now_ms: i64,
    released: &mut dyn FnMut(),
) -> Result<TableSnapshot<D>, BackupError> {
    inner.apply_durable();
    let (store, sequence, version, exported) = {
        let meta = &mut *lock(&inner.flush_lock);
        flush_applied_locked(inner, meta).map_err(|error| flusher::to_store_error(inner, error))?;
        let store = store_id(inner, meta)?;
        let owner = inner.data_dir.as_ref().and_then(|folder| folder.owner()).unwrap_or_default();
        let head = ExportHead { store, taken_ms: now_ms, owner: owner.to_owned() };
        let spool = Spool::create(&inner.disk, &inner.folder)?;
        let exported = export(&inner.catalog_store, meta, &head, spool)?;
        (store, meta.sequence, inner.tables.version(), exported)
    };
    released();
    let Exported { file: catalog, bytes, checksum } = exported;
    let mut files = vec![BackupFile { name: format!("{CATALOG}{sequence}"), bytes, checksum }];
    let tables = all(&version);
    for table in &tables {
        files.push(table_file(inner, table)?);
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let contents = Contents { store, format: FORMAT, taken_ms: now_ms, version, files };
    Ok(TableSnapshot { contents, catalog, tables, disk: Arc::clone(&inner.disk), open: None })
}

fn all<D: Disk>(version: &Version<D>) -> Vec<Arc<StoredTable<D>>> {
    version.all().cloned().collect()
}

/// The store's identity, made if it has none yet.
fn store_id<D: Disk>(inner: &Inner<D>, meta: &mut Meta) -> Result<u64, BackupError> {
    let known = inner.catalog_store.record::<StoreIdRecord>(records::STORE_ID, meta.sequence);
    if let Some(record) = known.map_err(BackupError::Damaged)? {
        return Ok(record.id);
    }
    let id = (inner.disk.random_u64() >> 1).max(1);
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    writes.record(records::STORE_ID.to_vec(), &StoreIdRecord { id });
    inner.catalog_store.commit(writes, meta).map_err(|reason| {
        inner.fail(reason.clone().into());
        StoreError::Failed(reason.into())
    })?;
    Ok(id)
}

/// Name, length and checksum of a table. Reads its index alone: that has the checksums of its blocks.
fn table_file<D: Disk>(inner: &Inner<D>, stored: &StoredTable<D>) -> Result<BackupFile, BackupError> {
    let entry = &stored.entry;
    let path = entry.path(&inner.folder);
    // Not the store's own: that would keep its index in memory from now on.
    let table = Table::new(Arc::clone(&inner.disk), path, entry.resolution, entry.partition, entry.summary);
    let checksum = table.checksum().map_err(table_error)?;
    Ok(BackupFile { name: format!("{TABLES}{}", entry.file_name()), bytes: entry.summary.bytes, checksum })
}

fn table_error(error: TableError) -> BackupError {
    match error {
        TableError::Damaged { .. } | TableError::Missing { .. } => BackupError::Damaged(error.to_string()),
        TableError::Read { .. } | TableError::Refused { .. } => BackupError::Io {
            what: "a table cannot be backed up".to_owned(),
            source: io::Error::other(error.to_string()),
        },
    }
}

impl<D: Disk> Snapshot for TableSnapshot<D> {
    fn contents(&self) -> &Contents {
        &self.contents
    }

    fn read(&mut self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<usize, BackupError> {
        let failed = |name: &str, source| BackupError::Io { what: format!("cannot read {name}"), source };
        let Some(number) = file.checked_sub(1) else {
            return read_at(&self.catalog, offset, buffer)
                .map_err(|error| failed("the catalog's copy", error));
        };
        let missing = || failed("a table", io::ErrorKind::NotFound.into());
        let table = self.tables.get(number).ok_or_else(missing)?;
        let path = table.table.path();
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            let opened = self.disk.open_read(path);
            self.open = Some((
                file,
                opened.map_err(|error| failed(&format!("{FOLDER}, {}", path.display()), error))?,
            ));
        }
        let (_, open) = self.open.as_ref().ok_or_else(missing)?;
        read_at(open, offset, buffer).map_err(|error| failed(&path.display().to_string(), error))
    }
}

fn read_at(file: &impl DiskFile, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
