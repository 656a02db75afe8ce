//! Makes an index of series, and one index of several.

use std::{cmp::Ordering, ops::Range};

use hashbrown::HashMap;

use super::{
    bits::{Bits, Ranks},
    lists::ListWriter,
    postings::{Postings, PostingsWriter},
};
use crate::{
    selector::METRIC_LABEL,
    store::{SeriesEntry, catalog::listing::number_of},
};

/// Indexes some series, in order of their ids.
pub(super) fn build(series: &[SeriesEntry]) -> Postings {
    let mut writer = PostingsWriter::default();
    let mut pairs: HashMap<(&str, &str), u32> = HashMap::new();
    // Pair and position, in order of positions.
    let mut occurrences: Vec<(u32, u32)> = Vec::new();
    for (position, entry) in (0..).zip(series) {
        writer.id(number_of(entry.id));
        for pair in labels(entry) {
            let number = pairs.len() as u32;
            occurrences.push((*pairs.entry(pair).or_insert(number), position));
        }
    }
    let mut order: Vec<((&str, &str), u32)> = pairs.into_iter().collect();
    order.sort_unstable();
    let positions = by_pair(&occurrences, order.len());
    for label in order.chunk_by(|a, b| a.0.0 == b.0.0) {
        let Some(((name, _), _)) = label.first() else { continue };
        let mut present = Bits::none(series.len() as u32);
        for (_, pair) in label {
            positions.of(*pair).iter().for_each(|position| present.insert(*position..position + 1));
        }
        writer.label(name, |list| push_all(&present, list));
        for ((_, value), pair) in label {
            let positions = positions.of(*pair);
            writer.value(value, |list| positions.iter().for_each(|at| list.push(*at..at + 1)));
        }
    }
    writer.finish()
}

/// Labels of a series with their values.
fn labels(entry: &SeriesEntry) -> impl Iterator<Item = (&str, &str)> {
    let SeriesEntry { gateway, key, .. } = entry;
    let system = [
        ("site", gateway.site.as_str()),
        ("gateway", gateway.name.as_str()),
        ("device", key.device.as_str()),
        (METRIC_LABEL, key.metric.as_str()),
    ];
    system.into_iter().chain(key.labels.iter())
}

fn push_all(positions: &Bits, list: &mut ListWriter<'_>) {
    let mut next = positions.next_from(0);
    while let Some(position) = next {
        list.push(position..position + 1);
        next = positions.next_from(position + 1);
    }
}

/// Positions sorted by pair.
struct ByPair {
    positions: Vec<u32>,
    ends: Vec<u32>,
}

impl ByPair {
    fn of(&self, pair: u32) -> &[u32] {
        let end = |pair: u32| self.ends.get(pair as usize).map_or(0, |end| *end as usize);
        self.positions.get(pair.checked_sub(1).map_or(0, end)..end(pair)).unwrap_or_default()
    }
}

/// Sorts occurrences by pair, keeping their order within each.
fn by_pair(occurrences: &[(u32, u32)], pairs: usize) -> ByPair {
    let mut ends = vec![0; pairs];
    for (pair, _) in occurrences {
        if let Some(count) = ends.get_mut(*pair as usize) {
            *count += 1;
        }
    }
    let mut before = 0;
    for end in &mut ends {
        (*end, before) = (before, before + *end);
    }
    // Each begins where the one before it ends, and grows to its own end.
    let mut positions = vec![0; occurrences.len()];
    for (pair, position) in occurrences {
        if let Some(end) = ends.get_mut(*pair as usize)
            && let Some(free) = positions.get_mut(*end as usize)
        {
            *free = *position;
            *end += 1;
        }
    }
    ByPair { positions, ends }
}

/// An index to merge with those beside it.
pub(super) struct Source<'a> {
    pub(super) postings: &'a Postings,
    /// The series to keep; `None`: all.
    pub(super) kept: Option<&'a Bits>,
}

/// A source with the place of its series among those of the result.
struct Placed<'a> {
    postings: &'a Postings,
    ranks: Option<Ranks<'a>>,
    offset: u32,
    /// Labels not merged yet.
    labels: Range<usize>,
    /// Values of the present label not merged yet.
    values: Range<usize>,
}

impl Placed<'_> {
    fn push(&self, run: Range<u32>, list: &mut ListWriter<'_>) {
        let Some(ranks) = &self.ranks else {
            return list.push(self.offset + run.start..self.offset + run.end);
        };
        for position in run.filter_map(|position| ranks.get(position)) {
            list.push(self.offset + position..self.offset + position + 1);
        }
    }
}

/// One index of the series of several, which are in order of their ids.
pub(super) fn merge(sources: &[Source<'_>]) -> Postings {
    let mut writer = PostingsWriter::default();
    let mut placed = Vec::with_capacity(sources.len());
    let mut offset = 0;
    for Source { postings, kept } in sources {
        let before = offset;
        for position in (0..postings.len()).filter(|at| kept.is_none_or(|kept| kept.contains(*at))) {
            if let Some(id) = postings.id(position) {
                writer.id(id);
                offset += 1;
            }
        }
        let ranks = kept.map(Bits::ranks);
        placed.push(Placed { postings, ranks, offset: before, labels: 0..postings.labels(), values: 0..0 });
    }
    while let Some(name) = least(&placed, |source| text_at(&source.labels, |at| source.postings.name(at))) {
        merge_label(name, &mut placed, &mut writer);
    }
    writer.finish()
}

/// Merges the label that comes first in order.
fn merge_label<'a>(name: &'a str, placed: &mut [Placed<'a>], writer: &mut PostingsWriter) {
    let mut present: Vec<Option<usize>> = Vec::with_capacity(placed.len());
    for source in &mut *placed {
        let label = source.labels.start;
        let has = text_at(&source.labels, |at| source.postings.name(at)) == Some(name);
        present.push(has.then_some(label));
        source.values = if has { source.postings.values_of(label) } else { 0..0 };
        source.labels.start += usize::from(has);
    }
    let is_kept = writer.label(name, |list| {
        for (source, label) in placed.iter().zip(&present) {
            let runs = label.map(|label| source.postings.present_runs(label));
            runs.into_iter().flatten().for_each(|run| source.push(run, list));
        }
    });
    if !is_kept {
        return;
    }
    while let Some(value) = least(placed, |source| text_at(&source.values, |at| source.postings.value(at))) {
        writer.value(value, |list| {
            for source in &mut *placed {
                let at = source.values.start;
                if text_at(&source.values, |at| source.postings.value(at)) == Some(value) {
                    source.postings.runs(at).for_each(|run| source.push(run, list));
                    source.values.start += 1;
                }
            }
        });
    }
}

/// The text at the start of a range.
fn text_at<'a>(rest: &Range<usize>, text: impl Fn(usize) -> &'a str) -> Option<&'a str> {
    (!rest.is_empty()).then(|| text(rest.start))
}

/// The text that comes first in order.
fn least<'a>(placed: &[Placed<'a>], text: impl Fn(&Placed<'a>) -> Option<&'a str>) -> Option<&'a str> {
    placed.iter().filter_map(text).min_by(|a, b| -> Ordering { a.cmp(b) })
}
