//! Lists of ascending positions, encoded as runs.
//!
//! A run is a varint of four times the gap since the previous run, plus two if it has more than one position, plus one if
//! it is repeated; then varints of the number of its positions and of the further runs that have the same gap and number
//! of positions. Series of one device or gateway arrive together, in the same order for each device, so most lists of
//! many series take some bytes in all, and a rare value three or four: less than a bitmap of any kind.

use std::ops::Range;

/// Shapes of runs from which the number of all is estimated.
const SAMPLED: usize = 64;

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
    /// Of this shape is the next run, if any is left.
    shape: Shape,
    left: u32,
}

/// What runs have in common that follow each other at equal distances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    gap: u32,
    /// Number of positions.
    len: u32,
}

/// Appends a list. Runs come in order; those that touch become one.
pub(super) struct ListWriter<'a> {
    lists: &'a mut Lists,
    at: u32,
    run: Range<u32>,
    /// Runs before that, not written yet: of this shape so many.
    shape: Shape,
    count: u32,
}

impl Lists {
    /// Begins the next list.
    pub(super) fn writer(&mut self) -> ListWriter<'_> {
        ListWriter { lists: self, at: 0, run: 0..0, shape: Shape::default(), count: 0 }
    }

    /// The beginning of a list.
    pub(super) fn cursor(&self, list: usize) -> ListCursor {
        let end = |list: usize| self.ends.get(list).map_or(0, |end| *end as usize);
        let bytes = list.checked_sub(1).map_or(0, end)..end(list);
        ListCursor { bytes, at: 0, shape: Shape::default(), left: 0 }
    }

    /// Bytes of some lists.
    pub(super) fn size(&self, lists: Range<usize>) -> usize {
        let end = |list: usize| self.ends.get(list).map_or(0, |end| *end as usize);
        let end = |lists: usize| lists.checked_sub(1).map_or(0, end);
        end(lists.end).saturating_sub(end(lists.start))
    }

    /// About how many runs a list has.
    pub(super) fn runs_about(&self, list: usize) -> usize {
        let mut cursor = self.cursor(list);
        let (bytes, mut runs) = (cursor.bytes.len(), 0_usize);
        for _ in 0..SAMPLED {
            if cursor.read(self).is_none() {
                return runs;
            }
            runs += cursor.left as usize;
        }
        // The rest is as the beginning.
        runs.saturating_mul(bytes) / (bytes - cursor.bytes.len()).max(1)
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
    #[inline]
    pub(super) fn next(&mut self, lists: &Lists) -> Option<Range<u32>> {
        if self.left == 0 {
            self.read(lists)?;
        }
        self.left -= 1;
        let start = self.at.checked_add(self.shape.gap)?;
        let end = start.checked_add(self.shape.len)?;
        self.at = end.saturating_add(1);
        Some(start..end)
    }

    /// Reads the next shape.
    fn read(&mut self, lists: &Lists) -> Option<()> {
        let mut rest = lists.bytes.get(self.bytes.clone())?;
        let before = rest.len();
        let head = take_varint(&mut rest)?;
        let len = if head & 2 == 2 { take_varint(&mut rest)? } else { 1 };
        let further = if head & 1 == 1 { take_varint(&mut rest)? } else { 0 };
        self.bytes.start += before - rest.len();
        (self.shape, self.left) = (Shape { gap: head >> 2, len }, further.checked_add(1)?);
        Some(())
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
        self.put_runs();
        self.lists.ends.push(u32::try_from(self.lists.bytes.len()).unwrap_or(u32::MAX));
        true
    }

    /// Counts the present run.
    fn write(&mut self) {
        let len = self.run.end.saturating_sub(self.run.start);
        if len == 0 {
            return;
        }
        let shape = Shape { gap: self.run.start.saturating_sub(self.at), len };
        self.at = self.run.end + 1;
        if shape != self.shape {
            self.put_runs();
            self.shape = shape;
        }
        self.count += 1;
    }

    /// Writes the runs that were counted.
    fn put_runs(&mut self) {
        let Some(further) = std::mem::take(&mut self.count).checked_sub(1) else { return };
        let Shape { gap, len } = self.shape;
        put_varint(gap << 2 | u32::from(len > 1) << 1 | u32::from(further > 0), &mut self.lists.bytes);
        if len > 1 {
            put_varint(len, &mut self.lists.bytes);
        }
        if further > 0 {
            put_varint(further, &mut self.lists.bytes);
        }
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
        fn lists_come_back(all in prop::collection::vec(
            prop_oneof![
                prop::collection::btree_set(0_u32..1 << 20, 1..40),
                // Many runs of one shape.
                prop::collection::btree_set(0_u32..40, 1..40),
            ],
            0..5,
        )) {
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
                prop_assert!(lists.size(number..number + 1) <= 4 * set.len());
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

    #[test]
    fn runs_at_equal_distances_take_some_bytes_in_all() {
        let mut lists = Lists::default();
        let mut writer = lists.writer();
        let all = || (3..100_000).map(|n| 10 * n..10 * n + 2);
        all().for_each(|run| writer.push(run));
        writer.push(1_000_001..1_000_002);
        assert!(writer.finish());
        assert!(lists.runs(0).eq(all().chain(std::iter::once(1_000_001..1_000_002))));
        assert!(lists.bytes.len() < 12, "{}", lists.bytes.len());
        assert_eq!((lists.runs_about(0), lists.runs_about(1)), (99_998, 0));
    }

    #[test]
    fn the_number_of_runs_is_estimated_by_the_first_ones() {
        let mut lists = Lists::default();
        let mut writer = lists.writer();
        // No run is like the one before.
        (0..10_000).for_each(|n| writer.push(10 * n..10 * n + 1 + n % 2));
        assert!(writer.finish());
        let about = lists.runs_about(0);
        assert!((9_000..=11_000).contains(&about), "{about}");
    }
}
