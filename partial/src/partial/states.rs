//! Readings that are texts, such as the mode of a machine: which state it was in, and for how long.
//!
//! A state holds until the next reading. Of one series and window, the [`STATES_MAX`] least states in the order of
//! their bytes are told apart, further ones count as [`OTHER_STATE`]: a rule that depends only on the set of states, not
//! on the order in which they arrive. (A change between two states that both count as other may go unnoticed.)

mod encoding;

use std::cmp::Ordering;
use std::sync::Arc;

use super::distinct::Distinct;
use super::sequence::{MergeBounds, Sequence, Span};
use super::{OTHER_STATE, STATE_BYTES_MAX, STATES_MAX};
use crate::time::Timestamp;

/// What the states of a series amount to over an interval of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StateSpan {
    pub(super) first: (Timestamp, Arc<str>),
    pub(super) last: (Timestamp, Arc<str>),
    /// Number of readings; saturates.
    pub(super) count: u64,
    /// Readings with another state than their predecessor; saturates.
    pub(super) transitions: u64,
    /// Nanoseconds in each state, by rising text; saturate.
    pub(super) times: Vec<(Arc<str>, u64)>,
}

impl StateSpan {
    pub(super) fn spend(&mut self, state: &Arc<str>, nanos: u64) {
        match self.times.binary_search_by(|(text, _)| text.cmp(state)) {
            Ok(at) => {
                if let Some((_, time)) = self.times.get_mut(at) {
                    *time = time.saturating_add(nanos);
                }
            }
            Err(at) => self.times.insert(at, (Arc::clone(state), nanos)),
        }
    }

    fn spend_all(&mut self, other: &Self) {
        other.times.iter().for_each(|(state, nanos)| self.spend(state, *nanos));
    }

    /// Counts states greater than `greatest` as other.
    pub(super) fn collapse(&mut self, greatest: &str, other: &Arc<str>) {
        let beyond = |text: &Arc<str>| **text > *greatest && **text != *OTHER_STATE;
        for (_, text) in [&mut self.first, &mut self.last] {
            if beyond(text) {
                *text = Arc::clone(other);
            }
        }
        let gone: Vec<_> = self.times.extract_if(.., |(text, _)| beyond(text)).collect();
        gone.iter().for_each(|(_, nanos)| self.spend(other, *nanos));
    }
}

impl Span for StateSpan {
    type Value = Arc<str>;

    fn of(time: Timestamp, state: Arc<str>) -> Self {
        let times = vec![(Arc::clone(&state), 0)];
        Self { first: (time, Arc::clone(&state)), last: (time, state), count: 1, transitions: 0, times }
    }

    fn append(&mut self, next: &Self) {
        let nanos = next.first.0.as_nanos().wrapping_sub(self.last.0.as_nanos()) as u64;
        let last = Arc::clone(&self.last.1);
        self.spend(&last, nanos);
        self.spend_all(next);
        let changed = u64::from(next.first.1 != self.last.1);
        self.transitions = self.transitions.saturating_add(next.transitions).saturating_add(changed);
        self.count = self.count.saturating_add(next.count);
        self.last.clone_from(&next.last);
    }

    fn beside(&mut self, other: &Self) {
        self.spend_all(other);
        self.transitions = self.transitions.saturating_add(other.transitions);
        self.count = self.count.saturating_add(other.count);
        if other.first < self.first {
            self.first.clone_from(&other.first);
        }
        if other.last > self.last {
            self.last.clone_from(&other.last);
        }
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn ends(&self) -> (Timestamp, Timestamp) {
        (self.first.0, self.last.0)
    }

    fn order(a: &Arc<str>, b: &Arc<str>) -> Ordering {
        a.cmp(b)
    }

    fn order_spans(&self, other: &Self) -> Ordering {
        fn key(span: &StateSpan) -> impl Ord {
            (&span.first.1, &span.last.1, span.count, span.transitions, &span.times)
        }
        key(self).cmp(&key(other))
    }
}

/// The states of one series in one window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct States {
    /// Number of readings; saturates. At least 1.
    pub(super) count: u64,
    /// How many of them stand beside no number; saturates.
    pub(super) alone: u64,
    /// Time of the last one.
    pub(super) last: Timestamp,
    /// `None`: their order is not known.
    pub(super) sequence: Option<Sequence<StateSpan>>,
    /// The states told apart, in rising order, at most [`STATES_MAX`].
    texts: Vec<Arc<str>>,
    /// All distinct states, if they are asked for.
    pub(super) distinct: Option<Distinct>,
}

/// Whether a text may be a state.
pub(super) fn is_state(text: &str) -> bool {
    (1..=STATE_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl States {
    /// No readings yet; `distinct`: counts distinct states.
    pub(super) fn new(distinct: bool) -> Self {
        let sequence = Some(Sequence::default());
        Self {
            count: 0,
            alone: 0,
            last: Timestamp::MIN,
            sequence,
            texts: Vec::new(),
            distinct: distinct.then(Distinct::default),
        }
    }

    /// Adds a state; `alone`: it stands beside no number.
    pub(super) fn push(&mut self, time: Timestamp, text: &str, alone: bool) {
        self.alone = self.alone.saturating_add(alone.into());
        self.last = self.last.max(time);
        if let Some(distinct) = &mut self.distinct {
            distinct.push_text(text);
        }
        self.count = self.count.saturating_add(1);
        if self.sequence.is_some() {
            let state = self.told_apart(text);
            if self.sequence.as_mut().is_some_and(|sequence| !sequence.push(time, state)) {
                self.forget_order();
            }
        }
    }

    /// The text under which a state counts.
    fn told_apart(&mut self, text: &str) -> Arc<str> {
        if text == OTHER_STATE {
            return OTHER_STATE.into();
        }
        match self.texts.binary_search_by(|known| (**known).cmp(text)) {
            Ok(at) => self.texts.get(at).map_or_else(|| text.into(), Arc::clone),
            Err(STATES_MAX..) => OTHER_STATE.into(),
            Err(at) => {
                let state: Arc<str> = text.into();
                self.texts.insert(at, Arc::clone(&state));
                self.limit();
                state
            }
        }
    }

    /// Counts the greatest states as other until few enough are told apart.
    fn limit(&mut self) {
        if self.texts.len() <= STATES_MAX {
            return;
        }
        self.texts.truncate(STATES_MAX);
        let (Some(greatest), Some(sequence)) = (self.texts.last(), &mut self.sequence) else { return };
        let other: Arc<str> = OTHER_STATE.into();
        for (_, text) in &mut sequence.readings {
            if **text > **greatest && **text != *OTHER_STATE {
                *text = Arc::clone(&other);
            }
        }
        sequence.readings.sort();
        sequence.spans.iter_mut().for_each(|span| span.collapse(greatest, &other));
        sequence.spans.sort_by(|a, b| a.ends().cmp(&b.ends()).then_with(|| a.order_spans(b)));
    }

    /// No readings yet, of several series.
    pub(super) fn unordered(distinct: bool) -> Self {
        Self { sequence: None, ..Self::new(distinct) }
    }

    /// Adds the number of readings, and their distinct states.
    pub(super) fn merge_across_series(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.alone = self.alone.saturating_add(other.alone);
        self.last = self.last.max(other.last);
        self.distinct = self.distinct.take().zip(other.all_distinct()).map(|(mut distinct, other)| {
            distinct.merge(&other);
            distinct
        });
        self.forget_order();
    }

    /// All distinct states, if they are known.
    fn all_distinct(&self) -> Option<Distinct> {
        if self.distinct.is_some() {
            return self.distinct.clone();
        }
        self.distinct_texts()?;
        let mut distinct = Distinct::default();
        self.texts.iter().for_each(|text| distinct.push_text(text));
        Some(distinct)
    }

    /// The number of distinct states, unless some count as other.
    fn distinct_texts(&self) -> Option<usize> {
        let Sequence { readings, spans } = self.sequence.as_ref()?;
        let of_spans = spans.iter().flat_map(|span| &span.times).map(|(text, _)| text);
        let other = of_spans.chain(readings.iter().map(|(_, text)| text)).any(|text| **text == *OTHER_STATE);
        (!other).then_some(self.texts.len())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.merge_within(other, MergeBounds::PARTIAL);
    }

    /// As [`States::merge`]; beyond the bounds, their order is not known.
    pub(super) fn merge_within(&mut self, other: &Self, bounds: MergeBounds) {
        self.merge_ordered(other, |sequence, other| sequence.merge(other, bounds));
    }

    /// As [`States::merge`], of readings that are later: see [`Partial::append`](super::Partial::append).
    pub(super) fn append(&mut self, later: &Self) {
        self.merge_ordered(later, Sequence::append);
    }

    fn merge_ordered(
        &mut self,
        other: &Self,
        follow: impl FnOnce(&mut Sequence<StateSpan>, &Sequence<StateSpan>) -> bool,
    ) {
        self.count = self.count.saturating_add(other.count);
        self.alone = self.alone.saturating_add(other.alone);
        self.last = self.last.max(other.last);
        self.distinct = match (self.distinct.take(), &other.distinct) {
            (Some(mut distinct), Some(other)) => {
                distinct.merge(other);
                Some(distinct)
            }
            _ => None,
        };
        let known = match (&mut self.sequence, &other.sequence) {
            (Some(sequence), Some(other)) => follow(sequence, other),
            _ => false,
        };
        if !known {
            return self.forget_order();
        }
        for text in &other.texts {
            if let Err(at) = self.texts.binary_search(text) {
                self.texts.insert(at, Arc::clone(text));
            }
        }
        self.limit();
        // What one side counted as other is greater than all that it tells apart, so nothing is left to collapse.
    }

    /// Keeps only the number of readings.
    pub(super) fn forget_order(&mut self) {
        (self.sequence, self.texts) = (None, Vec::new());
    }

    /// The number of distinct states; `None`: not known.
    pub(super) fn distinct(&self) -> Option<f64> {
        let exact = self.distinct_texts().map(|count| count as f64);
        exact.or_else(|| self.distinct.as_ref().map(Distinct::estimate))
    }

    /// Bytes on the heap, approximately.
    pub(super) fn heap(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.len() + 32).sum();
        let texts = texts + self.distinct.as_ref().map_or(0, Distinct::heap);
        let Some(sequence) = &self.sequence else { return texts };
        let spans: usize =
            sequence.spans.iter().map(|span| size_of::<StateSpan>() + 24 * span.times.capacity()).sum();
        texts + spans + sequence.readings.capacity() * size_of::<(Timestamp, Arc<str>)>()
    }
}
