//! The steps of a schedule, each with its weight; choices within a step come from the world's randomness.

use std::time::Duration;

use catchment_partial::Timestamp;

use crate::{
    gateway::Gateway,
    world::{Refill, World},
};

/// A step and its weight.
pub(super) type Step = (fn(&mut World) -> Result<(), String>, u64);

/// Steps of a world without faults.
pub(super) const WORK: [Step; 16] = [
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
    (deliver, 50),
    (live, 8),
    (acknowledge, 40),
    (serve, 90),
    (commit_store, 40),
    (flush, 12),
];

/// Faults.
pub(super) const FAULTS: [Step; 15] = [
    (start, 60),
    (cut_device, 12),
    (reboot, 2),
    (expire, 2),
    (cut_stream, 8),
    (kill_gateway, 8),
    (power_gateway, 8),
    (disk_gateway, 4),
    (copy_disk, 4),
    (put_disk_back, 3),
    (quota_gateway, 3),
    (kill_store, 6),
    (power_store, 6),
    (disk_store, 4),
    (quota_store, 3),
];

/// The aggregator loses what it acknowledged.
pub(super) const REFILL: [Step; 2] = [(copy_store, 3), (restore_store, 4)];

/// A gateway's clock is set.
pub(super) const CLOCK: [Step; 1] = [(set_clock, 6)];

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
    world.answer(device)
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

pub(super) fn checkpoint_of(world: &mut World, site: usize) -> Result<(), String> {
    let mut written = false;
    world.drive(site, |gateway| {
        written = gateway.checkpoint();
        Ok(())
    })?;
    world.stats.maintenance += u64::from(written);
    Ok(())
}

fn deliver(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.deliver(site, false)
}

fn live(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.deliver(site, true)
}

fn acknowledge(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.acknowledge(site)
}

fn serve(world: &mut World) -> Result<(), String> {
    world.serve();
    Ok(())
}

fn commit_store(world: &mut World) -> Result<(), String> {
    world.drive_aggregator(|aggregator| aggregator.commit());
    Ok(())
}

pub(super) fn flush(world: &mut World) -> Result<(), String> {
    world.stats.maintenance += u64::from(world.aggregator.is_some());
    world.drive_aggregator(|aggregator| aggregator.flush());
    Ok(())
}

/// Starts every server that is down.
pub(super) fn start(world: &mut World) -> Result<(), String> {
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

/// Devices stay away until they are forgotten.
fn expire(world: &mut World) -> Result<(), String> {
    let device = device(world);
    world.expire(device)
}

fn cut_stream(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.cut_stream(site);
    Ok(())
}

fn kill_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.stats.kills += 1;
    world.stop_gateway(site);
    Ok(())
}

fn power_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.stats.power_losses += 1;
    world.stop_gateway(site);
    world.sites[site].disk.crash();
    Ok(())
}

/// One of the next syncs or writes fails, partly done.
fn disk_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    let after = u32::try_from(world.random.below(4)).unwrap_or(0);
    let sync = world.random.chance(500);
    world.stats.disk_failures += 1;
    let site = &mut world.sites[site];
    site.disturbed = true;
    if sync {
        site.disk.fail_sync_after(after)
    } else {
        site.disk.fail_write_after(after)
    }
    Ok(())
}

fn copy_disk(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.copy_disk(site);
    Ok(())
}

fn put_disk_back(world: &mut World) -> Result<(), String> {
    let site = site(world);
    world.put_disk_back(site);
    Ok(())
}

/// The disk fills up, or has space again.
fn quota_gateway(world: &mut World) -> Result<(), String> {
    let site = site(world);
    if world.refill == Refill::Whole {
        // Kept batches would give way.
        return Ok(());
    }
    let quota = quota(world.sites[site].disk.files().iter().map(|(_, length)| *length).sum(), 1 << 20, world);
    let site = &mut world.sites[site];
    site.disturbed = true;
    site.disk.set_quota(quota);
    Ok(())
}

fn quota(used: u64, kept_free: u64, world: &mut World) -> Option<u64> {
    world.random.chance(600).then(|| {
        world.stats.full_disks += 1;
        used + kept_free + world.random.below(64 << 10)
    })
}

fn copy_store(world: &mut World) -> Result<(), String> {
    world.copy_store();
    Ok(())
}

fn restore_store(world: &mut World) -> Result<(), String> {
    let emptied = world.random.chance(400);
    world.restore_store(emptied);
    Ok(())
}

fn kill_store(world: &mut World) -> Result<(), String> {
    world.stats.kills += 1;
    world.stop_aggregator();
    Ok(())
}

pub(super) fn power_store(world: &mut World) -> Result<(), String> {
    world.stats.power_losses += 1;
    world.stop_aggregator();
    world.disk.crash();
    world.tree.crash();
    Ok(())
}

/// One of the next syncs, writes or commits of the store's tree fails.
fn disk_store(world: &mut World) -> Result<(), String> {
    world.stats.disk_failures += 1;
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

/// Sets a gateway's clock: an hour ahead, an hour back, or correct.
fn set_clock(world: &mut World) -> Result<(), String> {
    let site = site(world);
    let by = [0, 3_600_000_000_000, -3_600_000_000_000, world.random.between(-5_000, 5_000) * 1_000_000];
    let wall = world.now + by[world.random.index(by.len())];
    world.sites[site].clock.set(Timestamp::from_nanos(wall));
    world.clocks_are_right = false;
    Ok(())
}
