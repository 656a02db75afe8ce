//! The record of an epoch's shards: what each has delivered, by which runs, and what is missing.

use catchment_partial::Timestamp;
use prost::Message;

use super::Stored;
use crate::store::{
    Gap, RunDelivered,
    catalog::{Shard, gaps::ShardGap},
    previous_runs,
};

#[derive(Clone, PartialEq, Message)]
struct ShardRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(sint64, optional, tag = "2")]
    watermark: Option<i64>,
    /// Absent in records from before gaps were stored: then equal to the watermark.
    #[prost(message, optional, tag = "3")]
    whole: Option<WholeRecord>,
    #[prost(message, repeated, tag = "4")]
    gaps: Vec<GapRecord>,
    #[prost(message, repeated, tag = "5")]
    runs: Vec<RunRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct WholeRecord {
    #[prost(sint64, optional, tag = "1")]
    to: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct GapRecord {
    #[prost(uint64, tag = "1")]
    first: u64,
    #[prost(uint64, tag = "2")]
    last: u64,
    #[prost(uint64, tag = "3")]
    batches: u64,
    #[prost(sint64, optional, tag = "4")]
    from: Option<i64>,
    #[prost(sint64, optional, tag = "5")]
    to: Option<i64>,
    #[prost(sint64, optional, tag = "6")]
    noticed: Option<i64>,
    #[prost(sint64, optional, tag = "7")]
    end: Option<i64>,
    /// `from` is the start of the first missing window. Earlier versions stored the watermark instead, and late
    /// windows may be missing before it: then `from` is unknown.
    #[prost(bool, tag = "8")]
    starts: bool,
}

#[derive(Clone, PartialEq, Message)]
struct RunRecord {
    #[prost(fixed64, tag = "1")]
    run: u64,
    #[prost(fixed64, repeated, tag = "2")]
    previous: Vec<u64>,
    #[prost(uint64, tag = "3")]
    number: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct ShardsRecord {
    #[prost(message, repeated, tag = "1")]
    shards: Vec<ShardRecord>,
}

impl Stored for Vec<Shard> {
    type Record = ShardsRecord;

    fn record(&self) -> ShardsRecord {
        let nanos = |time: Option<Timestamp>| time.map(Timestamp::as_nanos);
        let gap = |gap: &ShardGap| GapRecord {
            first: gap.first,
            last: gap.last,
            batches: gap.gap.batches,
            from: nanos(gap.gap.from),
            to: nanos(gap.gap.to),
            noticed: nanos(gap.noticed),
            end: nanos(gap.end),
            starts: true,
        };
        let run = |RunDelivered { run, previous, number }| {
            let previous = previous.into_iter().take_while(|run| *run != 0).collect();
            RunRecord { run, previous, number }
        };
        let shard = |s: &Shard| ShardRecord {
            number: s.number,
            watermark: nanos(s.watermark),
            whole: Some(WholeRecord { to: nanos(s.whole_to) }),
            gaps: s.gaps.iter().map(gap).collect(),
            runs: s.runs.iter().map(run).collect(),
        };
        ShardsRecord { shards: self.iter().map(shard).collect() }
    }

    fn restore(record: ShardsRecord) -> Option<Self> {
        let time = |nanos: Option<i64>| nanos.map(Timestamp::from_nanos);
        let gap = |gap: GapRecord| ShardGap {
            first: gap.first,
            last: gap.last,
            noticed: time(gap.noticed),
            end: time(gap.end),
            gap: Gap { from: time(gap.from.filter(|_| gap.starts)), to: time(gap.to), batches: gap.batches },
        };
        let run = |RunRecord { run, previous, number }| RunDelivered {
            run,
            previous: previous_runs(&previous),
            number,
        };
        let shard = |s: ShardRecord| Shard {
            number: s.number,
            watermark: time(s.watermark),
            whole_to: time(s.whole.map_or(s.watermark, |whole| whole.to)),
            gaps: s.gaps.into_iter().map(gap).collect(),
            runs: s.runs.into_iter().map(run).collect(),
        };
        Some(record.shards.into_iter().map(shard).collect())
    }
}
