//! The states of an intake: a column beside its readings, so that readings that are numbers cost nothing more.

use std::{fmt, ops::Range};

/// Bytes of different texts of one message, beyond which its states are refused. A message of the default length has
/// fewer.
pub(crate) const MESSAGE_STATE_BYTES_MAX: usize = 256 << 10;
/// Texts that a new one is compared with, so that each is kept once.
const COMPARED_MAX: usize = 16;

/// States of the readings of an intake, by the reading's index.
#[derive(Clone, Default)]
pub struct States {
    /// Boxed, because each session waits with an intake at times, and most have no states.
    column: Option<Box<Column>>,
    /// States are not kept: the aggregator cannot take them.
    refused: bool,
}

#[derive(Clone, Default)]
struct Column {
    /// In the order of the readings.
    items: Vec<Item>,
    /// The texts, one after the other.
    texts: String,
    /// Where each of them ends.
    ends: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Item {
    reading: usize,
    text: u32,
    /// It brought its text along.
    is_first: bool,
}

impl Column {
    fn text(&self, index: usize) -> &str {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|end| self.texts.get(start..*end)).unwrap_or_default()
    }

    fn push(&mut self, reading: usize, state: &str) {
        let newest = self.ends.len();
        let known = (newest.saturating_sub(COMPARED_MAX)..newest).rev().find(|at| self.text(*at) == state);
        if known.is_none() {
            self.texts.push_str(state);
            self.ends.push(self.texts.len());
        }
        let text = u32::try_from(known.unwrap_or(newest)).unwrap_or(u32::MAX);
        self.items.push(Item { reading, text, is_first: known.is_none() });
    }

    fn truncate(&mut self, readings: usize) {
        while let Some(last) = self.items.pop_if(|item| item.reading >= readings) {
            if last.is_first {
                self.ends.pop();
                self.texts.truncate(self.ends.last().copied().unwrap_or(0));
            }
        }
    }
}

impl States {
    /// Whether states are to be refused from here on; those of booleans are left out then.
    pub const fn refuse(&mut self, refused: bool) {
        self.refused = refused;
    }

    /// Whether states are refused.
    pub const fn is_refused(&self) -> bool {
        self.refused
    }

    /// Notes the state of the reading that comes next, whose index this is.
    pub(crate) fn push(&mut self, reading: usize, state: &str) {
        if !self.refused {
            self.column.get_or_insert_default().push(reading, state);
        }
    }

    /// Forgets the states of the readings from this index on.
    pub(crate) fn truncate(&mut self, readings: usize) {
        if let Some(column) = &mut self.column {
            column.truncate(readings);
        }
    }

    /// Forgets all; keeps memory up to a bound.
    pub(crate) fn clear(&mut self, kept: usize) {
        if let Some(column) = &mut self.column {
            column.truncate(0);
            column.items.shrink_to(kept);
            column.ends.shrink_to(kept);
            column.texts.shrink_to(kept);
        }
    }

    /// Gives back memory that is not in use; returns the bytes that are.
    pub(super) fn compact(&mut self) -> usize {
        let Some(column) = &mut self.column else { return 0 };
        if column.items.is_empty() {
            self.column = None;
            return 0;
        }
        column.items.shrink_to_fit();
        column.ends.shrink_to_fit();
        column.texts.shrink_to_fit();
        column.items.capacity() * size_of::<Item>()
            + column.ends.capacity() * size_of::<usize>()
            + column.texts.capacity()
    }

    /// Number of states.
    pub fn len(&self) -> usize {
        self.column.as_ref().map_or(0, |column| column.items.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of their texts; a text that is used again and again counts once or a few times.
    pub(crate) fn bytes(&self) -> usize {
        self.column.as_ref().map_or(0, |column| column.texts.len())
    }

    /// Number of texts.
    pub(crate) fn text_count(&self) -> usize {
        self.column.as_ref().map_or(0, |column| column.ends.len())
    }

    /// A text.
    pub(crate) fn text(&self, index: u32) -> &str {
        self.column.as_ref().map_or("", |column| column.text(index as usize))
    }

    /// Reading and text of the states of these readings, in order.
    pub(crate) fn of(&self, readings: Range<usize>) -> impl Iterator<Item = (usize, u32)> {
        let items = self.column.as_ref().map_or(&[][..], |column| &column.items);
        let first = items.partition_point(|item| item.reading < readings.start);
        let items = items.get(first..).unwrap_or_default().iter();
        items.take_while(move |item| item.reading < readings.end).map(|item| (item.reading, item.text))
    }

    /// The state of a reading.
    pub fn get(&self, reading: usize) -> Option<&str> {
        self.of(reading..reading.saturating_add(1)).next().map(|(_, text)| self.text(text))
    }
}

impl PartialEq for States {
    fn eq(&self, other: &Self) -> bool {
        self.of(0..usize::MAX)
            .map(|(reading, text)| (reading, self.text(text)))
            .eq(other.of(0..usize::MAX).map(|(reading, text)| (reading, other.text(text))))
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.of(0..usize::MAX).map(|(reading, text)| (reading, self.text(text))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_kept_once_and_given_up_with_their_readings() {
        let mut states = States::default();
        for (reading, state) in [(0, "on"), (3, "off"), (4, "on"), (9, "auto")] {
            states.push(reading, state);
        }
        assert_eq!((states.len(), states.text_count(), states.bytes()), (4, 3, 9));
        assert_eq!((states.get(3), states.get(4), states.get(5)), (Some("off"), Some("on"), None));
        assert_eq!(states.of(3..9).collect::<Vec<_>>(), [(3, 1), (4, 0)]);
        states.truncate(4);
        assert_eq!(format!("{states:?}"), r#"{0: "on", 3: "off"}"#);
        assert_eq!(states.bytes(), 5);
        states.clear(10);
        assert_eq!((states.len(), states.bytes(), states.text_count()), (0, 0, 0));
        states.refuse(true);
        states.push(0, "on");
        assert!(states.is_empty());
    }

    proptest! {
        #[test]
        fn they_are_those_of_a_list(steps in prop::collection::vec((0..40_usize, any::<bool>()), 0..80)) {
            let (mut states, mut model) = (States::default(), Vec::new());
            let mut next = 0;
            for (n, truncates) in steps {
                if truncates && n % 4 == 0 {
                    next = n.min(next);
                    states.truncate(next);
                    model.retain(|(reading, _)| *reading < next);
                } else {
                    let text = format!("state {n}");
                    states.push(next, &text);
                    model.push((next, text));
                    next += 1 + n % 3;
                }
            }
            let found: Vec<_> =
                states.of(0..usize::MAX).map(|(at, text)| (at, states.text(text).to_owned())).collect();
            prop_assert_eq!(found, model);
        }
    }
}
