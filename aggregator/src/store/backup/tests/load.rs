//! Backups while batches arrive.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::*;
use catchment_proto::Batch;

/// The batch of a number: windows of some days, revisions that replace earlier ones.
fn batch_of(shard: u32, number: u64) -> Batch {
    let at = |i: u64| (number / 7 * 3 + i * 97) as i64 % 40_000;
    let entries = (0..40).map(|i| entry((i % 3) as u32, at(i), 1 + number % 5, 1 + number));
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|entry| (entry.series, entry.window.start(), entry.part));
    entries.dedup_by_key(|entry| (entry.series, entry.window.start(), entry.part));
    batch(shard, number, entries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_all_batches_up_to_its_numbers_and_no_other() {
    let rig = Rig::new();
    let (stop, acknowledged) =
        (Arc::new(AtomicBool::new(false)), [0, 0].map(|n| Arc::new(AtomicU64::new(n))));
    let mut writers = Vec::new();
    for (shard, acknowledged) in acknowledged.iter().enumerate() {
        let (store, epoch) = (Arc::clone(&rig.store), rig.epoch.clone());
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(acknowledged));
        writers.push(tokio::spawn(async move {
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                store.put(&epoch, batch_of(shard as u32, number), false).await.unwrap();
                acknowledged.store(number, Ordering::Relaxed);
                // The comparison reads every batch again.
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
        }));
    }
    for round in 1..4_u64 {
        while acknowledged.iter().any(|n| n.load(Ordering::Relaxed) < round * 20) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let before: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        let (store, dir) = (Arc::clone(&rig.store), rig.dir());
        let copied = tokio::task::spawn_blocking(move || {
            let mut snapshot = store.snapshot(0, &mut || {}).unwrap();
            while compactor::compact_once(&store.inner, false, &|| false).unwrap() {}
            copy(&mut *snapshot, Target::open(&dir).unwrap(), &mut || true).map(drop)
        });
        copied.await.unwrap().unwrap();
        let (_folder, store) = restored(&rig);
        let delivered = store.delivered(&rig.epoch);
        assert!(
            before.iter().zip(&delivered).all(|(before, there)| before <= there),
            "{before:?} {delivered:?}"
        );
        let mut model = Model::default();
        for (shard, last) in delivered.iter().enumerate() {
            (1..=*last).for_each(|number| model.put(&rig.epoch, &batch_of(shard as u32, number)));
        }
        assert_eq!(content(&*store), model.content());
        assert_merged_alike(&*store);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}
