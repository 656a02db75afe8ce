//! The frame of a table's file. All numbers are little endian.
//!
//! ```text
//! header: magic (8) | version u16 | resolution u8 | 0 | partition i32
//! blocks, each zstd
//! index:  see there
//! footer: index offset u64, bytes u64 | rows u64 | first, last start i64 | blocks u32 | least, greatest series u32
//!         | CRC-32C of the index u32 | CRC-32C of header and footer up to here u32 | magic (8)
//! ```

use catchment_partial::Timestamp;

use super::{resolution::Resolution, writer::TableSummary};

const MAGIC: [u8; 8] = *b"ctchtabl";
const MAGIC_END: [u8; 8] = *b"lbathctc";
const VERSION: u16 = 1;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 68;

/// The header of a table.
pub(super) fn header(resolution: Resolution, partition: i32) -> [u8; HEADER_BYTES] {
    let [version_low, version_high] = VERSION.to_le_bytes();
    let [p0, p1, p2, p3] = partition.to_le_bytes();
    let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
    let number = resolution.number();
    [m0, m1, m2, m3, m4, m5, m6, m7, version_low, version_high, number, 0, p0, p1, p2, p3]
}

/// Resolution and partition of a header.
///
/// # Errors
/// What is wrong.
pub(super) fn read_header(bytes: &[u8]) -> Result<(Resolution, i32), String> {
    let mut fields = Fields(bytes);
    let text = || "its header is malformed".to_owned();
    if fields.take::<8>().ok_or_else(text)? != MAGIC {
        return Err("it is no table of this program".to_owned());
    }
    let version = fields.take().map(u16::from_le_bytes).ok_or_else(text)?;
    if version != VERSION {
        return Err(format!("it has format {version}, this program knows format {VERSION}"));
    }
    let [resolution, zero] = fields.take().ok_or_else(text)?;
    let resolution = Resolution::from_number(resolution).filter(|_| zero == 0).ok_or_else(text)?;
    let partition = fields.take().map(i32::from_le_bytes).ok_or_else(text)?;
    Ok((resolution, partition))
}

/// What the footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) summary: TableSummary,
    pub(super) index_offset: u64,
    pub(super) index_bytes: u64,
}

impl Footer {
    /// Encodes it, for a file with this header.
    pub(super) fn encode(&self, header: &[u8]) -> Vec<u8> {
        let summary = &self.summary;
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        for number in [self.index_offset, self.index_bytes, summary.rows] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [summary.first, summary.last] {
            out.extend_from_slice(&time.as_nanos().to_le_bytes());
        }
        for number in [summary.blocks, summary.least_series, summary.greatest_series, summary.index_crc] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(header), &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC_END);
        out
    }

    /// Reads the last [`FOOTER_BYTES`] of a file of this header and length; `None` if they are not a footer of it.
    pub(super) fn decode(bytes: &[u8], header: &[u8], file_bytes: u64) -> Option<Self> {
        let mut fields = Fields(bytes);
        let [index_offset, index_bytes, rows] = fields.take_all(u64::from_le_bytes)?;
        let [first, last] = fields.take_all(|bytes| Timestamp::from_nanos(i64::from_le_bytes(bytes)))?;
        let [blocks, least_series, greatest_series, index_crc] = fields.take_all(u32::from_le_bytes)?;
        let checked = bytes.len() - fields.0.len();
        let [crc] = fields.take_all(u32::from_le_bytes)?;
        let magic = fields.take::<8>()?;
        let computed = crc32c::crc32c_append(crc32c::crc32c(header), bytes.get(..checked)?);
        let end = index_offset.checked_add(index_bytes)?.checked_add(FOOTER_BYTES as u64)?;
        let whole = magic == MAGIC_END && fields.0.is_empty() && crc == computed && end == file_bytes;
        let bytes = file_bytes;
        let summary =
            TableSummary { bytes, rows, blocks, index_crc, first, last, least_series, greatest_series };
        whole.then_some(Self { summary, index_offset, index_bytes })
    }
}

/// Takes fixed fields from the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn take_all<const N: usize, const COUNT: usize, T: Copy>(
        &mut self,
        read: impl Fn([u8; N]) -> T,
    ) -> Option<[T; COUNT]> {
        let mut fields = [read([0; N]); COUNT];
        for field in &mut fields {
            *field = read(self.take()?);
        }
        Some(fields)
    }
}
