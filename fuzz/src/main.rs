//! The program that `cargo xtask fuzz TARGET` runs.

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use catchment_fuzz::{
    corpus,
    run::{StallWatch, Until, run},
    targets::{TARGETS, Target},
};
use clap::Parser;

/// Fuzz a decoder with mutated inputs. An input that breaks it is minimized and saved in fuzz/corpus/TARGET
#[derive(Debug, Parser)]
#[command(name = "catchment-fuzz")]
struct Arguments {
    /// Target, or `all` for all targets in sequence
    target: String,
    /// Seconds per target
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seed of the inputs [default: random, printed]
    #[arg(long)]
    seed: Option<u64>,
}

fn fuzz(target: &'static Target, seconds: u64, seed: u64) -> anyhow::Result<bool> {
    let begin = Instant::now();
    let watch = StallWatch::start(target);
    let report = run(target, &watch, seed, Until::Time(begin + Duration::from_secs(seconds)))?;
    let rate = report.inputs as f64 / begin.elapsed().as_secs_f64();
    writeln!(
        stdout(),
        "{:14} {:9} inputs, {rate:6.0} a second, {:5} kept; memory at most {} KiB, {:.1} bytes a byte above {} KiB",
        target.name,
        report.inputs,
        report.kept,
        report.bytes_max >> 10,
        report.bytes_per_input_byte,
        target.fixed_bytes >> 10,
    )?;
    let Some((name, input, failure)) = report.failure else { return Ok(true) };
    let kept = corpus::keep(target, "found", &input)?;
    writeln!(stdout(), "{}: {name}: {failure:?}\n  kept as {}", target.name, kept.display())?;
    Ok(false)
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { target, seconds, seed } = Arguments::parse();
    let chosen: Vec<_> = TARGETS.iter().filter(|known| target == "all" || target == known.name).collect();
    let names = || TARGETS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
    chosen.first().with_context(|| format!("no target {target:?}: use all, {}", names()))?;
    let seed = seed.unwrap_or_else(rand::random);
    writeln!(stdout(), "seed {seed}")?;
    let mut fine = true;
    for target in chosen {
        fine &= fuzz(target, seconds, seed)?;
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
