//! The wanted readings of journal entries. Pure.

use std::{collections::BTreeMap, ops::Range};

use catchment_proto::wire;
use hashbrown::HashMap;

use crate::fold::IntakeEntry;

/// Different texts of a chunk that are named once; of more, the latest.
const TEXTS_SEARCHED: usize = 32;

/// Which readings are wanted of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// By numbers of device and series: the index of the series in the query.
    pub(super) series: HashMap<(u32, u32), usize>,
    /// Their times, Unix nanoseconds.
    pub(super) times: Range<i64>,
}

/// Readings by series of the query; the states of a series apart from its numbers.
#[derive(Debug, Default)]
pub(super) struct Readings {
    by_series: BTreeMap<(usize, bool), Column>,
    count: u64,
}

/// Readings in the order in which they were taken.
#[derive(Debug, Default)]
struct Column {
    /// The first absolute, then differences.
    time_ns: Vec<i64>,
    last: i64,
    values: Vec<f64>,
    texts: Vec<String>,
}

impl Column {
    fn push(&mut self, time: i64, value: f64) {
        self.time_ns.push(time.wrapping_sub(self.last));
        self.last = time;
        self.values.push(value);
    }

    fn text(&mut self, text: &str) -> f64 {
        let from = self.texts.len().saturating_sub(TEXTS_SEARCHED);
        let known = self.texts.iter().skip(from).position(|known| known == text);
        let place = known.map_or_else(
            || {
                self.texts.push(text.to_owned());
                self.texts.len() - 1
            },
            |place| from + place,
        );
        place as f64
    }
}

impl Readings {
    /// Number of readings.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds what is wanted of an entry, at most up to `most` readings in all. Returns whether that was everything.
    /// Columns that do not fit together are read as far as they do.
    pub(super) fn add(&mut self, entry: &IntakeEntry, wanted: &Wanted, most: u64) -> bool {
        let mut time = 0_i64;
        for ((series, step), value) in entry.series.iter().zip(&entry.time).zip(&entry.value) {
            time = time.wrapping_add(*step);
            let Some(index) = wanted.index((entry.device, *series), time) else { continue };
            if self.count >= most {
                return false;
            }
            self.column(index, false).push(time, *value);
        }
        self.add_states(entry, wanted, most)
    }

    /// States that stand beside no number: those of booleans are among the numbers.
    fn add_states(&mut self, entry: &IntakeEntry, wanted: &Wanted, most: u64) -> bool {
        let mut texts: Option<Vec<&str>> = None;
        let mut time = 0_i64;
        for ((series, step), text) in entry.state_series.iter().zip(&entry.state_time).zip(&entry.state_text)
        {
            time = time.wrapping_add(*step);
            let Some(index) = wanted.index((entry.device, *series), time).filter(|_| text & 1 == 1) else {
                continue;
            };
            if self.count >= most {
                return false;
            }
            let texts = texts.get_or_insert_with(|| split(entry));
            let Some(text) = texts.get(*text as usize >> 1).copied() else { continue };
            let column = self.column(index, true);
            let value = column.text(text);
            column.push(time, value);
        }
        true
    }

    fn column(&mut self, index: usize, states: bool) -> &mut Column {
        self.count += 1;
        self.by_series.entry((index, states)).or_default()
    }

    /// As messages of the wire; `series` are those of the query.
    pub(super) fn into_wire(self, series: &[wire::SeriesRef]) -> Vec<wire::RawReadingsSeries> {
        let message = |((index, states), column): ((usize, bool), Column)| {
            let Column { time_ns, values, texts, .. } = column;
            Some(wire::RawReadingsSeries {
                series: Some(series.get(index)?.clone()),
                time_ns,
                values,
                texts,
                states,
            })
        };
        self.by_series.into_iter().filter_map(message).collect()
    }
}

impl Wanted {
    fn index(&self, place: (u32, u32), time: i64) -> Option<usize> {
        if !self.times.contains(&time) {
            return None;
        }
        self.series.get(&place).copied()
    }
}

/// The different texts of an entry.
fn split(entry: &IntakeEntry) -> Vec<&str> {
    let mut rest = &*entry.texts;
    let mut texts = Vec::with_capacity(entry.text_bytes.len());
    for length in &entry.text_bytes {
        let Some((text, others)) = rest.split_at_checked(*length as usize) else { break };
        texts.push(text);
        rest = others;
    }
    texts
}
