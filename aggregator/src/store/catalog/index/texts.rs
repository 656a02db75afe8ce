//! Texts in one buffer, by number.

use std::ops::Range;

use memchr::memmem::Finder;

/// Texts one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    /// Number of texts.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A text; empty beyond the last one.
    pub(super) fn get(&self, number: usize) -> &str {
        let start = self.start(number);
        let end = self.ends.get(number).map_or(start, |end| *end as usize);
        self.text.get(start..end).unwrap_or_default()
    }

    /// Appends a text.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    /// Number of a text among some that are in order.
    pub(super) fn find(&self, among: Range<usize>, text: &str) -> Option<usize> {
        let found = self.partition_point(among.clone(), |other| other < text);
        (found < among.end && self.get(found) == text).then_some(found)
    }

    /// The first of some texts for which `before` is false, when it is true for all before that one.
    pub(super) fn partition_point(&self, among: Range<usize>, before: impl Fn(&str) -> bool) -> usize {
        let Range { mut start, mut end } = among;
        while start < end {
            let middle = start + (end - start) / 2;
            if before(self.get(middle)) {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        start
    }

    /// The first of some texts that contains what `finder` finds.
    pub(super) fn find_within(&self, among: Range<usize>, finder: &Finder<'_>) -> Option<usize> {
        let start = self.start(among.start);
        let bytes = self.text.as_bytes().get(start..self.start(among.end))?;
        let mut at = 0;
        loop {
            at += finder.find(bytes.get(at..)?)?;
            let found = start + at;
            let ends = self.ends.get(among.clone())?;
            let number = among.start + first_beyond(ends, found);
            if found + finder.needle().len() <= self.start(number + 1) {
                return Some(number);
            }
            // It is part of two texts.
            at += 1;
        }
    }

    /// The first of some texts that ends with `suffix`, which is not empty.
    pub(super) fn find_with_suffix(&self, among: Range<usize>, suffix: &[u8]) -> Option<usize> {
        let last = suffix.last()?;
        let mut start = self.start(among.start);
        for (number, end) in among.clone().zip(self.ends.get(among)?) {
            let end = *end as usize;
            // Most differ in this one byte, which costs a fraction of a comparison.
            let may_be = self.text.as_bytes().get(end.wrapping_sub(1)) == Some(last);
            if may_be && self.text.as_bytes().get(start..end)?.ends_with(suffix) {
                return Some(number);
            }
            start = end;
        }
        None
    }

    /// Where a text starts.
    fn start(&self, number: usize) -> usize {
        number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize)
    }

    /// Bytes of the texts alone.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Gives back what it allocated in advance.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

/// Number of the first end beyond a place. It is looked for near the first one.
fn first_beyond(ends: &[u32], place: usize) -> usize {
    let is_before = |end: &u32| *end as usize <= place;
    let mut step = 1;
    while ends.get(step).is_some_and(is_before) {
        step *= 2;
    }
    let near = ends.get(step / 2..ends.len().min(step + 1)).unwrap_or_default();
    step / 2 + near.partition_point(is_before)
}
