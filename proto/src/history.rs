//! The times that a shard's batches cover, so that an aggregator that lost some of them knows what is missing. Pure.
//!
//! The watermark is not enough: batches also contain windows of late readings, far before it, and windows closed early,
//! after it. The gateway keeps the earliest start and latest end of the windows of its batches, for ranges of batches:
//! single ones at the end, longer ranges further back, at most [`RANGES_MAX`]. The times reported for some batches are
//! never less than what they cover, and may be more: those of all ranges that they touch.

use catchment_partial::{Timestamp, Width, Window};

use crate::wire;

/// Maximum number of ranges kept.
pub const RANGES_MAX: usize = 32;
/// Maximum number of ranges accepted from the wire: a later version may keep more.
const READ_MAX: usize = 64;

/// A time interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Span {
    /// From the earliest start of the windows to their latest end; `None` if there are none.
    pub fn over(windows: impl Iterator<Item = Window>) -> Option<Self> {
        windows.map(|window| Self { from: window.start(), to: window.end() }).reduce(Self::join)
    }

    /// The smallest interval that contains both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }
}

/// Consecutive batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    batches: u64,
    span: Span,
}

/// The times covered by a shard's batches up to one of them; those of the oldest batches may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Contiguous, oldest first.
    ranges: Vec<Range>,
}

/// An invalid history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Columns of different lengths.
    #[error("the columns of a history differ in length")]
    Columns,
    /// More ranges than are accepted.
    #[error("a history of {0} ranges, at most {READ_MAX} are allowed")]
    TooMany(usize),
    /// The unit of its times is 0.
    #[error("the unit of a history's times is 0")]
    Unit,
}

impl History {
    /// Appends `batches` batches that cover `span`.
    pub fn push(&mut self, batches: u64, span: Span) {
        if batches == 0 {
            return;
        }
        self.ranges.push(Range { batches, span });
        if self.ranges.len() > RANGES_MAX {
            self.coarsen();
        }
    }

    /// Ends spans that begin before `latest` there: batches with windows of a time that has not come, by a wrong clock,
    /// do not cover all the time until then.
    pub fn cap(&mut self, latest: Timestamp) {
        for Range { span, .. } in self.ranges.iter_mut().filter(|range| range.span.from < latest) {
            span.to = span.to.min(latest);
        }
    }

    /// Call it when batches follow of which nothing is known: then nothing is known of the earlier ones either.
    pub fn forget(&mut self) {
        self.ranges.clear();
    }

    /// The times that the last `batches` batches cover, or more; `None`: unknown.
    pub fn of_last(&self, batches: u64) -> Option<Span> {
        let (mut counted, mut span) = (0_u64, None);
        for range in self.ranges.iter().rev() {
            span = Some(span.map_or(range.span, |span: Span| span.join(range.span)));
            counted = counted.saturating_add(range.batches);
            if counted >= batches {
                return span;
            }
        }
        None
    }

    /// The history of the last `batches` batches, after one that covers `older`; empty if this history does not reach
    /// back that far.
    #[must_use]
    pub fn since(&self, batches: u64, older: Span) -> Self {
        let (mut left, mut kept) = (batches, Vec::new());
        for range in self.ranges.iter().rev() {
            if left == 0 {
                break;
            }
            kept.push(Range { batches: range.batches.min(left), ..*range });
            left = left.saturating_sub(range.batches);
        }
        if left > 0 {
            return Self::default();
        }
        kept.push(Range { batches: 1, span: older });
        kept.reverse();
        Self { ranges: kept }
    }

    /// Merges the two neighbouring ranges with the fewest batches relative to their age.
    fn coarsen(&mut self) {
        let (mut after, mut best) = (0_u64, None::<(usize, u64, u64)>);
        for (at, pair) in self.ranges.windows(2).enumerate().rev() {
            let [older, newer] = pair else { continue };
            let together = older.batches.saturating_add(newer.batches);
            let is_less = |(_, least, back): &(usize, u64, u64)| {
                // together / (after + 1) < least / (back + 1), without fractions.
                u128::from(together) * (u128::from(*back) + 1) < u128::from(*least) * (u128::from(after) + 1)
            };
            if best.as_ref().is_none_or(is_less) {
                best = Some((at, together, after));
            }
            after = after.saturating_add(newer.batches);
        }
        let Some((at, batches, _)) = best else { return };
        let newer = self.ranges.remove(at + 1);
        if let Some(older) = self.ranges.get_mut(at) {
            *older = Range { batches, span: older.span.join(newer.span) };
        }
    }

    /// The wire message, with times in this unit, rounded outwards. `None`: nothing is known.
    pub fn wire(&self, unit: Width) -> Option<wire::BatchHistory> {
        let mut message = wire::BatchHistory { unit_ms: unit.as_millis(), ..wire::BatchHistory::default() };
        let mut before = 0;
        for Range { batches, span } in self.ranges.iter().rev() {
            let from = span.from.as_nanos().div_euclid(unit.as_nanos());
            let to = span.to.as_nanos().div_euclid(unit.as_nanos());
            let to = to + i64::from(span.to.as_nanos().rem_euclid(unit.as_nanos()) > 0);
            message.batches.push(*batches);
            message.from.push(from - before);
            message.length.push(to.abs_diff(from));
            before = from;
        }
        (!self.ranges.is_empty()).then_some(message)
    }

    /// Reads a message; without one, nothing is known.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn read(message: Option<&wire::BatchHistory>) -> Result<Self, HistoryError> {
        let Some(message) = message else { return Ok(Self::default()) };
        let wire::BatchHistory { batches, from, length, unit_ms } = message;
        if batches.len() > READ_MAX {
            return Err(HistoryError::TooMany(batches.len()));
        }
        if batches.len() != from.len() || batches.len() != length.len() {
            return Err(HistoryError::Columns);
        }
        if *unit_ms == 0 {
            return Err(HistoryError::Unit);
        }
        // Rounding may have left the range of `Timestamp` a little; values of a faulty sender are clamped to it too.
        let time = |units: i128| {
            let nanos = units.saturating_mul(i128::from(*unit_ms) * 1_000_000);
            Timestamp::from_nanos(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        };
        let mut start = 0_i128;
        let columns = batches.iter().zip(from).zip(length);
        let mut ranges: Vec<Range> = columns
            .map(|((batches, step), length)| {
                start += i128::from(*step);
                let span = Span { from: time(start), to: time(start + i128::from(*length)) };
                Range { batches: *batches, span }
            })
            .collect();
        ranges.reverse();
        Ok(Self { ranges })
    }

    /// Approximate heap memory in bytes.
    pub fn memory(&self) -> usize {
        self.ranges.len() * size_of::<Range>()
    }
}

#[cfg(test)]
mod tests;
