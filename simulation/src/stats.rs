//! Counts of events in schedules.

use std::fmt;

/// Counts of events in a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Processes killed, without loss of the disk's cache.
    pub kills: u64,
    /// Machines that lost power.
    pub power_losses: u64,
    /// Syncs, writes and flushes that failed.
    pub disk_failures: u64,
    /// Times that a disk became full.
    pub full_disks: u64,
    /// Cut connections of devices and streams of gateways.
    pub cuts: u64,
    /// Disks of gateways restored to an earlier state.
    pub restores: u64,
    /// Aggregators restored to an earlier state, or emptied.
    pub store_restores: u64,
    /// New epochs that gateways started because of that.
    pub epochs: u64,
    /// Batches refused because of their series.
    pub refusals: u64,
    /// Devices that gateways forgot.
    pub forgotten: u64,
    /// Acknowledged readings.
    pub readings: u64,
    /// Checkpoints and flushes.
    pub maintenance: u64,
}

impl RunStats {
    /// Adds the counts of another schedule.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.disk_failures += other.disk_failures;
        self.full_disks += other.full_disks;
        self.cuts += other.cuts;
        self.restores += other.restores;
        self.store_restores += other.store_restores;
        self.epochs += other.epochs;
        self.refusals += other.refusals;
        self.forgotten += other.forgotten;
        self.readings += other.readings;
        self.maintenance += other.maintenance;
    }
}

impl fmt::Display for RunStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            power_losses,
            disk_failures,
            full_disks,
            cuts,
            refusals,
            forgotten,
            readings,
            maintenance,
            restores,
            store_restores,
            epochs,
        } = self;
        write!(
            f,
            "{kills} kills, {power_losses} power losses, {disk_failures} disk failures, {full_disks} full disks, \
             {restores} disks and {store_restores} aggregators restored, {epochs} epochs started, {cuts} cuts, {refusals} refusals, \
             {forgotten} devices forgotten, {maintenance} checkpoints and flushes, {readings} readings"
        )
    }
}
