//! Copies the windows of a table that can be read, and are not removed, to a new one.

use std::{io, path::Path, sync::Arc};

use crate::store::{
    memtable::row::PartialName,
    salvage::tables::{extents::Extents, known::Known},
    tables::{
        resolution::Resolution,
        scan::{ScanStep, TableScan},
        table::Table,
        writer::{TableSummary, TableWriter},
    },
};
use catchment_journal::RealDisk;

/// Copies windows to a file; `None` if there are none (and nothing was written).
///
/// # Errors
/// Of the disk, also where it refuses to open the table.
pub(in crate::store) fn copy(
    disk: &Arc<RealDisk>,
    table: &Arc<Table<RealDisk>>,
    path: &Path,
    known: Known<'_>,
    extents: &mut Extents,
) -> io::Result<Option<TableSummary>> {
    let (windows, partition) = (Resolution::Windows, table.partition());
    let mut scan = match TableScan::new(Arc::clone(table)) {
        Ok(scan) => scan,
        Err(error) if error.is_refusal() => return Err(error.to_io()),
        Err(_) => return Ok(None),
    };
    let mut writer: Option<TableWriter<RealDisk>> = None;
    let mut before: Option<(u32, PartialName)> = None;
    loop {
        match scan.advance() {
            ScanStep::End => return writer.map(TableWriter::finish).transpose(),
            ScanStep::Unread(block) if block.error.is_refusal() => return Err(block.error.to_io()),
            ScanStep::Unread(_) => {}
            ScanStep::Row => {
                let Some(row) = scan.row() else { continue };
                let place = (row.series, row.name);
                let stored = known.windows_from(row.series).is_some_and(|from| from <= row.name.start);
                if !stored
                    || before.is_some_and(|before| before >= place)
                    || known.fault(&row, windows, partition).is_some()
                {
                    continue;
                }
                before = Some(place);
                extents.add(&row);
                match &mut writer {
                    Some(writer) => writer.push(row)?,
                    none => none.insert(TableWriter::create(disk, path, windows, partition)?).push(row)?,
                }
            }
        }
    }
}
