//! The index of some consecutive series: for each label its values in order, for each value the series that have it.
//!
//! Immutable. Series are named by position: the first is 0. All labels share a few buffers, so a label or value that
//! only one series has takes little more than its text.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{
    lists::{ListCursor, ListWriter, Lists},
    texts::Texts,
};

/// Most series of one index: larger ones are not merged, so a merge takes bounded time and memory.
pub(super) const SERIES_MAX: u32 = 1 << 20;
/// Most bytes of label texts of a merged index.
pub(super) const TEXT_MAX: usize = 1 << 29;

/// The index of the series whose ids lie in a range.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Postings {
    ids: Ids,
    /// Labels in order.
    names: Texts,
    /// For each label, the number of its first value.
    first_values: Vec<u32>,
    /// For each label, the series that have it.
    present: Lists,
    /// Values, in order within each label.
    values: Texts,
    /// For each value, how many bytes it has in common with the value before it in its label, at most 255.
    shared: Vec<u8>,
    /// For each value, the series that have it.
    lists: Lists,
}

/// The ids of the positions: ascending, in runs of consecutive ones.
#[derive(Clone, Debug, Default)]
struct Ids {
    /// First position and first id of each run.
    runs: Vec<(u32, u32)>,
    len: u32,
}

impl Postings {
    /// Number of series.
    pub(super) fn len(&self) -> u32 {
        self.ids.len
    }

    /// Id of a series.
    pub(super) fn id(&self, position: u32) -> Option<u32> {
        let after = self.ids.runs.partition_point(|(first, _)| *first <= position);
        let (position_of_run, id) = self.ids.runs.get(after.checked_sub(1)?)?;
        (position < self.ids.len).then(|| id + (position - position_of_run))
    }

    /// Number of labels.
    pub(super) fn labels(&self) -> usize {
        self.names.len()
    }

    /// Name of a label.
    pub(super) fn name(&self, label: usize) -> &str {
        self.names.get(label)
    }

    /// Number of a label.
    pub(super) fn find_label(&self, name: &str) -> Option<usize> {
        self.names.find(0..self.names.len(), name)
    }

    /// Numbers of a label's values.
    pub(super) fn values_of(&self, label: usize) -> Range<usize> {
        let first = |label: usize| self.first_values.get(label).map_or(self.values.len(), |n| *n as usize);
        first(label)..first(label + 1)
    }

    /// A value.
    pub(super) fn value(&self, value: usize) -> &str {
        self.values.get(value)
    }

    /// How many bytes a value has in common with the one before it, at least.
    pub(super) fn shared(&self, value: usize) -> usize {
        self.shared.get(value).map_or(0, |shared| usize::from(*shared))
    }

    /// Number of a label's value.
    pub(super) fn find_value(&self, label: usize, text: &str) -> Option<usize> {
        self.values.find(self.values_of(label), text)
    }

    /// The first of some values of a label that does not begin with a prefix; the first of them does.
    pub(super) fn after_prefix(&self, values: Range<usize>, prefix: &[u8]) -> usize {
        // Most prefixes have few values: double the step until one is beyond.
        let mut known = values.start;
        let mut step = 1;
        let has_prefix = |value: usize| self.values.get(value).as_bytes().starts_with(prefix);
        while known + step < values.end && has_prefix(known + step) {
            known += step;
            step *= 2;
        }
        let beyond = (known + step).min(values.end);
        self.values.partition_point(known + 1..beyond, |value| value.as_bytes().starts_with(prefix))
    }

    /// Numbers of a label's values that begin with a prefix.
    pub(super) fn values_with_prefix(&self, label: usize, prefix: &[u8]) -> Range<usize> {
        let all = self.values_of(label);
        let start = self.values.partition_point(all.clone(), |value| value.as_bytes() < prefix);
        let end = self.values.partition_point(start..all.end, |value| value.as_bytes().starts_with(prefix));
        start..end
    }

    /// The first of some values that contains what `finder` finds.
    pub(super) fn find_within(&self, values: Range<usize>, finder: &Finder<'_>) -> Option<usize> {
        self.values.find_within(values, finder)
    }

    /// The first of some values that ends with a suffix, which is not empty.
    pub(super) fn find_with_suffix(&self, values: Range<usize>, suffix: &[u8]) -> Option<usize> {
        self.values.find_with_suffix(values, suffix)
    }

    /// The series that have a value.
    pub(super) fn list(&self, value: usize) -> ListCursor {
        self.lists.cursor(value)
    }

    /// The series that have a label.
    pub(super) fn present(&self, label: usize) -> ListCursor {
        self.present.cursor(label)
    }

    /// The next series of a list of values.
    pub(super) fn next_of_list(&self, cursor: &mut ListCursor) -> Option<Range<u32>> {
        cursor.next(&self.lists)
    }

    /// The next series of a list of labels.
    pub(super) fn next_present(&self, cursor: &mut ListCursor) -> Option<Range<u32>> {
        cursor.next(&self.present)
    }

    /// The runs of a value's series.
    pub(super) fn runs(&self, value: usize) -> impl Iterator<Item = Range<u32>> {
        self.lists.runs(value)
    }

    /// The runs of a label's series.
    pub(super) fn present_runs(&self, label: usize) -> impl Iterator<Item = Range<u32>> {
        self.present.runs(label)
    }

    /// Bytes of the lists of some values.
    pub(super) fn list_bytes(&self, values: Range<usize>) -> usize {
        self.lists.size(values)
    }

    /// About how many runs the series of a label make.
    pub(super) fn present_runs_about(&self, label: usize) -> usize {
        self.present.runs_about(label)
    }

    /// About how many runs the series of a value make.
    pub(super) fn runs_about(&self, value: usize) -> usize {
        self.lists.runs_about(value)
    }

    /// Bytes of the texts of its labels and values.
    pub(super) fn text_bytes(&self) -> usize {
        self.names.text_bytes() + self.values.text_bytes()
    }

    /// Memory in bytes.
    pub(in crate::store) fn bytes(&self) -> usize {
        let lists = self.present.bytes() + self.lists.bytes();
        let texts = self.names.bytes() + self.values.bytes() + self.shared.capacity();
        let ids = self.ids.runs.capacity() * size_of::<(u32, u32)>();
        size_of::<Self>() + lists + texts + ids + self.first_values.capacity() * size_of::<u32>()
    }
}

/// Writes an index: first the ids, then label by label, value by value, in order.
#[derive(Default)]
pub(super) struct PostingsWriter {
    postings: Postings,
}

impl PostingsWriter {
    /// Appends a series; ids ascend.
    pub(super) fn id(&mut self, id: u32) {
        let ids = &mut self.postings.ids;
        let follows = ids.runs.last().is_some_and(|(position, first)| first + (ids.len - position) == id);
        if !follows {
            ids.runs.push((ids.len, id));
        }
        ids.len += 1;
    }

    /// Begins a label; `fill` lists its series. False if there is none: the label is left out.
    pub(super) fn label(&mut self, name: &str, fill: impl FnOnce(&mut ListWriter<'_>)) -> bool {
        let Postings { names, first_values, present, values, .. } = &mut self.postings;
        let mut writer = present.writer();
        fill(&mut writer);
        if !writer.finish() {
            return false;
        }
        names.push(name);
        first_values.push(u32::try_from(values.len()).unwrap_or(u32::MAX));
        true
    }

    /// Appends a value of the last label; `fill` lists its series. A value without series is left out.
    pub(super) fn value(&mut self, text: &str, fill: impl FnOnce(&mut ListWriter<'_>)) {
        let Postings { first_values, values, shared, lists, .. } = &mut self.postings;
        let mut writer = lists.writer();
        fill(&mut writer);
        if !writer.finish() {
            return;
        }
        let number = values.len();
        let is_first = first_values.last().is_none_or(|first| *first as usize == number);
        let before = if is_first { "" } else { values.get(number.saturating_sub(1)) };
        let common = before.bytes().zip(text.bytes()).take(usize::from(u8::MAX)).take_while(|(a, b)| a == b);
        shared.push(common.count() as u8);
        values.push(text);
    }

    /// The index.
    pub(super) fn finish(mut self) -> Postings {
        let Postings { ids, names, first_values, present, values, shared, lists } = &mut self.postings;
        ids.runs.shrink_to_fit();
        [names, values].into_iter().for_each(Texts::shrink);
        [present, lists].into_iter().for_each(Lists::shrink);
        first_values.shrink_to_fit();
        shared.shrink_to_fit();
        self.postings
    }
}
