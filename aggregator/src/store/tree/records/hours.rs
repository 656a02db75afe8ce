//! The record of a gateway's late corrections and refused readings by hour.

use prost::Message;

use super::Stored;
use crate::store::catalog::hourly::{HourlyCounts, LateAndRefused, Span};

/// Columns, one entry a span; at most some 40 bytes each.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct HoursRecord {
    /// First hour, less the end of the span before (0 for the first).
    #[prost(sint64, repeated, tag = "1")]
    from: Vec<i64>,
    #[prost(uint64, repeated, tag = "2")]
    hours: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    late: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    refused: Vec<u64>,
}

impl Stored for HourlyCounts {
    type Record = HoursRecord;

    fn record(&self) -> HoursRecord {
        let mut record = HoursRecord::default();
        let mut end = 0;
        for span in self.spans() {
            record.from.push(span.from.saturating_sub(end));
            record.hours.push(span.to.abs_diff(span.from));
            record.late.push(span.counts.late);
            record.refused.push(span.counts.refused);
            end = span.to;
        }
        record
    }

    fn restore(record: HoursRecord) -> Option<Self> {
        let HoursRecord { from, hours, late, refused } = record;
        let count = from.len();
        if [hours.len(), late.len(), refused.len()] != [count; 3] {
            return None;
        }
        let mut end = 0_i64;
        let mut spans = Vec::with_capacity(count);
        for (((from, hours), late), refused) in from.into_iter().zip(hours).zip(late).zip(refused) {
            let from = end.checked_add(from)?;
            end = from.checked_add(i64::try_from(hours).ok()?)?;
            spans.push(Span { from, to: end, counts: LateAndRefused { late, refused } });
        }
        Self::restore(spans)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_survive(added in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u64>()), 0..20)) {
            let mut counts = HourlyCounts::default();
            added.into_iter().for_each(|(hour, late, refused)| {
                counts.add(hour, LateAndRefused { late, refused }, 9);
            });
            let record = HoursRecord::decode(counts.record().encode_to_vec().as_slice()).unwrap();
            prop_assert_eq!(<HourlyCounts as Stored>::restore(record), Some(counts));
        }

        #[test]
        fn any_columns_are_safe(
            from in prop::collection::vec(any::<i64>(), 0..4), hours in prop::collection::vec(any::<u64>(), 0..4),
        ) {
            let counts = vec![1; from.len()];
            let _ = <HourlyCounts as Stored>::restore(HoursRecord { from, hours, late: counts.clone(), refused: counts });
        }
    }
}
