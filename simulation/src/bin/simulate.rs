//! Runs schedules of the simulation: `simulate [--schedules N] [--seed FIRST]`. Prints the seed of a failed schedule.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a tool of the project itself

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use catchment_simulation::{RunStats, run};

fn arguments() -> Result<(u64, u64), String> {
    let (mut schedules, mut seed) = (10_000, 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = value.parse().map_err(|_| format!("{name}: {value:?} is not a number"))?;
        match name.as_str() {
            "--schedules" => schedules = number,
            "--seed" => seed = number,
            _ => return Err(format!("unknown option {name}: use --schedules N, --seed FIRST")),
        }
    }
    Ok((schedules, seed))
}

fn main() -> ExitCode {
    let (schedules, first) = match arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("simulate: {why}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failed = AtomicBool::new(false);
    let tallies: Vec<RunStats> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let failed = &failed;
            scope.spawn(move || {
                let mut sum = RunStats::default();
                for seed in (first + thread..first.saturating_add(schedules)).step_by(threads) {
                    match run(seed) {
                        Ok(stats) => sum.add(&stats),
                        Err(why) => {
                            eprintln!("seed {seed}: {why}");
                            failed.store(true, Ordering::Relaxed);
                        }
                    }
                    if failed.load(Ordering::Relaxed) {
                        break;
                    }
                }
                sum
            })
        };
        let running: Vec<_> = (0..threads as u64).map(work).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    if failed.load(Ordering::Relaxed) || tallies.len() < threads {
        return ExitCode::FAILURE;
    }
    let mut sum = RunStats::default();
    tallies.iter().for_each(|stats| sum.add(stats));
    println!(
        "{schedules} schedules from seed {first}, all equal, {:.1} s: {sum}",
        started.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
