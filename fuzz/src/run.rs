//! The fuzzing loop: mutate, probe, keep new behaviour; minimize failures and save them in the corpus.
//!
//! A watchdog thread ends the process when one input takes longer than [`STALL`]; it saves the input in the corpus
//! first. The time of an input is not judged otherwise, because machines are busy.

use std::{
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    corpus,
    mutate::mutate,
    probe::{Failure, probe},
    targets::Target,
};

/// Time limit of one input. A decoder needs far less than a millisecond for inputs of this length.
pub const STALL: Duration = Duration::from_secs(20);
/// Most inputs kept for their new behaviour; beyond, a new one replaces a random one.
const POOL_MAX: usize = 4_096;
/// Most attempts to minimize a failing input.
const SHRINKS_MAX: usize = 20_000;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this many inputs.
    Inputs(u64),
    /// At this time.
    Time(Instant),
}

/// Report of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Inputs run, seeds included.
    pub inputs: u64,
    /// Inputs kept for their new behaviour.
    pub kept: usize,
    /// Most memory above the bound's fixed part, in bytes per byte of input.
    pub bytes_per_input_byte: f64,
    /// Most memory of an input.
    pub bytes_max: usize,
    /// The first failure: its name, the minimized input, and the cause.
    pub failure: Option<(String, Vec<u8>, Failure)>,
}

/// The running input and its start time.
type Current = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// Watchdog for inputs that take too long.
#[derive(Debug)]
pub struct StallWatch(Current);

impl StallWatch {
    /// Starts to watch a target.
    pub fn start(target: &'static Target) -> Self {
        let current: Current = Arc::default();
        let watched = Arc::downgrade(&current);
        thread::spawn(move || {
            while let Some(current) = watched.upgrade() {
                let late = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((since, input)) = late
                    && since.elapsed() > STALL
                {
                    let kept = corpus::keep(target, "stall", &input);
                    eprintln!("{}: an input took longer than {STALL:?}: {kept:?}", target.name);
                    process::exit(1);
                }
                drop(current);
                thread::park_timeout(STALL / 20);
            }
        });
        Self(current)
    }

    fn set(&self, current: Option<(Instant, Vec<u8>)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

struct Run<'a> {
    target: &'static Target,
    watch: &'a StallWatch,
    seen: std::collections::HashSet<u64>,
    pool: Vec<Vec<u8>>,
    report: Report,
}

impl Run<'_> {
    /// Runs an input; returns whether it failed.
    fn one(&mut self, name: &str, input: Vec<u8>, random: &mut SmallRng) -> bool {
        self.watch.set(Some((Instant::now(), input.clone())));
        let outcome = probe(self.target, &input);
        self.watch.set(None);
        self.report.inputs += 1;
        match outcome {
            Ok(outcome) => {
                self.report.bytes_max = self.report.bytes_max.max(outcome.used);
                let above = outcome.used.saturating_sub(self.target.fixed_bytes) as f64;
                self.report.bytes_per_input_byte =
                    self.report.bytes_per_input_byte.max(above / input.len().max(1) as f64);
                if self.seen.insert(outcome.signature) {
                    self.report.kept += 1;
                    if self.pool.len() < POOL_MAX {
                        self.pool.push(input);
                    } else {
                        let at = random.random_range(0..self.pool.len());
                        self.pool[at] = input;
                    }
                }
                false
            }
            Err(failure) => {
                let (input, failure) = self.shrink(input, failure);
                self.report.failure = Some((name.to_owned(), input, failure));
                true
            }
        }
    }

    /// A shorter input that fails in the same way.
    fn shrink(&self, mut input: Vec<u8>, mut failure: Failure) -> (Vec<u8>, Failure) {
        let alike = |a: &Failure, b: &Failure| std::mem::discriminant(a) == std::mem::discriminant(b);
        let (mut size, mut tried) = (input.len() / 2, 0);
        while size > 0 {
            let mut at = 0;
            while at < input.len() && tried < SHRINKS_MAX {
                tried += 1;
                let mut shorter = input.clone();
                shorter.drain(at..input.len().min(at + size));
                match probe(self.target, &shorter) {
                    Err(found) if alike(&found, &failure) => (input, failure) = (shorter, found),
                    _ => at += size,
                }
            }
            size /= 2;
        }
        (input, failure)
    }
}

/// Runs all seeds, then mutations of them until the limit is reached or one fails.
///
/// # Errors
/// The corpus cannot be read.
pub fn run(target: &'static Target, watch: &StallWatch, seed: u64, until: Until) -> anyhow::Result<Report> {
    let mut random = SmallRng::seed_from_u64(seed);
    let seeds = corpus::seeds(target)?;
    let mut run =
        Run { target, watch, seen: Default::default(), pool: Vec::new(), report: Report::default() };
    for (name, input) in &seeds {
        if run.one(name, input.clone(), &mut random) {
            return Ok(run.report);
        }
    }
    run.pool.extend(seeds.into_iter().map(|(_, input)| input).filter(|input| !input.is_empty()));
    if run.pool.is_empty() {
        run.pool.push(b"\0".to_vec());
    }
    let ended = |inputs: u64| match until {
        Until::Inputs(most) => inputs >= most,
        Until::Time(end) => Instant::now() >= end,
    };
    while !ended(run.report.inputs) {
        let [one, other] = [(); 2].map(|()| random.random_range(0..run.pool.len()));
        let input = mutate(&mut random, &run.pool[one], &run.pool[other], target.tokens);
        if run.one("a mutation", input, &mut random) {
            break;
        }
    }
    Ok(run.report)
}
