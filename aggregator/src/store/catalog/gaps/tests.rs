use catchment_partial::{Width, Window};
use catchment_proto::Span;
use prost::Message as _;

use super::*;
use crate::store::{
    catalog::Catalog,
    testing::{at, epoch},
    tree::records::{Stored, numbered, seal},
};

const MAX: usize = 64;

/// First and last number, number of batches, start and end in seconds.
type Shown = (u64, u64, u64, Option<i64>, Option<i64>);

fn shown(gaps: &[ShardGap]) -> Vec<Shown> {
    let seconds = |time: Option<Timestamp>| time.map(|time| time.as_millis() / 1000);
    gaps.iter().map(|g| (g.first, g.last, g.gap.batches, seconds(g.gap.from), seconds(g.gap.to))).collect()
}

/// History of a gateway's earlier batches, each with the window of the ten seconds before its watermark.
fn before(number: u64) -> History {
    let mut history = History::default();
    let width = Width::from_millis(10_000).unwrap();
    for index in 0..number as i64 - 1 {
        let window = Window::from_index(index, width).unwrap();
        history.push(1, Span { from: window.start(), to: window.end() });
    }
    history
}

impl Shard {
    /// A batch of such a gateway.
    fn taken(&mut self, number: u64, watermark: Option<Timestamp>, gaps_max: usize) {
        self.record(number, watermark, &before(number), gaps_max);
    }

    fn reported(&mut self, watermark: Option<Timestamp>, last: u64, gaps_max: usize) {
        self.record_progress(&report(watermark, last), gaps_max);
    }
}

fn report(watermark: Option<Timestamp>, last: u64) -> ProgressReport {
    ProgressReport { shard: 0, watermark, last, history: before(last + 1) }
}

/// A shard that applied batches 1 to 3, each of which moved the watermark by ten seconds.
fn shard() -> Shard {
    let mut shard = Shard::default();
    (1..=3).for_each(|number| shard.taken(number, Some(at(number as i64 * 10)), MAX));
    assert!(shard.gaps.is_empty());
    shard
}

#[test]
fn a_batch_beyond_the_next_shows_a_gap_until_all_of_it_is_closed() {
    let mut shard = shard();
    shard.taken(6, Some(at(60)), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 5, 2, Some(30), Some(50))], "whatever arrives later");
    let noted = shard.clone();
    shard.taken(6, Some(at(60)), MAX);
    shard.taken(2, Some(at(20)), MAX);
    assert_eq!(shard, noted, "twice is once");
    shard.taken(7, Some(at(60)), MAX);
    shard.taken(8, Some(at(70)), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 5, 2, Some(30), Some(50))]);
}

#[test]
fn for_an_unknown_shard_everything_before_the_first_batch_is_missing() {
    let mut shard = Shard::default();
    shard.taken(4, None, MAX);
    assert_eq!(shown(&shard.gaps), [(1, 3, 3, Some(0), Some(30))]);
    let mut new = Shard::default();
    new.taken(1, Some(at(10)), MAX);
    assert!(new.gaps.is_empty());
}

#[test]
fn a_shard_that_reports_its_batch_count_shows_a_gap_without_a_batch() {
    let mut shard = shard();
    shard.reported(Some(at(40)), 3, MAX);
    shard.reported(Some(at(60)), 5, MAX);
    assert_eq!(shown(&shard.gaps), [(4, 5, 2, Some(30), Some(50))], "where the windows of batch 4 start");
    shard.taken(6, Some(at(70)), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 5, 2, Some(30), Some(50))], "no other gap");
    shard.taken(7, Some(at(80)), MAX);
    assert_eq!(shard.number, 7);
    let mut unbelieved = shard.clone();
    unbelieved.reported(None, 9, MAX);
    assert_eq!(shown(&unbelieved.gaps)[1], (8, 9, 2, Some(70), Some(90)));
    unbelieved.reported(Some(at(90)), 9, MAX);
    assert_eq!(shown(&unbelieved.gaps)[1], (8, 9, 2, Some(70), Some(90)));
}

#[test]
fn the_watermark_of_an_older_gateway_moves_no_gap() {
    let mut shard = shard();
    // The store is an older copy: batches 4 to 9 are missing, and nothing shows it yet.
    shard.reported(Some(at(90)), 0, MAX);
    assert_eq!((shard.watermark, shard.gaps.len()), (Some(at(90)), 0));
    shard.taken(10, Some(at(100)), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 9, 6, Some(30), Some(90))]);
}

/// Windows that a watermark cannot reveal: windows of late readings, and windows that were closed early.
#[test]
fn a_gap_holds_all_windows_of_the_missing_batches() {
    let mut history = before(4);
    let span = |from, to| Span { from: at(from), to: at(to) };
    history.push(1, span(-4000, 40));
    history.push(1, span(40, 900));
    let mut shard = shard();
    shard.record(6, Some(at(60)), &history, MAX);
    shard.taken(7, Some(at(70)), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 5, 2, Some(-4000), Some(900))]);
    let restored = Vec::<Shard>::restore(vec![shard.clone()].record());
    assert_eq!(restored, Some(vec![shard]));
}

/// An earlier version, or a gateway that lost its journal: nothing before the gap is known to be complete.
#[test]
fn a_gateway_that_does_not_report_what_is_missing_may_lack_anything() {
    let mut shard = shard();
    shard.record(6, Some(at(60)), &History::default(), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 5, 2, None, None)]);
    let mut half = before(6);
    half.forget();
    half.push(1, Span { from: at(40), to: at(50) });
    let mut other = Shard { number: 3, ..Shard::default() };
    other.record(6, Some(at(60)), &half, MAX);
    assert_eq!(shown(&other.gaps)[0].3, None, "nothing is reported about batch 4");
}

/// A gateway whose report arrives before its batches, and after a restart after them.
#[test]
fn the_loss_does_not_depend_on_the_order_of_report_and_batches() {
    let (mut first, mut last) = (shard(), shard());
    first.reported(Some(at(40)), 50, MAX);
    assert_eq!(batches(&first.gaps), 47);
    for shard in [&mut first, &mut last] {
        shard.taken(4, Some(at(50)), MAX);
        shard.taken(6, Some(at(60)), MAX);
        shard.taken(6, Some(at(60)), MAX);
    }
    last.reported(Some(at(60)), 50, MAX);
    assert_eq!((batches(&first.gaps), batches(&last.gaps)), (45, 45), "4 and 6 arrived");
    for number in 7..=50 {
        first.taken(number, Some(at(number as i64 * 10)), MAX);
    }
    assert_eq!(batches(&first.gaps), 1);
    let mut all = shard();
    all.reported(Some(at(30)), 5, MAX);
    (4..=5).for_each(|number| all.taken(number, Some(at(number as i64 * 10)), MAX));
    assert!(all.gaps.is_empty(), "all of them arrived");
    all.gaps.push(ShardGap::unknown(Some(at(20))));
    all.reported(Some(at(50)), 6, MAX);
    all.gaps = merge(std::mem::take(&mut all.gaps), 1);
    all.taken(6, Some(at(60)), MAX);
    assert_eq!(shown(&all.gaps), [(0, 6, 0, None, Some(60))], "an unknown gap stays");
}

#[test]
fn touching_gaps_are_merged_and_beyond_the_limit_the_nearest() {
    let mut shard = shard();
    shard.taken(5, Some(at(50)), MAX);
    shard.taken(7, Some(at(70)), MAX);
    assert_eq!(shown(&shard.gaps), [(4, 4, 1, Some(30), Some(40)), (6, 6, 1, Some(50), Some(60))]);
    let mut history = before(9);
    history.push(1, Span { from: at(60), to: at(90) });
    shard.record(10, Some(at(100)), &history, MAX);
    assert_eq!(shown(&shard.gaps), [(4, 4, 1, Some(30), Some(40)), (6, 9, 3, Some(50), Some(90))]);

    let (mut many, mut history, mut closed) = (Shard::default(), History::default(), at(0));
    for number in 1..800_i64 {
        // Three batches, then a missing one; the distances grow.
        let (from, step) = (closed, number / 4);
        closed = at(number * 10 + step * step);
        if number % 4 != 0 {
            many.record(number as u64, Some(closed), &history, 5);
        }
        history.push(1, Span { from, to: closed });
    }
    assert_eq!(many.gaps.len(), 5);
    assert_eq!(batches(&many.gaps), 199);
    assert!(many.gaps.windows(2).all(|pair| pair[0].gap.to < pair[1].gap.from), "{:?}", many.gaps);
    assert_eq!(many.gaps[0].first, 4, "the nearest, which are the oldest here, have been merged");
}

#[test]
fn a_full_record_of_gaps_is_kept_in_one_piece() {
    for shards in [1, 2, 8, 255, 256] {
        let most = gaps_max(shards);
        assert!((1..=SHARD_MAX).contains(&most));
        let gap = |n: u64| ShardGap {
            first: (1 << 48) - n,
            last: 1 << 48,
            noticed: Some(Timestamp::MIN),
            end: Some(Timestamp::MIN),
            gap: Gap { from: Some(Timestamp::MIN), to: Some(Timestamp::MIN), batches: 1 << 48 },
        };
        let full = Shard {
            number: 1 << 48,
            watermark: Some(Timestamp::MIN),
            whole_to: Some(Timestamp::MIN),
            gaps: (0..most as u64).map(gap).collect(),
            ..Shard::default()
        };
        let record = vec![full; shards].record();
        assert!(
            seal(u64::MAX, &numbered(b'n', 1), &record.encode_to_vec()).len() < 60 << 10,
            "{shards} shards"
        );
    }
}

#[test]
fn records_keep_gaps_and_older_ones_have_none() {
    let mut with_gaps = shard();
    with_gaps.taken(6, Some(at(60)), MAX);
    with_gaps.taken(7, Some(at(70)), MAX);
    with_gaps.reported(Some(at(80)), 0, MAX);
    with_gaps.taken(9, Some(at(90)), MAX);
    let mut never_whole = Shard::default();
    never_whole.reported(Some(at(10)), 0, MAX);
    let shards = vec![with_gaps, Shard::default(), never_whole];
    assert_eq!(Vec::<Shard>::restore(shards.record()), Some(shards));
    // From before gaps were stored: one shard, number 3, watermark of 1 ns.
    let older = [0x0a, 4, 0x08, 3, 0x10, 2];
    let record = crate::store::tree::records::shards::ShardsRecord::decode(older.as_slice()).unwrap();
    let restored = Vec::<Shard>::restore(record).unwrap();
    let time = Some(Timestamp::from_nanos(1));
    assert_eq!(restored, [Shard { number: 3, watermark: time, whole_to: time, ..Shard::default() }]);
    // From before gaps recorded which windows are missing: batch 4, from 1 ns to 2 ns.
    let older = [0x0a, 12, 0x08, 5, 0x22, 8, 0x08, 4, 0x18, 1, 0x20, 2, 0x28, 4];
    let record = crate::store::tree::records::shards::ShardsRecord::decode(older.as_slice()).unwrap();
    let restored = Vec::<Shard>::restore(record).unwrap();
    assert_eq!(restored[0].gaps[0].gap.from, None, "its start was the watermark");
    assert_eq!(restored[0].gaps[0].gap.to, Some(Timestamp::from_nanos(2)));
}

#[test]
fn a_catalog_lists_the_gaps_of_all_shards_and_epochs_of_a_gateway() {
    let mut catalog = Catalog::default();
    let old = catalog.intern_epoch(&epoch("g", 1));
    catalog.advance(old, 0, 1, Some(at(10)), &History::default());
    catalog.advance(old, 0, 4, Some(at(40)), &History::default());
    catalog.progress(old, &report(Some(at(40)), 4));
    catalog.advance(old, 1, 1, Some(at(20)), &History::default());
    catalog.advance(old, 1, 3, Some(at(50)), &History::default());
    catalog.advance(old, 1, 4, Some(at(60)), &History::default());
    let new = catalog.intern_epoch(&epoch("g", 2));
    catalog.advance(new, 0, 2, Some(at(100)), &History::default());
    catalog.progress(new, &report(Some(at(110)), 2));
    catalog.intern_epoch(&epoch("h", 1));
    assert_eq!(catalog.lost_batches, 4);
    let entries = catalog.gateway_entries_from(0).entries;
    let gaps = |entries: &[crate::store::GatewayEntry]| {
        entries.iter().map(|entry| entry.gaps.clone()).collect::<Vec<_>>()
    };
    let gap = |from: Option<i64>, to: i64, batches| Gap { from: from.map(at), to: Some(at(to)), batches };
    assert_eq!(gaps(&entries), [vec![gap(None, 110, 4)], vec![]], "they touch");
    assert_eq!(entries[0].epoch.id, 2);

    let restored = Catalog::restore(
        catalog.gateways.clone(),
        catalog.epochs.clone(),
        crate::store::catalog::groups::AllSeries::default(),
        0,
    );
    assert_eq!((restored.lost_batches, gaps(&restored.gateway_entries_from(0).entries)), (4, gaps(&entries)));
}

#[test]
fn damage_makes_everything_up_to_now_doubtful() {
    let mut catalog = Catalog::default();
    let number = catalog.intern_epoch(&epoch("g", 1));
    for shard in 0..2 {
        catalog.advance(number, shard, 1, Some(at(10)), &History::default());
    }
    catalog.mark_all_damaged();
    for shard in 0..2 {
        catalog.advance(number, shard, 2, Some(at(20)), &History::default());
    }
    let damaged = vec![Gap { from: None, to: Some(at(10)), batches: 0 }];
    assert_eq!((catalog.gateway_entries_from(0).entries[0].gaps.clone(), catalog.lost_batches), (damaged, 0));
    let lost = catalog.unknown_gap(0);
    assert_eq!(catalog.note_lost_windows(0, &[lost]), Some(number));
    assert_eq!(catalog.epochs[0].shards[0].gaps, [ShardGap::unknown(Some(at(20)))]);
}

#[test]
fn times_ahead_of_the_clock_are_reset_and_the_right_folder_becomes_present() {
    let mut catalog = Catalog::default();
    let mut far = epoch("g", 7);
    far.created_ms = at(9_000_000).as_millis();
    let (right, wrong) = (catalog.intern_epoch(&epoch("g", 9)), catalog.intern_epoch(&far));
    for shard in 0..2 {
        catalog.advance(right, shard, 1, Some(at(100)), &History::default());
        catalog.advance(wrong, shard, 1, Some(at(9_000_000)), &History::default());
    }
    assert_eq!(catalog.gateway_entries_from(0).entries[0].epoch.id, 7);
    catalog.dirty = crate::store::catalog::Dirty::default();
    assert!(catalog.cap_future_times(at(1_600), at(1_000)) > 0);
    let entry = &catalog.gateway_entries_from(0).entries[0];
    assert_eq!((entry.epoch.id, entry.watermark), (7, None), "the newest seen, for now");
    assert!(catalog.dirty.shards.contains(&wrong) && catalog.dirty.epochs.contains(&wrong));
    assert!(!catalog.dirty.shards.contains(&right));
    assert_eq!(catalog.cap_future_times(at(1_600), at(1_000)), 0, "once");
    let mut later = epoch("g", 11);
    later.created_ms = at(2_000).as_millis();
    catalog.intern_epoch(&later);
    assert_eq!(catalog.gateway_entries_from(0).entries[0].epoch.id, 11);
}
