//! One schedule: a seed decides which steps happen in which order and which faults; then everything is made whole,
//! and the answers must come to equal the truth.

mod steps;

use std::time::Duration;

use catchment_journal::sim::SimDisk;
use catchment_partial::Timestamp;

use steps::{CLOCK, FAULTS, Step, WORK, checkpoint_of, flush, power_store, start};

use crate::{
    device::Device,
    gateway::Gateway,
    stats::RunStats,
    world::{SERIES_ENOUGH, World},
};

/// Steps of a schedule before everything is made whole.
const STEPS_MIN: u64 = 150;
const STEPS_SPREAD: u64 = 600;
/// So many times as long is one schedule of eight: journals then begin new segments and release old ones.
const LONG: u64 = 12;
/// Rounds in which everything must come to rest.
const ROUNDS_MAX: usize = 3_000;
/// How long everything takes to close: devices take readings of at most 20 s ahead, and a clock that was set is
/// believed after 60 s.
const AHEAD: Duration = Duration::from_secs(90);

/// Runs the schedule of a seed.
///
/// # Errors
/// What went wrong, with the step.
pub fn run(seed: u64) -> Result<RunStats, String> {
    let mut world = World::new(seed);
    // Each schedule has its own mood: some steps are rare in it, some frequent, some faults absent.
    let mut steps: Vec<Step> = Vec::new();
    for (step, weight) in WORK {
        let factor = [1, 2, 2, 4][world.random.index(4)];
        steps.push((step, weight * factor));
    }
    for (step, weight) in FAULTS {
        let factor = [0, 1, 1, 3][world.random.index(4)];
        steps.push((step, weight * factor));
    }
    if world.random.chance(200) {
        steps.extend(CLOCK);
    }
    let total = steps.iter().map(|(_, weight)| weight).sum();
    start(&mut world)?;
    let length = if world.random.chance(125) { LONG } else { 1 };
    for number in 0..length * (STEPS_MIN + world.random.below(STEPS_SPREAD)) {
        let mut at = world.random.below(total);
        let chosen = steps.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        if let Some((step, _)) = chosen {
            step(&mut world).map_err(|why| format!("step {number}: {why}"))?;
        }
        if number % 50 == 0
            && let Some(aggregator) = &world.aggregator
            && let Some(excess) = world.truth.excess(&aggregator.answer()?)
        {
            return Err(format!("step {number}: too much is answered: {excess}"));
        }
    }
    make_whole(&mut world)?;
    compare(&mut world)?;
    world.stats.readings = world.truth.acknowledged_count();
    Ok(world.stats)
}

/// No more faults, until nothing is left to do.
fn make_whole(world: &mut World) -> Result<(), String> {
    // An operator raises the bound of series, so that everything finds its place.
    if std::mem::replace(&mut world.series_max, SERIES_ENOUGH) != SERIES_ENOUGH {
        world.stop_aggregator();
    }
    heal(&world.disk);
    world.tree.fail_commit_after(u64::MAX, false);
    let ahead = i64::try_from(AHEAD.as_nanos()).unwrap_or(i64::MAX);
    let (now, mut until, mut seen) = (world.now, world.now, false);
    for site in &world.sites {
        heal(&site.disk);
        site.clock.set(Timestamp::from_nanos(now));
    }
    for round in 0..ROUNDS_MAX {
        start(world)?;
        for site in 0..world.sites.len() {
            let failed = |why: String| format!("round {round}: {why}");
            world.drive(site, Gateway::commit_journal).map_err(failed)?;
            world.drive(site, Gateway::tick).map_err(failed)?;
            world.drive(site, Gateway::commit_outbox).map_err(failed)?;
            checkpoint_of(world, site)?;
            world.deliver(site, false).map_err(failed)?;
            world.acknowledge(site)?;
        }
        for device in 0..world.devices.len() {
            world.send(device);
            world.read(device).map_err(|why| format!("round {round}: {why}"))?;
            world.answer(device)?;
            world.receive(device);
        }
        for _ in 0..3 {
            world.serve();
        }
        world.drive_aggregator(|aggregator| aggregator.commit());
        if world.aggregator.as_ref().is_some_and(|aggregator| aggregator.flush_is_due()) {
            flush(world)?;
        }
        // Time goes on only so far that everything closes, and then a little, for what gathers.
        if world.now < until + ahead {
            world.advance(Duration::from_millis(250));
        }
        let done = world.devices.iter().all(Device::is_done);
        if done && !seen {
            seen = true;
            see_live(world)?;
        }
        if !done {
            until = world.now;
        } else if world.now >= until + ahead
            && world.sites.iter().all(|site| site.process.as_ref().is_some_and(Gateway::is_done))
        {
            return Ok(());
        }
    }
    Err(format!("it does not come to rest: {}", world.describe()))
}

/// Space without bound, and failures that were to come never come.
fn heal(disk: &SimDisk) {
    disk.set_quota(None);
    disk.fail_sync_after(u32::MAX);
    disk.fail_write_after(u32::MAX);
}

/// With the state of open windows everything that is acknowledged is seen before it closes.
fn see_live(world: &mut World) -> Result<(), String> {
    for _ in 0..400 {
        for site in 0..world.sites.len() {
            world.drive(site, Gateway::commit_journal)?;
            world.drive(site, Gateway::commit_outbox)?;
            world.deliver(site, false)?;
            world.deliver(site, true)?;
            world.acknowledge(site)?;
            world.serve();
            world.serve();
        }
        world.drive_aggregator(|aggregator| aggregator.commit());
        let Some(aggregator) = &world.aggregator else { return Ok(()) };
        if aggregator.flush_is_due() {
            flush(world)?;
        } else if world.truth.difference(&aggregator.answer()?).is_none() {
            return Ok(());
        }
    }
    let aggregator = world.aggregator.as_ref().ok_or("the aggregator is gone")?;
    let difference = world.truth.difference(&aggregator.answer()?).unwrap_or_default();
    Err(format!("open windows are not seen: {difference}; {}", world.describe()))
}

/// The answers equal the truth, also after a pack and after another loss of power.
fn compare(world: &mut World) -> Result<(), String> {
    for time in ["at the end", "after a pack", "after another loss of power"] {
        let aggregator = world.aggregator.as_ref().ok_or("the aggregator is gone")?;
        if let Some(difference) = world.truth.difference(&aggregator.answer()?) {
            return Err(format!("{time}: {difference}"));
        }
        if time == "at the end" {
            let is_missing = |gateway: &str, from, to| aggregator.is_missing(gateway, from, to);
            // How far what is lost reaches, a gateway tells by its clock.
            if world.clocks_are_right
                && let Some(hidden) = world.truth.hidden(&aggregator.answer()?, is_missing)
            {
                return Err(format!("{hidden}; {}", aggregator.gaps()));
            }
            for (gateway, watermark) in aggregator.watermarks() {
                if watermark.is_none_or(|watermark| watermark.as_nanos() < world.now - 5_000_000_000) {
                    return Err(format!("{gateway} delivered up to {watermark:?}, it is {}", world.now));
                }
            }
            flush(world)?;
        } else if time == "after a pack" {
            power_store(world)?;
            world.start_aggregator()?;
        }
    }
    Ok(())
}
