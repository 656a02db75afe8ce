//! Spans of time in which rows of a series cannot be read.

use catchment_partial::{Timestamp, Width};

/// Spans of time in which rows of a series cannot be read, in order.
///
/// Tables tell where rows start, not where they end. So the end of a span's last row is settled by the next row that can be
/// read, which starts there at the earliest. Until then the span reaches to the last end of any row of the series, at most
/// as far as the longest window. It is too long rather than too short: nothing is missing outside of it.
#[derive(Debug, Default)]
pub(super) struct DamagedSpans {
    spans: Vec<(Timestamp, Timestamp)>,
    /// Places of spans whose end is not settled, each with the last start in it.
    open: Vec<(usize, Timestamp)>,
}

impl DamagedSpans {
    /// The spans so far.
    pub(super) fn all(&self) -> &[(Timestamp, Timestamp)] {
        &self.spans
    }

    /// Adds a span that ends at a known time.
    pub(super) fn add(&mut self, span: (Timestamp, Timestamp)) {
        self.spans.push(span);
    }

    /// Adds the span of rows that start in `[first, last]`. `ends`: the last end of any row of the series.
    pub(super) fn add_rows(&mut self, (first, last): (Timestamp, Timestamp), ends: Timestamp) {
        let longest = last.saturating_add_nanos(Width::MAX.as_nanos());
        let end = if ends > last { ends.min(longest) } else { longest };
        self.open.push((self.spans.len(), last));
        self.spans.push((first, end));
    }

    /// Whether the end of a span is not settled.
    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A row is read; rows come in order of their start.
    pub(super) fn row_at(&mut self, start: Timestamp) {
        let Self { spans, open } = self;
        open.retain(|(place, last)| {
            let settles = start > *last;
            if settles && let Some((_, end)) = spans.get_mut(*place) {
                *end = (*end).min(start);
            }
            !settles
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_with_the_next_row_or_where_no_row_can_end_later() {
        let at = |second: i64| Timestamp::from_millis(second * 1_000).unwrap();
        let mut damaged = DamagedSpans::default();
        damaged.add_rows((at(0), at(20)), at(1_000_000));
        damaged.row_at(at(10));
        damaged.row_at(at(20));
        assert_eq!(
            damaged.all(),
            [(at(0), at(20 + 86_400))],
            "another part of the last window settles nothing"
        );
        damaged.row_at(at(30));
        assert!(!damaged.has_open());
        damaged.row_at(at(25));
        damaged.add_rows((at(40), at(60)), at(70));
        damaged.add((at(80), at(90)));
        damaged.add_rows((at(100), at(120)), at(110));
        let spans = [(at(0), at(30)), (at(40), at(70)), (at(80), at(90)), (at(100), at(120 + 86_400))];
        assert_eq!(damaged.all(), spans, "an end that is known, and one that cannot be right");
    }
}
