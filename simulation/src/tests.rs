//! Many schedules, and those that failed before.

/// Schedules per test run.
const SCHEDULES: u64 = 3_000;

/// Seeds that found a defect, each with its description.
const PINNED: [u64; 0] = [];

#[test]
fn every_schedule_ends_in_the_truth() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = |thread| {
            scope.spawn(move || {
                let seeds = (thread..SCHEDULES).step_by(threads as usize);
                seeds
                    .filter_map(|seed| super::run(seed).err().map(|why| format!("seed {seed}: {why}")))
                    .next()
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_seed_always_gives_the_same_history() {
    for seed in 0..20 {
        assert_eq!(super::run(seed), super::run(seed));
    }
}

#[test]
fn schedules_that_failed_before_end_in_the_truth() {
    for seed in PINNED {
        super::run(seed).unwrap();
    }
}
