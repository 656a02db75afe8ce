//! Lists of ascending positions, encoded as runs.
//!
//! A run is a varint of twice the gap since the previous run, plus one if it has more than one position; then a varint
//! of their number. Series of one device or gateway arrive together, so most lists take a byte a run, and a rare value
//! two or three in all: less than a bitmap of any kind.

use std::ops::Range;

/// Many lists in one buffer, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

/// Where a reader is in a list.
#[derive(Clone, Debug)]
pub(super) struct ListCursor {
    bytes: Range<usize>,
    /// The next run begins here if its gap is 0.
    at: u32,
}

/// Appends a list. Runs come in order; those that touch become one.
pub(super) struct ListWriter<'a> {
    lists: &'a mut Lists,
    at: u32,
    run: Range<u32>,
}

impl Lists {
    /// Begins the next list.
    pub(super) fn writer(&mut self) -> ListWriter<'_> {
        ListWriter { lists: self, at: 0, run: 0..0 }
    }

    /// The beginning of a list.
    pub(super) fn cursor(&self, list: usize) -> ListCursor {
        let end = |list: usize| self.ends.get(list).map_or(0, |end| *end as usize);
        ListCursor { bytes: list.checked_sub(1).map_or(0, end)..end(list), at: 0 }
    }

    /// Bytes of some lists.
    pub(super) fn size(&self, lists: Range<usize>) -> usize {
        let end = |list: usize| self.ends.get(list).map_or(0, |end| *end as usize);
        let end = |lists: usize| lists.checked_sub(1).map_or(0, end);
        end(lists.end).saturating_sub(end(lists.start))
    }

    /// The runs of a list.
    pub(super) fn runs(&self, list: usize) -> impl Iterator<Item = Range<u32>> {
        let mut cursor = self.cursor(list);
        std::iter::from_fn(move || cursor.next(self))
    }

    /// Gives back what it allocated in advance.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

impl ListCursor {
    /// The next run.
    pub(super) fn next(&mut self, lists: &Lists) -> Option<Range<u32>> {
        let mut rest = lists.bytes.get(self.bytes.clone())?;
        let before = rest.len();
        let head = take_varint(&mut rest)?;
        let len = if head & 1 == 1 { take_varint(&mut rest)? } else { 1 };
        self.bytes.start += before - rest.len();
        let start = self.at.checked_add(head >> 1)?;
        let end = start.checked_add(len)?;
        self.at = end.saturating_add(1);
        Some(start..end)
    }
}

impl ListWriter<'_> {
    /// Appends positions that are all greater than the previous ones.
    pub(super) fn push(&mut self, positions: Range<u32>) {
        if positions.is_empty() {
            return;
        }
        if self.run.end == positions.start && !self.run.is_empty() {
            self.run.end = positions.end;
            return;
        }
        self.write();
        self.run = positions;
    }

    /// Ends the list; false if it is empty, and then it does not count.
    pub(super) fn finish(mut self) -> bool {
        if self.run.is_empty() {
            return false;
        }
        self.write();
        self.lists.ends.push(u32::try_from(self.lists.bytes.len()).unwrap_or(u32::MAX));
        true
    }

    fn write(&mut self) {
        let len = self.run.end.saturating_sub(self.run.start);
        if len == 0 {
            return;
        }
        let gap = self.run.start.saturating_sub(self.at);
        put_varint(gap << 1 | u32::from(len > 1), &mut self.lists.bytes);
        if len > 1 {
            put_varint(len, &mut self.lists.bytes);
        }
        self.at = self.run.end + 1;
    }
}

fn put_varint(mut value: u32, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_come_back(all in prop::collection::vec(prop::collection::btree_set(0_u32..1 << 20, 1..40), 0..5)) {
            let mut lists = Lists::default();
            for set in &all {
                let mut writer = lists.writer();
                set.iter().for_each(|position| writer.push(*position..position + 1));
                prop_assert!(writer.finish());
            }
            prop_assert_eq!(lists.ends.len(), all.len());
            for (number, set) in all.iter().enumerate() {
                let back: BTreeSet<u32> = lists.runs(number).flatten().collect();
                prop_assert_eq!(&back, set);
                prop_assert!(lists.size(number..number + 1) <= 3 * set.len());
            }
            prop_assert_eq!(lists.size(0..all.len()), lists.bytes.len());
        }
    }

    #[test]
    fn runs_that_touch_take_two_bytes_and_an_empty_list_none() {
        let mut lists = Lists::default();
        assert!(!lists.writer().finish());
        let mut writer = lists.writer();
        (0..100).for_each(|position| writer.push(position..position + 1));
        writer.push(100..100);
        assert!(writer.finish());
        assert!(lists.runs(0).eq(std::iter::once(0..100)) && lists.bytes.len() == 2);
        assert_eq!((lists.runs(1).next(), lists.size(1..2)), (None, 0));
    }
}
