//! One schedule: a seed decides which steps happen in which order and which faults; then everything is made whole,
//! and the answers must come to equal the truth.

use std::time::Duration;

use catchment_journal::sim::SimDisk;
use catchment_partial::Timestamp;

use crate::{
    device::Device,
    gateway::Gateway,
    world::{Tally, World},
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

/// A step, and how often it happens beside the others.
type Step = (fn(&mut World) -> Result<(), String>, u64);

/// What goes on in a world without faults.
const WORK: [Step; 16] = [
    (take, 60),
    (send, 90),
    (receive, 50),
    (read, 90),
    (answer, 50),
    (commit_journal, 50),
    (commit_outbox, 30),
    (advance, 40),
    (tick, 30),
    (checkpoint, 25),
    (feed, 50),
    (live, 8),
    (acknowledge, 40),
    (serve, 90),
    (commit_store, 40),
    (pack, 12),
];

/// What goes wrong.
const FAULTS: [Step; 12] = [
    (start, 60),
    (cut_device, 12),
    (reboot, 2),
    (cut_stream, 8),
    (kill_gateway, 8),
    (power_gateway, 8),
    (disk_gateway, 4),
    (quota_gateway, 3),
    (kill_store, 6),
    (power_store, 6),
    (disk_store, 4),
    (quota_store, 3),
];

/// The clock of a gateway is set.
const CLOCK: [Step; 1] = [(set_clock, 6)];

/// Runs the schedule of a seed.
///
/// # Errors
/// What went wrong, with the step.
pub fn run(seed: u64) -> Result<Tally, String> {
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
    world.tally.readings = world.truth.sure_count();
    Ok(world.tally)
}

/// No more faults, until nothing is left to do.
fn make_whole(world: &mut World) -> Result<(), String> {
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
            world.feed(site, false).map_err(failed)?;
            world.acknowledge(site);
        }
        for device in 0..world.devices.len() {
            world.send(device);
            world.read(device).map_err(|why| format!("round {round}: {why}"))?;
            world.answer(device);
            world.receive(device);
        }
        for _ in 0..3 {
            world.serve();
        }
        world.drive_aggregator(|aggregator| aggregator.commit());
        if world.aggregator.as_ref().is_some_and(|aggregator| aggregator.pack_is_due()) {
            pack(world)?;
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
            world.feed(site, false)?;
            world.feed(site, true)?;
            world.acknowledge(site);
            world.serve();
            world.serve();
        }
        world.drive_aggregator(|aggregator| aggregator.commit());
        let Some(aggregator) = &world.aggregator else { return Ok(()) };
        if aggregator.pack_is_due() {
            pack(world)?;
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
            for (gateway, watermark) in aggregator.watermarks() {
                if watermark.is_none_or(|watermark| watermark.as_nanos() < world.now - 5_000_000_000) {
                    return Err(format!("{gateway} delivered up to {watermark:?}, it is {}", world.now));
                }
            }
            pack(world)?;
        } else if time == "after a pack" {
            power_store(world)?;
            world.start_aggregator()?;
        }
    }
    Ok(())
}

fn device(world: &mut World) -> usize {
    world.random.index(world.devices.len())
}

fn site(world: &mut World) -> usize {
    world.random.index(world.sites.len())
}

fn take(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.take(device);
    Ok(())
}

fn send(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.send(device);
    Ok(())
}

fn receive(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.receive(device);
    Ok(())
}

fn read(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.read(device)
}

fn answer(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.answer(device);
    Ok(())
}

fn advance(world: &mut World) -> Result<(), String> {
    let millis = if world.random.chance(20) { 5_000 } else { 1 + world.random.below(300) };
    world.advance(Duration::from_millis(millis));
    Ok(())
}

fn commit_journal(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.drive(site, Gateway::commit_journal)
}

fn commit_outbox(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.drive(site, Gateway::commit_outbox)
}

fn tick(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.drive(site, Gateway::tick)
}

fn checkpoint(world: &mut World) -> Result<(), String> {
    let site = site(world);
    checkpoint_of(world, site)
}

fn checkpoint_of(world: &mut World, site: usize) -> Result<(), String> {
    let mut written = false;
    world.drive(site, |gateway| {
        written = gateway.checkpoint();
        Ok(())
    })?;
    world.tally.upkeep += u64::from(written);
    Ok(())
}

fn feed(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.feed(site, false)
}

fn live(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.feed(site, true)
}

fn acknowledge(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.acknowledge(site);
    Ok(())
}

fn serve(world: &mut World) -> Result<(), String> {
    world.serve();
    Ok(())
}

fn commit_store(world: &mut World) -> Result<(), String> {
    world.drive_aggregator(|aggregator| aggregator.commit());
    Ok(())
}

fn pack(world: &mut World) -> Result<(), String> {
    world.tally.upkeep += u64::from(world.aggregator.is_some());
    world.drive_aggregator(|aggregator| aggregator.pack());
    Ok(())
}

/// Everything that is down starts.
fn start(world: &mut World) -> Result<(), String> {
    for site in 0..world.sites.len() {
        world.start_gateway(site)?;
    }
    world.start_aggregator()
}

fn cut_device(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.cut_device(device, false);
    Ok(())
}

fn reboot(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.cut_device(device, true);
    Ok(())
}

fn cut_stream(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.cut_stream(site);
    Ok(())
}

fn kill_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.tally.kills += 1;
    world.stop_gateway(site);
    Ok(())
}

fn power_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.tally.power_losses += 1;
    world.stop_gateway(site);
    world.sites[site].disk.crash();
    Ok(())
}

/// One of the next syncs or writes fails, half done.
fn disk_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    let after = u32::try_from(world.random.below(4)).unwrap_or(0);
    let sync = world.random.chance(500);
    world.tally.disk_failures += 1;
    let site = &mut world.sites[site];
    site.disturbed = true;
    if sync {
        site.disk.fail_sync_after(after)
    } else {
        site.disk.fail_write_after(after)
    }
    Ok(())
}

/// The disk becomes full, or has space again.
fn quota_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    let quota = quota(world.sites[site].disk.files().iter().map(|(_, length)| *length).sum(), 1 << 20, world);
    let site = &mut world.sites[site];
    site.disturbed = true;
    site.disk.set_quota(quota);
    Ok(())
}

fn quota(used: u64, kept_free: u64, world: &mut World) -> Option<u64> {
    world.random.chance(600).then(|| {
        world.tally.full_disks += 1;
        used + kept_free + world.random.below(64 << 10)
    })
}

fn kill_store(world: &mut World) -> Result<(), String> {
    world.tally.kills += 1;
    world.stop_aggregator();
    Ok(())
}

fn power_store(world: &mut World) -> Result<(), String> {
    world.tally.power_losses += 1;
    world.stop_aggregator();
    world.disk.crash();
    world.tree.crash();
    Ok(())
}

/// One of the next syncs, writes or changes of the packs fails.
fn disk_store(world: &mut World) -> Result<(), String> {
    world.tally.disk_failures += 1;
    world.disturbed = true;
    let after = world.random.below(4);
    let few = u32::try_from(after).unwrap_or(0);
    match world.random.below(3) {
        0 => world.disk.fail_sync_after(few),
        1 => world.disk.fail_write_after(few),
        _ => world.tree.fail_commit_after(after, world.random.chance(500)),
    }
    Ok(())
}

fn quota_store(world: &mut World) -> Result<(), String> {
    let used = world.disk.files().iter().map(|(_, length)| *length).sum();
    let quota = quota(used, 96 << 10, world);
    world.disturbed = true;
    world.disk.set_quota(quota);
    Ok(())
}

/// Somebody sets a gateway's clock: an hour ahead, an hour back, or right.
fn set_clock(world: &mut World) -> Result<(), String> {
    let site = site(world);
    let by = [0, 3_600_000_000_000, -3_600_000_000_000, world.random.between(-5_000, 5_000) * 1_000_000];
    let wall = world.now + by[world.random.index(by.len())];
    world.sites[site].clock.set(Timestamp::from_nanos(wall));
    Ok(())
}
