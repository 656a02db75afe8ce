//! What happened in schedules.

use std::fmt;

/// What happened in a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Processes that were killed, the disk's cache staying.
    pub kills: u64,
    /// Machines that lost power.
    pub power_losses: u64,
    /// Syncs, writes and packs that failed.
    pub disk_failures: u64,
    /// Times that a disk became full.
    pub full_disks: u64,
    /// Connections of devices and streams of gateways that were cut.
    pub cuts: u64,
    /// Disks of gateways that were put back to an earlier state.
    pub restores: u64,
    /// New epochs that gateways began because of that.
    pub epochs: u64,
    /// Batches that were refused for their series.
    pub refusals: u64,
    /// Devices that gateways forgot.
    pub forgotten: u64,
    /// Readings that are sure.
    pub readings: u64,
    /// Checkpoints and rounds of packing.
    pub maintenance: u64,
}

impl RunStats {
    /// Adds what happened in another schedule.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.disk_failures += other.disk_failures;
        self.full_disks += other.full_disks;
        self.cuts += other.cuts;
        self.restores += other.restores;
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
            epochs,
        } = self;
        write!(
            f,
            "{kills} kills, {power_losses} losses of power, {disk_failures} failures and {full_disks} fillings of \
             disks, {restores} disks put back and {epochs} epochs begun, {cuts} cuts, {refusals} refusals, {forgotten} devices forgotten, {maintenance} checkpoints and packs, {readings} readings"
        )
    }
}
