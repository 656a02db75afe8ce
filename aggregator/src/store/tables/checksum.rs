//! The checksum of a table's file as a whole, from that of its parts.

use catchment_journal::Disk;

use super::{
    error::TableError,
    format::{FOOTER_BYTES, Footer, HEADER_BYTES, header},
    table::Table,
};

impl<D: Disk> Table<D> {
    /// The CRC-32C that the whole file must have. Reads its index, not its blocks, so damage of a block shows as a
    /// difference from what the file has.
    ///
    /// # Errors
    /// [`TableError`].
    pub(in crate::store) fn checksum(&self) -> Result<u32, TableError> {
        let summary = *self.summary();
        let header: [u8; HEADER_BYTES] = header(self.resolution(), self.partition());
        let (mut crc, mut offset) = (crc32c::crc32c(&header), HEADER_BYTES as u64);
        for number in 0..self.block_count() {
            let entry = self.entry(number)?;
            crc = crc32c::crc32c_combine(crc, entry.crc, entry.stored as usize);
            offset += u64::from(entry.stored);
        }
        let index_bytes = summary.bytes.saturating_sub(offset).saturating_sub(FOOTER_BYTES as u64);
        crc = crc32c::crc32c_combine(crc, summary.index_crc, index_bytes as usize);
        let footer = Footer { summary, index_offset: offset, index_bytes }.encode(&header);
        Ok(crc32c::crc32c_append(crc, &footer))
    }
}
