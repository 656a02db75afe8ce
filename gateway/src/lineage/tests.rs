use std::{path::Path, sync::Arc, time::Duration};

use catchment_journal::{Disk as _, DiskFile as _, RealDisk, read_atomic, sim::SimDisk, write_atomic};
use catchment_partial::Timestamp;
use catchment_proto::wire;

use super::{files::EPOCHS, *};

const FOLDER: &str = "/data";

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

fn disk() -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::new(7));
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    disk
}

fn open(disk: &Arc<SimDisk>, new: bool) -> Lineage<SimDisk> {
    let past = if new { FolderPast::New } else { FolderPast::Started };
    Lineage::open(Arc::clone(disk), Path::new(FOLDER), (7, 1_000), past).unwrap()
}

fn run(disk: &Arc<SimDisk>, new: bool, base: u64, sealed: u64) -> Lineage<SimDisk> {
    let mut lineage = open(disk, new);
    lineage.begin_run(2_000, Some(1_500), &[base], Duration::from_secs(base)).unwrap();
    lineage.seal(&[sealed]).unwrap();
    lineage
}

fn resume(delivered: u64, runs: &[(u64, u64)]) -> wire::Resume {
    let run = |(run, number): &(u64, u64)| wire::RunDelivered {
        run: *run,
        number: *number,
        previous_runs: Vec::new(),
    };
    let runs = wire::ShardRuns { runs: runs.iter().map(run).collect() };
    wire::Resume { delivered: vec![delivered], runs: vec![runs], ..wire::Resume::default() }
}

/// Puts the folder back to a copy of it.
fn put_back(disk: &SimDisk, runs: &[u8]) {
    write_atomic(disk, &Path::new(FOLDER).join(RUNS), runs).unwrap();
}

#[test]
fn a_folder_that_went_back_begins_a_new_epoch_and_keeps_it() {
    let disk = disk();
    let first = run(&disk, true, 1, 1);
    let start = first.start(1);
    assert_eq!((start.epoch, start.previous_runs.len(), start.epoch_created_ms), (7, 0, 1_000));
    let copy = first.runs.encode();
    let second = run(&disk, false, 11, 13);
    assert_eq!(second.start(1).previous_runs, [start.run]);
    put_back(&disk, &copy);

    let mut restored = run(&disk, false, 6, 8);
    let answer = resume(20, &[(start.run, 9), (second.start(1).run, 20)]);
    let delivery_status = DeliveryStatus { resume: &answer, sent: &[0] };
    let fork = restored.detect_fork(&delivery_status, &[Some(3)]).unwrap();
    assert_eq!((fork.cause, fork.affected_from_ms), (Cause::WentBack, Some(1_500)));
    restored.fork(&fork, at(500)).unwrap();
    let numbering = restored.numbering(0);
    assert_eq!((numbering.wire(5), numbering.wire(6), numbering.wire(8)), (1, 2, 4), "number 1 is left out");
    assert_eq!((numbering.names_epoch(7), numbering.names_epoch(8)), (7, 0));
    let begun = restored.start(1);
    assert!(begun.epoch == begun.run && begun.epoch_created_ms == 1_001, "{begun:?}");
    assert!(
        restored.detect_fork(&DeliveryStatus { resume: &resume(0, &[]), sent: &[0] }, &[Some(6)]).is_none()
    );

    let next = run(&disk, false, 9, 10);
    assert_eq!(next.start(1).epoch, begun.epoch, "the epoch is kept");
    assert_eq!(next.numbering(0), numbering);
    assert!(
        next.detect_fork(&DeliveryStatus { resume: &resume(3, &[(begun.run, 3)]), sent: &[0] }, &[Some(9)])
            .is_none()
    );
}

/// It was put away, another one served in its place, and now it is back: what the other one took and did not deliver
/// is missing.
#[test]
fn a_folder_that_comes_back_in_place_of_another_begins_a_new_epoch() {
    let disk = disk();
    let mut lineage = run(&disk, true, 1, 1);
    let own = [(lineage.start(1).run, 7)];
    let answer = |newer_epoch| wire::Resume { newer_epoch, ..resume(7, &own) };
    let fork_of = |lineage: &Lineage<SimDisk>, newer| {
        lineage.detect_fork(&DeliveryStatus { resume: &answer(newer), sent: &[7] }, &[Some(6)])
    };
    assert_eq!(fork_of(&lineage, 0), None);
    assert_eq!(fork_of(&lineage, 7), None, "its own");
    let fork = fork_of(&lineage, 99).unwrap();
    assert_eq!((fork.cause, fork.shards[0].offset), (Cause::Doubled, 7));
    lineage.fork(&fork, at(3_000)).unwrap();
    let own = wire::Resume { newer_epoch: fork.epochs.1, ..resume(0, &[]) };
    let delivery_status = DeliveryStatus { resume: &own, sent: &[7] };
    assert_eq!(lineage.detect_fork(&delivery_status, &[None]), None, "it began that itself");
}

/// The other line may have been started with bounds that are no longer configured.
#[test]
fn what_may_be_missing_reaches_as_far_as_any_run_could() {
    let disk = disk();
    run(&disk, true, 60, 60);
    let mut lineage = run(&disk, false, 61, 61);
    lineage.begin_run(2_000, None, &[61], Duration::from_secs(1)).unwrap();
    let answer = resume(70, &[(9, 70)]);
    let fork = lineage.detect_fork(&DeliveryStatus { resume: &answer, sent: &[0] }, &[None]).unwrap();
    lineage.fork(&fork, at(3_000)).unwrap();
    assert_eq!(lineage.epochs.present().left_out_to, Some(at(64_000)));
    let kept = Runs::decode(&lineage.runs.encode()).unwrap();
    assert_eq!(kept.open_max(), Duration::from_secs(61));
}

#[test]
fn what_was_released_has_no_number_in_a_new_epoch() {
    let disk = disk();
    let lineage = run(&disk, true, 1, 1);
    let answer = resume(20, &[(99, 20)]);
    let offset = |held, sent| {
        let delivery_status = DeliveryStatus { resume: &answer, sent: &[sent] };
        lineage.detect_fork(&delivery_status, &[held]).unwrap().shards[0].offset
    };
    assert_eq!(offset(Some(5), 8), 4, "from the first that is still there");
    assert_eq!(offset(None, 8), 8, "from the next that is made");
    assert_eq!(offset(None, 0), 0);
}

#[test]
fn a_damaged_list_of_runs_is_set_aside_and_proves_nothing() {
    let disk = disk();
    run(&disk, true, 1, 1);
    let path = Path::new(FOLDER).join(RUNS);
    disk.open(&path).unwrap().write_all_at(&[0xff], 22).unwrap();
    let lineage = run(&disk, false, 10, 10);
    assert!(disk.len(&Path::new(FOLDER).join("runs.bad")).unwrap().is_some());
    let fork_of = |delivered: u64| {
        let answer = resume(delivered, &[(5, delivered)]);
        lineage.detect_fork(&DeliveryStatus { resume: &answer, sent: &[0] }, &[None]).is_some()
    };
    assert!(!fork_of(9), "a run from before may have delivered it");
    assert!(fork_of(10), "no run before this one made it");
}

#[test]
fn without_its_epochs_a_folder_is_refused() {
    let disk = disk();
    let mut lineage = run(&disk, true, 1, 1);
    let answer = resume(5, &[(9, 5)]);
    let fork = lineage.detect_fork(&DeliveryStatus { resume: &answer, sent: &[0] }, &[None]).unwrap();
    lineage.fork(&fork, at(3_000)).unwrap();
    disk.open(&Path::new(FOLDER).join(EPOCHS)).unwrap().write_all_at(&[0xff], 22).unwrap();
    let refused =
        Lineage::open(disk, Path::new(FOLDER), (7, 1_000), FolderPast::Started).unwrap_err().to_string();
    assert!(refused.contains("/data/epochs is damaged") && refused.contains("restore it"), "{refused}");
}

#[test]
fn a_check_finds_what_a_start_would_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(EPOCHS);
    assert!(check(folder.path(), 7).is_ok());
    write_atomic(&RealDisk, &path, &Epochs::first(7, 0).encode()).unwrap();
    assert!(check(folder.path(), 7).is_ok());
    let refused = check(folder.path(), 8).unwrap_err().to_string();
    assert!(refused.contains("belongs to another folder"), "{refused}");
    std::fs::write(&path, b"cut").unwrap();
    assert!(matches!(check(folder.path(), 7), Err(LineageError::Epochs(_))));
}

#[test]
fn every_file_is_written_before_it_counts() {
    let disk = disk();
    let mut lineage = run(&disk, true, 1, 1);
    let answer = resume(5, &[(9, 5)]);
    let fork = lineage.detect_fork(&DeliveryStatus { resume: &answer, sent: &[0] }, &[None]).unwrap();
    disk.fail_write_after(0);
    assert!(lineage.fork(&fork, at(3_000)).is_err());
    assert_eq!(lineage.start(1).epoch, 7, "an epoch that is not durable is not used");
}

/// Of what ran before nothing is known, so a higher number proves only what no run since can have made.
#[test]
fn a_list_of_runs_that_is_gone_or_anothers_is_counted_and_proves_nothing() {
    let disk = disk();
    let first = run(&disk, true, 1, 1);
    assert_eq!(first.lost(), 0);
    let path = Path::new(FOLDER).join(RUNS);
    let read = || read_atomic(&*disk, &path).unwrap().unwrap();
    let own = read();
    disk.remove(&path).unwrap();
    assert_eq!(first.write_missing().unwrap(), [RUNS]);
    assert_eq!((read(), first.write_missing().unwrap().len()), (own, 0));
    disk.remove(&path).unwrap();
    let gone = open(&disk, false);
    assert_eq!((gone.lost(), gone.runs.is_complete()), (1, false));
    let mut other = Runs::none(99, true);
    other.begin(Run {
        id: 5,
        started_ms: 0,
        watermark_ms: None,
        open_max: Duration::ZERO,
        shards: Vec::new(),
    });
    put_back(&disk, &other.encode());
    let lineage = run(&disk, false, 10, 10);
    assert_eq!((lineage.lost(), lineage.start(1).previous_runs.len()), (1, 0));
    assert!(disk.len(&Path::new(FOLDER).join("runs.bad")).unwrap().is_some());
}

#[test]
fn epochs_of_another_folder_are_refused_and_missing_ones_counted() {
    let disk = disk();
    let mut lineage = run(&disk, true, 1, 1);
    let answer = resume(5, &[(9, 5)]);
    let fork = lineage.detect_fork(&DeliveryStatus { resume: &answer, sent: &[0] }, &[None]).unwrap();
    lineage.fork(&fork, at(3_000)).unwrap();
    let path = Path::new(FOLDER).join(EPOCHS);
    disk.remove(&path).unwrap();
    assert_eq!(lineage.write_missing().unwrap(), [EPOCHS]);
    assert_eq!(run(&disk, false, 6, 6).lost(), 0);
    disk.remove(&path).unwrap();
    let gone = open(&disk, false);
    assert_eq!((gone.lost(), gone.start(1).epoch), (1, 7));
    write_atomic(&*disk, &path, &Epochs::first(99, 0).encode()).unwrap();
    let refused = Lineage::open(disk, Path::new(FOLDER), (7, 1_000), FolderPast::Started).unwrap_err();
    assert!(matches!(refused, LineageError::Epochs(_)), "{refused}");
}
