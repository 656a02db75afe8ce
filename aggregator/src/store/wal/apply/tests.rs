use bytes::Bytes;
use catchment_partial::Width;
use proptest::prelude::*;

use super::*;
use crate::store::catalog::hourly::tests::walked;
use crate::store::memtable::{live::LiveLimits, row::resolve};
use crate::store::testing::{Content, Model, batch, entries, entry, epoch, window};

/// Applies a live batch as a whole.
fn apply_live(state: &mut StoreState, checked: &CheckedBatch, total: usize, room: bool) {
    state.apply_live(checked, 0..checked.batch().entries.len(), LiveLimits::of(total), room);
}

fn checked(epoch: &GatewayEpoch, batch: &Batch) -> CheckedBatch {
    CheckedBatch::new(JournalEntry::new(epoch, batch.clone())).unwrap()
}

fn content(state: &StoreState) -> Content {
    let mut content = Content::new();
    for (id, series) in state.catalog.series.iter() {
        let gateway = state.catalog.gateways[series.gateway as usize].id.clone();
        let mut rows: Vec<RowRef<'_>> = state.memtable.rows(id, Timestamp::MIN, Timestamp::MAX).collect();
        resolve(&mut rows);
        for row in rows {
            let place = (gateway.clone(), series.key.key().clone(), row.name.window());
            content.entry(place).or_default().push(row.body.to_vec());
        }
    }
    content.values_mut().for_each(|bodies| bodies.sort());
    content
}

/// Batches of three epochs, in order.
fn batches() -> impl Strategy<Value = Vec<(GatewayEpoch, Batch)>> {
    let one = (0..3_usize, 0..2_u32, entries());
    proptest::collection::vec(one, 1..20).prop_map(|all| {
        let epochs = [epoch("g1", 1), epoch("g1", 2), epoch("g2", 1)];
        let mut numbers = [[0; 2]; 3];
        let number = |(which, shard, entries): (usize, u32, Vec<_>)| {
            let last: &mut u64 = &mut numbers[which][shard as usize];
            *last += 1;
            (epochs[which].clone(), batch(shard, *last, entries))
        };
        all.into_iter().map(number).collect()
    })
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        (batches, order) in batches().prop_flat_map(|batches| {
            let indices: Vec<usize> = (0..batches.len()).chain(0..batches.len()).collect();
            (Just(batches), Just(indices).prop_shuffle())
        }),
    ) {
        let (mut model, mut state) = (Model::default(), StoreState::default());
        for (epoch, batch) in &batches {
            model.put(epoch, batch);
        }
        for index in order {
            let (epoch, batch) = &batches[index];
            state.apply(&checked(epoch, batch));
        }
        prop_assert_eq!(content(&state), model.content());
        for (epoch, batch) in &batches {
            let number = state.catalog.find_epoch(&epoch.gateway, epoch.id).unwrap();
            let of_shard = |(o, b): &&(GatewayEpoch, Batch)| o == epoch && b.shard == batch.shard;
            let highest = batches.iter().filter(of_shard).map(|(_, b)| b.number).max().unwrap();
            prop_assert_eq!(state.catalog.delivered(number, batch.shard), highest);
        }
        let ids: Vec<u32> = state.catalog.series.iter().map(|(id, _)| id).collect();
        let all = |id: &u32| state.memtable.rows(*id, Timestamp::MIN, Timestamp::MAX).count();
        prop_assert_eq!(state.memtable.len(), ids.iter().map(all).sum::<usize>());
        state.memtable.freeze();
        prop_assert_eq!(content(&state), model.content(), "rows that are being flushed are still visible");
        for (epoch, batch) in &batches {
            state.apply(&checked(epoch, batch));
        }
        prop_assert_eq!(content(&state), model.content());
        state.memtable.drop_immutable();
        prop_assert_eq!(content(&state), model.content(), "rows that arrived meanwhile stay");
        for id in ids {
            state.memtable.drop_before(id, Timestamp::MAX);
        }
        prop_assert_eq!((state.memtable.len(), state.memtable.bytes()), (0, 0), "dropped rows are no longer counted");
    }
}

#[test]
fn a_batch_with_a_bad_partial_is_refused_whole() {
    let mut bad = batch(0, 1, vec![entry(0, 1, 1, 1), entry(0, 2, 2, 2)]);
    bad.entries[1].body = Bytes::from_static(b"\xff\xff");
    let refused = CheckedBatch::new(JournalEntry::new(&epoch("g", 1), bad.clone()));
    assert!(matches!(refused, Err(StoreError::Body { entry: 1, .. })), "{refused:?}");
    bad.entries[1].body = vec![1; BODY_BYTES_MAX + 1].into();
    let refused = CheckedBatch::new(JournalEntry::new(&epoch("g", 1), bad));
    assert!(matches!(refused, Err(StoreError::Body { entry: 1, .. })), "{refused:?}");
    let other_shard = CheckedBatch::new(JournalEntry::new(&epoch("g", 1), batch(2, 1, Vec::new())));
    assert!(matches!(other_shard, Err(StoreError::Body { .. })), "two shards only");
}

#[test]
fn a_batch_that_would_not_survive_the_journal_is_refused() {
    let good = batch(0, 1, vec![entry(0, 1, 5, 6)]);
    let try_with = |change: fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        CheckedBatch::new(JournalEntry::new(&epoch("g", 1), batch))
    };
    let checked = try_with(|_| ()).unwrap();
    let bytes = crate::store::wal::entry::encode(checked.entry());
    assert_eq!(crate::store::wal::entry::decode(bytes.into()).as_ref(), Ok(checked.entry()));
    assert!(try_with(|b| b.entries[0].revision = 4).is_err());
    assert!(try_with(|b| b.entries[0].part = u64::MAX).is_err());
    assert!(try_with(|b| b.entries[0].series = 1).is_err());
    assert!(try_with(|b| b.width = Width::MIN).is_err());
    assert!(try_with(|b| b.entries.clear()).is_err());
}

#[test]
fn live_states_of_series_without_room_are_counted_and_durable_batches_are_never_dropped() {
    let mut state = StoreState::default();
    let epoch = epoch("g", 1);
    let all = || vec![entry(0, 1, 1, 1), entry(1, 1, 2, 2), entry(0, 2, 4, 4)];
    apply_live(&mut state, &checked(&epoch, &batch(0, 0, all())), 1 << 20, false);
    assert_eq!((state.catalog.series.len(), state.live.len(), state.counts.series_limit), (0, 0, 3));
    state.apply(&checked(&epoch, &batch(0, 1, all())));
    assert_eq!((state.catalog.series.len(), state.memtable.len(), state.counts.series_limit), (2, 3, 3));
    let usage = state.catalog.usage(&epoch.gateway).unwrap();
    assert_eq!((usage.series, usage.forgotten), (2, 0));
}

#[test]
fn names_that_a_data_folder_still_holds_are_counted_when_its_series_are_removed() {
    let mut state = StoreState::default();
    let two = || vec![entry(0, 1, 1, 1), entry(1, 1, 2, 2)];
    state.apply(&checked(&epoch("g", 1), &batch(0, 1, two())));
    // The folder is lost, and the new one has one of the names again.
    state.apply(&checked(&epoch("g", 2), &batch(0, 1, vec![entry(1, 2, 1, 1)])));
    let seen = |state: &StoreState| {
        let usage = state.catalog.usage(&epoch("g", 1).gateway).unwrap();
        (usage.series, usage.forgotten)
    };
    assert_eq!(seen(&state), (2, 0));
    state.catalog.remove_series(0);
    assert_eq!(seen(&state), (1, 0), "only the lost folder had that name");
    state.catalog.remove_series(1);
    assert_eq!(seen(&state), (0, 1));
    state.catalog.intern_epoch(&epoch("g", 3));
    assert_eq!(seen(&state), (0, 0), "another folder has none of them");
}

#[test]
fn the_predecessor_of_a_batch_shows_what_is_missing() {
    let mut state = StoreState::default();
    let epoch = epoch("g", 1);
    let mut second = checked(&epoch, &batch(0, 7, vec![entry(0, 1, 1, 1)]));
    second.set_follows(4, None);
    assert_eq!(state.apply(&second), 4, "batches 1 to 4 were accepted and are missing");
    assert_eq!(state.counts.gaps, 2, "5 and 6 were never delivered");
    assert_eq!(state.apply(&second), 0);
}

#[test]
fn live_rows_are_replaced_superseded_and_bounded() {
    let mut state = StoreState::default();
    let epoch = epoch("g", 1);
    let live = |revision| checked(&epoch, &batch(0, 0, vec![entry(0, 1, 1, revision)]));
    let seen = |state: &StoreState| {
        let mut scan = None;
        assert!(state.scan(0, (Timestamp::MIN, Timestamp::MAX), &mut scan));
        let mut rows = scan.map(|scan| scan.rows).unwrap();
        rows.resolve();
        rows.name(0).map(|(_, revision)| revision)
    };
    apply_live(&mut state, &live(3), 1 << 20, true);
    apply_live(&mut state, &live(2), 1 << 20, true);
    assert_eq!(seen(&state), Some(3), "an older state does not replace a newer one");
    state.apply(&checked(&epoch, &batch(0, 1, vec![entry(0, 1, 1, 5)])));
    assert_eq!((seen(&state), state.live.len(), state.live.bytes()), (Some(5), 0, 0));
    apply_live(&mut state, &live(4), 1 << 20, true);
    assert_eq!(state.live.len(), 0, "a live state after the final one is late");
    apply_live(&mut state, &live(9), 10, true);
    assert_eq!((state.live.len(), state.counts.live_gateway_limit), (0, 1));
    let number = state.catalog.find_epoch(&epoch.gateway, epoch.id).unwrap();
    assert_eq!(state.catalog.delivered(number, 0), 1, "live batches have no number");
    let known = state.catalog.series.get(0).unwrap();
    assert_eq!((known.first, known.last), (window(1).start(), window(1).start()));
    assert_eq!(window(1).width(), Width::from_millis(10_000).unwrap());
}

/// Four gateways fill all of it only together.
#[test]
fn a_gateway_fills_its_part_of_the_memory_of_live_windows() {
    let (mut state, total) = (StoreState::default(), 40_000);
    let many = || live_windows(100);
    for (filled, gateway) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        apply_live(&mut state, &checked(&epoch(gateway, 1), &many()), total, true);
        let held = state.live.bytes();
        match filled {
            0..4 => assert!(held > (filled + 1) * 9_000 && held <= (filled + 1) * 10_000, "{held}"),
            _ => assert!(state.counts.live_limit > 0 && held <= total, "{held}"),
        }
        assert!(state.live.bytes_most() <= total / 4);
    }
    // What it holds can still change.
    let counted = |state: &StoreState| (state.counts.live_gateway_limit, state.counts.live_limit);
    let (before, held) = (counted(&state), state.live.len() as i64);
    let newer = batch(0, 0, (0..held / 4).map(|index| entry(0, index, 1, 2)).collect());
    apply_live(&mut state, &checked(&epoch("a", 1), &newer), total, true);
    assert_eq!((counted(&state), state.live.len() as i64), (before, held));
    assert!(state.counts.live_gateway_limit > 4 * 40);
    // Its room is free again once its windows are final, or its stream has ended.
    let final_of_a = Batch { live: false, number: 1, ..many() };
    state.apply(&checked(&epoch("a", 1), &final_of_a));
    let b = state.catalog.find_epoch(&epoch("b", 1).gateway, 1).unwrap();
    state.drop_live(state.catalog.epoch(b).unwrap().gateway, b);
    let dropped = state.counts.live_limit;
    apply_live(&mut state, &checked(&epoch("b", 1), &many()), total, true);
    assert_eq!(state.counts.live_limit, dropped);
    assert!(state.live.bytes_most() > 9_000);
}

/// Names of an earlier epoch do not keep it.
#[test]
fn live_state_ends_with_the_epoch_that_delivered_it() {
    let (mut state, of_earlier) = (StoreState::default(), Batch { names_epoch: 1, ..live_windows(3) });
    let (earlier, later) = (epoch("g", 1), epoch("g", 2));
    state.apply(&checked(&earlier, &batch(0, 1, vec![entry(0, 900, 1, 1)])));
    apply_live(&mut state, &checked(&later, &of_earlier), 1 << 20, true);
    assert_eq!(state.live.len(), 3);
    state.apply(&checked(&earlier, &batch(0, 2, vec![entry(0, 0, 1, 1)])));
    assert_eq!(state.live.len(), 2, "final, by the epoch of its name");
    let number = state.catalog.find_epoch(&later.gateway, 2).unwrap();
    state.drop_live(0, number);
    assert_eq!((state.live.len(), state.live.bytes(), state.live.bytes_most()), (0, 0, 0));
}

/// A live batch of so many windows.
fn live_windows(windows: i64) -> Batch {
    batch(0, 0, (0..windows).map(|index| entry(0, index, 1, 1)).collect())
}

#[test]
fn late_corrections_of_very_many_hours_are_counted_in_one_walk() {
    let (mut state, epoch, hours) = (StoreState::default(), epoch("g", 1), 3_000);
    let hour = 3_600_000 / i64::from(crate::store::testing::WIDTH_MS);
    // Backwards: each of them would be inserted before all others.
    let entries = (0..hours).rev().map(|number| entry(0, 2 * number * hour, 1, 1)).collect();
    let late = CheckedBatch::new(JournalEntry {
        delivered_to: Some(Timestamp::MAX),
        ..JournalEntry::new(&epoch, batch(0, 1, entries))
    });
    walked();
    state.apply(&late.unwrap());
    assert!(walked() <= 3_000);
    let counts = &state.catalog.gateways[0].hours;
    assert_eq!((counts.within(i64::MIN, i64::MAX).late, counts.spans().len()), (3_000, 1_024));
}

thread_local! {
    static DUE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes the next batch that this thread applies panic.
pub(in crate::store) fn panic_next() {
    DUE.set(true);
}

/// Panics on a test's request, half-way through applying a batch.
pub(super) fn panic_on_demand() {
    assert!(!DUE.take(), "a defect while applying");
}
