//! Readings that are texts, such as the mode of a machine: which state it was in, and for how long.
//!
//! A state holds until the next reading. Of one series and window, the [`STATES_MAX`] least states in the order of
//! their bytes are told apart, further ones count as [`OTHER_STATE`]: a rule that depends only on the set of states, not
//! on the order in which they arrive. (A change between two states that both count as other may go unnoticed.)
//!
//! Encoding: byte with bit 0 for times in nanoseconds instead of milliseconds, and bit 1 if the order is known; varint
//! number of readings. If the order is known: varint number of states and each one's text (varint length, bytes), in
//! rising order; varint number of single readings, and unless it is 0 zigzag time of the first one relative to the base,
//! varint steps to the others, varint index of each one's state; varint number of spans, each as [`StateSpan`].

use std::cmp::Ordering;
use std::sync::Arc;

use super::codec::{DecodeError, Reader, put_varint, put_zigzag};
use super::distinct::Distinct;
use super::extent::Unit;
use super::sequence::{MERGED_MAX, SPANS_MAX, Sequence, Span};
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
        Self { count: 0, sequence, texts: Vec::new(), distinct: distinct.then(Distinct::default) }
    }

    pub(super) fn push(&mut self, time: Timestamp, text: &str) {
        let state = self.told_apart(text);
        if let Some(distinct) = &mut self.distinct {
            distinct.push_text(text);
        }
        self.count = self.count.saturating_add(1);
        if let Some(sequence) = &mut self.sequence {
            sequence.push(time, state);
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
        let total = self.sequence.as_ref()?.total(None)?;
        let other = total.times.iter().any(|(text, _)| **text == *OTHER_STATE);
        (!other).then_some(self.texts.len())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.distinct = match (self.distinct.take(), &other.distinct) {
            (Some(mut distinct), Some(other)) => {
                distinct.merge(other);
                Some(distinct)
            }
            _ => None,
        };
        let known = match (&mut self.sequence, &other.sequence) {
            (Some(sequence), Some(other)) => sequence.merge(other, MERGED_MAX),
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
        if let Some(distinct) = &self.distinct {
            return Some(distinct.estimate());
        }
        self.distinct_texts().map(|count| count as f64)
    }

    /// Time of the last reading.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        let sequence = self.sequence.as_ref()?;
        let spans = sequence.spans.iter().map(|span| span.last.0);
        spans.chain(sequence.readings.last().map(|(time, _)| *time)).max()
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

const NANOSECONDS: u8 = 1;
const ORDERED: u8 = 1 << 1;

impl States {
    fn index(&self, state: &str) -> u64 {
        match self.texts.binary_search_by(|known| (**known).cmp(state)) {
            Ok(at) => at as u64,
            // Not among them: other.
            Err(_) => self.texts.len() as u64,
        }
    }

    pub(super) fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        let Some(sequence) = &self.sequence else {
            out.push(0);
            return put_varint(self.count, out);
        };
        let readings = sequence.readings.iter().map(|(time, _)| *time);
        let unit = Unit::of(base, readings.chain(sequence.spans.iter().flat_map(|s| [s.first.0, s.last.0])));
        out.push(ORDERED | if unit == Unit::Nanoseconds { NANOSECONDS } else { 0 });
        put_varint(self.count, out);
        put_varint(self.texts.len() as u64, out);
        for text in &self.texts {
            put_varint(text.len() as u64, out);
            out.extend(text.as_bytes());
        }
        put_varint(sequence.readings.len() as u64, out);
        let mut before = None;
        for (time, _) in &sequence.readings {
            let nanos = time.as_nanos();
            match before {
                None => put_zigzag(unit.whole(nanos.wrapping_sub(base.as_nanos())), out),
                Some(before) => put_varint(unit.whole_unsigned(nanos.wrapping_sub(before) as u64), out),
            }
            before = Some(nanos);
        }
        sequence.readings.iter().for_each(|(_, state)| put_varint(self.index(state), out));
        put_varint(sequence.spans.len() as u64, out);
        sequence.spans.iter().for_each(|span| self.encode_span(span, base, unit, out));
    }

    /// Encodes a span: zigzag first time relative to the base, varint time to the last, varint index of the first and
    /// last state, varint readings and transitions, varint number of states, for each its index and nanoseconds.
    fn encode_span(&self, span: &StateSpan, base: Timestamp, unit: Unit, out: &mut Vec<u8>) {
        let (first, last) = (span.first.0.as_nanos(), span.last.0.as_nanos());
        put_zigzag(unit.whole(first.wrapping_sub(base.as_nanos())), out);
        put_varint(unit.whole_unsigned(last.wrapping_sub(first) as u64), out);
        let ends = [self.index(&span.first.1), self.index(&span.last.1)];
        for number in [ends[0], ends[1], span.count, span.transitions, span.times.len() as u64] {
            put_varint(number, out);
        }
        for (state, nanos) in &span.times {
            put_varint(self.index(state), out);
            put_varint(*nanos, out);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, base: Timestamp) -> Result<Self, DecodeError> {
        const COUNT: DecodeError = DecodeError::Invalid("the number of states contradicts their readings");
        let flags = reader.byte()?;
        let count = reader.varint()?;
        match flags {
            0 if count > 0 => return Ok(Self { count, sequence: None, texts: Vec::new(), distinct: None }),
            ORDERED | 0b11 => {}
            _ => return Err(DecodeError::Invalid("unknown flags of states")),
        }
        let unit = if flags & NANOSECONDS == 0 { Unit::Milliseconds } else { Unit::Nanoseconds };
        let texts = decode_texts(reader)?;
        let other: Arc<str> = OTHER_STATE.into();
        let state = |index: u64| match usize::try_from(index) {
            Ok(at) if at < texts.len() => texts.get(at).map(Arc::clone),
            Ok(at) if at == texts.len() => Some(Arc::clone(&other)),
            _ => None,
        };
        let mut sequence =
            Sequence { readings: decode_readings(reader, base, unit, state)?, spans: Vec::new() };
        let spans = reader.count(SPANS_MAX, "too many spans of states")?;
        for _ in 0..spans {
            sequence.spans.push(decode_span(reader, base, unit, state)?);
        }
        let counted = sequence.spans.iter().fold(0_u64, |sum, span| sum.saturating_add(span.count));
        let counted = counted.saturating_add(sequence.readings.len() as u64);
        if counted != count || count == 0 || !sequence.is_possible() {
            return Err(COUNT);
        }
        Ok(Self { count, sequence: Some(sequence), texts, distinct: None })
    }
}

fn decode_texts(reader: &mut Reader<'_>) -> Result<Vec<Arc<str>>, DecodeError> {
    const TEXT: DecodeError = DecodeError::Invalid("the text of a state is not allowed");
    let count = reader.count(STATES_MAX, "too many states")?;
    let mut texts: Vec<Arc<str>> = Vec::with_capacity(count.min(reader.remaining()));
    for _ in 0..count {
        let length = reader.count(STATE_BYTES_MAX, "the text of a state is too long")?;
        let text = std::str::from_utf8(reader.bytes(length)?).map_err(|_| TEXT)?;
        let in_order = texts.last().is_none_or(|last| **last < *text);
        if !is_state(text) || text == OTHER_STATE || !in_order {
            return Err(TEXT);
        }
        texts.push(text.into());
    }
    Ok(texts)
}

fn decode_readings(
    reader: &mut Reader<'_>,
    base: Timestamp,
    unit: Unit,
    state: impl Fn(u64) -> Option<Arc<str>>,
) -> Result<Vec<(Timestamp, Arc<str>)>, DecodeError> {
    const TIME: DecodeError = DecodeError::Invalid("a time is out of range");
    const STATE: DecodeError = DecodeError::Invalid("an unknown state");
    let count = reader.count(MERGED_MAX, "too many readings of states")?;
    let mut times = Vec::with_capacity(count.min(reader.remaining()));
    for number in 0..count {
        let time = match times.last() {
            None => unit.time(base, reader.zigzag()?).ok_or(TIME)?,
            Some(before) => {
                let before: &Timestamp = before;
                let later = reader.varint()?.checked_mul(unit.nanos()).ok_or(TIME)?;
                Timestamp::from_nanos(before.as_nanos().checked_add_unsigned(later).ok_or(TIME)?)
            }
        };
        debug_assert_eq!(times.len(), number);
        times.push(time);
    }
    times.into_iter().map(|time| Ok((time, state(reader.varint()?).ok_or(STATE)?))).collect()
}

fn decode_span(
    reader: &mut Reader<'_>,
    base: Timestamp,
    unit: Unit,
    state: impl Fn(u64) -> Option<Arc<str>>,
) -> Result<StateSpan, DecodeError> {
    const STATE: DecodeError = DecodeError::Invalid("an unknown state");
    let (first, last) = unit.decode_ends(reader, base)?;
    let ends = [state(reader.varint()?).ok_or(STATE)?, state(reader.varint()?).ok_or(STATE)?];
    let [first_state, last_state] = ends;
    let (count, transitions) = (reader.varint()?, reader.varint()?);
    let number = reader.count(STATES_MAX + 1, "too many states of a span")?;
    let mut times: Vec<(Arc<str>, u64)> = Vec::with_capacity(number.min(reader.remaining()));
    for _ in 0..number {
        times.push((state(reader.varint()?).ok_or(STATE)?, reader.varint()?));
    }
    if count == 0 || transitions >= count || !times.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(DecodeError::Invalid("the counts of a span of states contradict"));
    }
    Ok(StateSpan { first: (first, first_state), last: (last, last_state), count, transitions, times })
}
