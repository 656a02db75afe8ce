//! The wire format of protobuf, as much of it as encoders write for our messages: a view of each message's bytes.
//!
//! A view is `None` for bytes that are malformed, and for bytes that mean something but are not written by an encoder
//! that follows the `.proto` file of today: unknown fields, a repeated field in pieces or not packed. Where there is a
//! view, it is what the generated types would hold.

use catchment_partial::unzigzag;

/// Keys of the fields: number and wire type.
pub(super) mod keys {
    pub(crate) const MESSAGE_READINGS: u64 = 2 << 3 | 2;
    pub(crate) const SEQ: u64 = 1 << 3;
    pub(crate) const DEFINE: u64 = 2 << 3 | 2;
    pub(crate) const COLUMNS: u64 = 3 << 3 | 2;
    pub(crate) const READINGS: u64 = 4 << 3 | 2;
    pub(super) const COLUMN_SERIES: u64 = 1 << 3;
    pub(super) const COLUMN_FIRST: u64 = 2 << 3;
    pub(super) const COLUMN_STEPS: u64 = 3 << 3 | 2;
    pub(super) const COLUMN_VALUES: u64 = 4 << 3 | 2;
    pub(super) const READING_METRIC: u64 = 1 << 3 | 2;
    pub(super) const READING_LABELS: u64 = 2 << 3 | 2;
    pub(super) const READING_TIME: u64 = 3 << 3;
    pub(super) const READING_VALUE: u64 = 4 << 3 | 1;
}

/// Takes a varint of up to 64 bits off the front.
#[inline]
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut value = u64::from(first & 0x7f);
    let (mut byte, mut shift) = (first, 7);
    while byte >= 0x80 {
        let (&next, behind) = rest.split_first()?;
        (byte, rest) = (next, behind);
        // The tenth byte holds the highest bit alone.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
    }
    *bytes = rest;
    Some(value)
}

/// Takes a length and as many bytes off the front.
#[inline]
pub(super) fn delimited<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A `Column`; its steps may yet be malformed.
#[derive(Debug)]
pub(super) struct ColumnView<'b> {
    pub(super) series: u32,
    pub(super) first_time_ns: i64,
    /// Varints.
    pub(super) steps: &'b [u8],
    /// Little-endian doubles.
    pub(super) values: &'b [[u8; 8]],
}

impl<'b> ColumnView<'b> {
    #[inline]
    pub(super) fn of(mut bytes: &'b [u8]) -> Option<Self> {
        let mut view = Self { series: 0, first_time_ns: 0, steps: &[], values: &[] };
        while !bytes.is_empty() {
            match varint(&mut bytes)? {
                // Cut to 32 bits, as protobuf has it.
                keys::COLUMN_SERIES => view.series = varint(&mut bytes)? as u32,
                keys::COLUMN_FIRST => view.first_time_ns = unzigzag(varint(&mut bytes)?),
                keys::COLUMN_STEPS if view.steps.is_empty() => view.steps = delimited(&mut bytes)?,
                keys::COLUMN_VALUES if view.values.is_empty() => {
                    let (values, rest) = delimited(&mut bytes)?.as_chunks();
                    if !rest.is_empty() {
                        return None;
                    }
                    view.values = values;
                }
                _ => return None,
            }
        }
        Some(view)
    }

    /// The number of steps, if they are well-formed.
    #[inline]
    pub(super) fn step_count(&self) -> usize {
        self.steps.iter().filter(|byte| **byte < 0x80).count()
    }

    /// Whether all steps are well-formed.
    pub(super) fn has_steps(&self) -> bool {
        let mut steps = self.steps;
        while !steps.is_empty() {
            if varint(&mut steps).is_none() {
                return false;
            }
        }
        true
    }
}

/// A single `Reading` with its fields in order; the texts may yet be malformed.
#[derive(Debug)]
pub(super) struct ReadingView<'b> {
    /// The fields of metric and labels.
    pub(super) name: &'b [u8],
    pub(super) time_ns: i64,
    pub(super) value: f64,
}

impl<'b> ReadingView<'b> {
    #[inline]
    pub(super) fn of(bytes: &'b [u8]) -> Option<Self> {
        let mut rest = bytes;
        if field(keys::READING_METRIC, &mut rest) {
            delimited(&mut rest)?;
        }
        while field(keys::READING_LABELS, &mut rest) {
            delimited(&mut rest)?;
        }
        let name = bytes.get(..bytes.len() - rest.len())?;
        let mut view = Self { name, time_ns: 0, value: 0.0 };
        if field(keys::READING_TIME, &mut rest) {
            view.time_ns = unzigzag(varint(&mut rest)?);
        }
        if field(keys::READING_VALUE, &mut rest) {
            let (value, behind) = rest.split_first_chunk()?;
            view.value = f64::from_le_bytes(*value);
            rest = behind;
        }
        rest.is_empty().then_some(view)
    }
}

/// Takes the key of a field off the front, if it is this one. (All of these take one byte.)
#[inline]
fn field(key: u64, bytes: &mut &[u8]) -> bool {
    match bytes.split_first() {
        Some((first, rest)) if u64::from(*first) == key => {
            *bytes = rest;
            true
        }
        _ => false,
    }
}
