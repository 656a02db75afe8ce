//! One schedule: a seed decides the steps, their order and the faults; then all faults are healed, and the results must
//! converge to the truth.

mod steps;

use std::time::Duration;

use catchment_journal::sim::SimDisk;
use catchment_partial::Timestamp;

use steps::{CLOCK, FAULTS, REFILL, Step, WORK, checkpoint_of, flush, power_store, start};

use crate::{
    device::Device,
    gateway::Gateway,
    stats::RunStats,
    world::{Refill, SERIES_ENOUGH, World},
};

/// Steps of a schedule before all faults are healed.
const STEPS_MIN: u64 = 150;
const STEPS_SPREAD: u64 = 600;
/// One schedule in eight is this many times as long, so that journals start new segments and release old ones.
const LONG: u64 = 12;
/// Rounds within which the world must become idle.
const ROUNDS_MAX: usize = 3_000;
/// Time until every window closes: readings are at most 20 s ahead, and a clock that was set is trusted after 60 s.
const AHEAD: Duration = Duration::from_secs(90);

/// Runs the schedule of a seed.
///
/// # Errors
/// A violated invariant, with the step.
pub fn run(seed: u64) -> Result<RunStats, String> {
    let mut world = World::new(seed);
    // Each schedule has its own weights: some steps are rare, some frequent, some faults absent.
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
    if world.refill != Refill::Never {
        steps.extend(REFILL);
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
            return Err(format!("step {number}: the result holds too much: {excess}"));
        }
    }
    make_whole(&mut world)?;
    compare(&mut world)?;
    world.stats.readings = world.truth.acknowledged_count();
    Ok(world.stats)
}

/// Heals all faults and runs until nothing is left to do.
fn make_whole(world: &mut World) -> Result<(), String> {
    // An operator raises the limit on series, so that every series finds room.
    if std::mem::replace(&mut world.series_max, SERIES_ENOUGH) != SERIES_ENOUGH {
        world.stop_aggregator();
    }
    world.upgrade_aggregator();
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
        // Time advances only until every window closes, and then a little for late readings.
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
    Err(format!("the world does not become idle: {}", world.describe()))
}

/// Removes the quota and all scheduled failures.
fn heal(disk: &SimDisk) {
    disk.set_quota(None);
    disk.fail_sync_after(u32::MAX);
    disk.fail_write_after(u32::MAX);
}

/// Checks that, with the state of open windows, every acknowledged reading is visible before its window closes.
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
        } else if world.difference()?.is_none() {
            return Ok(());
        }
    }
    let difference = world.difference()?.unwrap_or_default();
    Err(format!("open windows are not visible: {difference}; {}", world.describe()))
}

/// Checks that results equal the truth, also after a flush and after another power loss.
fn compare(world: &mut World) -> Result<(), String> {
    for time in ["at the end", "after a flush", "after another power loss"] {
        let aggregator = world.aggregator.as_ref().ok_or("the aggregator is gone")?;
        if let Some(difference) = world.difference()? {
            return Err(format!("{time}: {difference}"));
        }
        if time == "at the end" {
            let is_missing = |gateway: &str, from, to| aggregator.is_missing(gateway, from, to);
            // A gateway dates its losses by its clock. What it noticed is forgotten when it and the aggregator go back
            // together.
            if world.clocks_are_right
                && world.stats.store_restores == 0
                && let Some(hidden) = world.truth.hidden(&aggregator.answer()?, is_missing)
            {
                return Err(format!("{hidden}; {}", aggregator.gaps()));
            }
            for (gateway, watermark) in aggregator.watermarks() {
                if watermark.is_none_or(|watermark| watermark.as_nanos() < world.now - 5_000_000_000) {
                    return Err(format!(
                        "{gateway} delivered only up to {watermark:?}, now is {}",
                        world.now
                    ));
                }
            }
            flush(world)?;
        } else if time == "after a flush" {
            power_store(world)?;
            world.start_aggregator()?;
        }
    }
    Ok(())
}
