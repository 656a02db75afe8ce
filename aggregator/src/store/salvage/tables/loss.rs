//! Spans of rows that cannot be read, and the record of the windows that a repair could not keep.

use catchment_partial::{Timestamp, Window};
use prost::Message;

use crate::store::{
    catalog::Catalog,
    tables::{table::BlockRange, writer::TableSummary},
};

/// Most spans recorded; more are joined.
const SPANS_MAX: usize = 1024;

/// Rows of some series that start in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Span {
    /// The first and the last series.
    pub(in crate::store) series: (u32, u32),
    /// The first and the last start.
    pub(in crate::store) starts: (Timestamp, Timestamp),
}

impl Span {
    /// All rows of a table.
    pub(in crate::store) fn of_table(summary: &TableSummary) -> Self {
        let TableSummary { least_series, greatest_series, first, last, .. } = *summary;
        Self { series: (least_series, greatest_series), starts: (first, last) }
    }

    /// The rows of a block of a table.
    pub(in crate::store) fn of_block(range: &BlockRange, summary: &TableSummary) -> Self {
        let ((first, first_start), (last, last_start)) = (range.first, range.last);
        let one = first == last;
        // Of several series only the ends are known.
        let starts = if one { (first_start, last_start) } else { (summary.first, summary.last) };
        Self { series: (first, last), starts }
    }

    /// The smallest span that contains both.
    #[must_use]
    pub(in crate::store) fn joined(&self, other: &Self) -> Self {
        Self {
            series: (self.series.0.min(other.series.0), self.series.1.max(other.series.1)),
            starts: (self.starts.0.min(other.starts.0), self.starts.1.max(other.starts.1)),
        }
    }

    /// Whether a row of the span may start in an interval of a series.
    pub(in crate::store) fn meets(&self, series: u32, interval: Window) -> bool {
        (self.series.0..=self.series.1).contains(&series)
            && self.starts.0 < interval.end()
            && interval.start() <= self.starts.1
    }

    /// Whether both may hold rows of one series on one day.
    pub(in crate::store) fn is_near(&self, other: &Self) -> bool {
        const DAY: i64 = 86_400_000_000_000;
        self.series.0 <= other.series.1
            && other.series.0 <= self.series.1
            && self.starts.0 <= other.starts.1.saturating_add_nanos(DAY)
            && other.starts.0 <= self.starts.1.saturating_add_nanos(DAY)
    }

    /// Series and times, for people.
    pub(in crate::store) fn text(&self, catalog: &Catalog) -> String {
        let ((first, last), (from, to)) = (self.series, self.starts);
        let name = |series: u32| {
            let known = catalog.series.get(series)?;
            let gateway = catalog.gateways.get(known.gateway as usize)?;
            Some(format!("{} of {}", known.key.key(), gateway.id))
        };
        let first_name = name(first).unwrap_or_else(|| "not known".to_owned());
        let series = match last.saturating_sub(first) {
            0 => format!("series {first} ({first_name})"),
            _ => format!("series {first} to {last} (the first: {first_name})"),
        };
        format!("{series}, windows that start from {} to {}", time_text(from), time_text(to))
    }
}

fn time_text(time: Timestamp) -> String {
    // The years that RFC 3339 knows, from 1970 on.
    match u64::try_from(time.as_millis()).ok().filter(|millis| *millis < 253_402_300_800_000) {
        Some(millis) => {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
            humantime::format_rfc3339_millis(time).to_string()
        }
        None => format!("{} ms", time.as_millis()),
    }
}

/// Spans in which windows were lost for good. Minutes, hours and days there were made while the windows were whole, so
/// they are never made again from those that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct LostWindows(Vec<Span>);

#[derive(Clone, PartialEq, Message)]
struct SpanRecord {
    #[prost(uint32, tag = "1")]
    first_series: u32,
    #[prost(uint32, tag = "2")]
    last_series: u32,
    #[prost(sint64, tag = "3")]
    first_start: i64,
    #[prost(sint64, tag = "4")]
    last_start: i64,
}

/// The record of [`LostWindows`].
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct LostRecord {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<SpanRecord>,
}

impl LostWindows {
    /// Adds a span.
    pub(in crate::store) fn add(&mut self, span: Span) {
        if self.0.contains(&span) {
            return;
        }
        let full = self.0.len() >= SPANS_MAX;
        match self.0.last_mut().filter(|_| full) {
            Some(last) => *last = last.joined(&span),
            None => self.0.push(span),
        }
    }

    /// Removes the spans that end before a time.
    pub(in crate::store) fn drop_before(&mut self, time: Timestamp) {
        self.0.retain(|span| span.starts.1 >= time);
    }

    /// Whether a window may be lost in an interval of a series.
    pub(in crate::store) fn meets(&self, series: u32, interval: Window) -> bool {
        self.0.iter().any(|span| span.meets(series, interval))
    }

    /// Whether nothing is lost.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The spans.
    pub(in crate::store) fn spans(&self) -> &[Span] {
        &self.0
    }

    pub(in crate::store) fn record(&self) -> LostRecord {
        let record = |span: &Span| SpanRecord {
            first_series: span.series.0,
            last_series: span.series.1,
            first_start: span.starts.0.as_nanos(),
            last_start: span.starts.1.as_nanos(),
        };
        LostRecord { spans: self.0.iter().map(record).collect() }
    }

    pub(in crate::store) fn restore(record: LostRecord) -> Self {
        let mut lost = Self::default();
        for span in record.spans {
            let starts = (Timestamp::from_nanos(span.first_start), Timestamp::from_nanos(span.last_start));
            lost.add(Span { series: (span.first_series, span.last_series), starts });
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_bounded_and_survive_their_record() {
        let span = |n: u32| Span {
            series: (n, n + 1),
            starts: (Timestamp::from_nanos(i64::from(n)), Timestamp::from_nanos(i64::from(n) + 1)),
        };
        let mut lost = LostWindows::default();
        (0..SPANS_MAX as u32 + 7).for_each(|n| lost.add(span(n)));
        assert_eq!(lost.spans().len(), SPANS_MAX);
        assert_eq!(LostWindows::restore(lost.record()), lost);
        let minute = catchment_partial::Width::from_millis(60_000).unwrap();
        let first = Window::containing(Timestamp::from_nanos(0), minute);
        assert!((0..SPANS_MAX as u32 + 7).all(|n| lost.meets(n + 1, first)), "none is forgotten");
        assert!(!lost.meets(SPANS_MAX as u32 + 9, first));
        lost.drop_before(Timestamp::from_nanos(5));
        assert_eq!(lost.spans().first(), Some(&span(4)));
    }
}
