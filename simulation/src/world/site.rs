//! A gateway's machine, and what may happen to its disk as a whole.

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use catchment_gateway::{clock::ManualClock, fold::MetricParts};
use catchment_journal::sim::{SimCopy, SimDisk};
use catchment_partial::{Parts, Timestamp, Width};
use catchment_proto::{GatewayId, Name};

use super::{Refill, WIDTH_MS, World};
use crate::{gateway::Gateway, histories::Histories, limits::limits, random::Random, truth::TruthSnapshot};

/// One gateway's machine: its disk and clock outlive its processes.
pub struct Site {
    /// Its name, as the aggregator prints it.
    pub name: String,
    pub(super) id: GatewayId,
    /// Its disk.
    pub disk: SimDisk,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// The process, while it runs.
    pub process: Option<Gateway>,
    /// The disk was disturbed in a way that may keep a process from starting.
    pub disturbed: bool,
    /// The disk was put back to an earlier state.
    pub(super) went_back: bool,
    /// A copy of the disk, with the readings acknowledged at that time and what was known of its batches.
    copy: Option<(SimCopy, TruthSnapshot, Histories)>,
    pub(super) next_session: u64,
    /// How often a process was started: each start has other optional parts than the one before.
    starts: Cell<usize>,
    /// Connections that their devices have lost, but from which the gateway still reads.
    pub(super) orphans: BTreeMap<u64, (usize, Vec<u8>)>,
}

impl Site {
    /// How the next start makes windows: width and optional parts.
    pub(super) fn windows(&self) -> Result<(Width, MetricParts), String> {
        self.starts.set(self.starts.get() + 1);
        let mut metric_parts = MetricParts::default();
        match self.starts.get() % 3 {
            0 => _ = metric_parts.insert("temperature", Parts::ORDER),
            1 => _ = metric_parts.insert("*", Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT)),
            _ => {}
        }
        let width = Width::from_millis(WIDTH_MS).map_err(|e| e.to_string())?;
        Ok((width, metric_parts))
    }
}

/// Time passes in steps of this while devices expire.
const STEP: Duration = Duration::from_secs(25);

impl World {
    /// A device, and every device without a connection, is away for longer than gateways remember it. It must begin a
    /// new epoch, because nobody knows any more whether its last messages were taken.
    ///
    /// # Errors
    /// A defect.
    pub fn expire(&mut self, device: usize) -> Result<(), String> {
        for number in 0..self.devices.len() {
            if number == device || self.devices[number].wire.is_none() {
                let site = &mut self.sites[self.devices[number].gateway];
                if let Some(wire) = self.devices[number].reboot(&site.name, &mut self.truth)
                    && let Some(gateway) = &mut site.process
                {
                    gateway.detach(wire.session);
                }
            }
        }
        let before = self.forgotten();
        for _ in 0..limits().device_expiry.as_secs() * 3 / 2 / STEP.as_secs() {
            self.advance(STEP);
            for site in 0..self.sites.len() {
                for _ in 0..3 {
                    self.drive(site, Gateway::tick)?;
                }
                self.drive(site, Gateway::commit_journal)?;
                self.drive(site, Gateway::commit_outbox)?;
            }
        }
        self.stats.forgotten += self.forgotten().saturating_sub(before);
        Ok(())
    }

    fn forgotten(&self) -> u64 {
        self.sites.iter().filter_map(|site| site.process.as_ref()).map(Gateway::forgotten).sum()
    }

    /// Somebody copies a gateway's disk.
    pub fn copy_disk(&mut self, site: usize) {
        let histories = self.histories.of_site(site);
        let site = &mut self.sites[site];
        site.copy = Some((site.disk.copy(), self.truth.snapshot(&site.name), histories));
    }

    /// A gateway's disk is restored from the copy: readings acknowledged since then may be lost unless they were
    /// delivered. Its devices restart, because readings that they send again would be taken again.
    pub fn put_disk_back(&mut self, site: usize) {
        // A new epoch does not deliver again what an earlier one delivered.
        if self.sites[site].copy.is_none() || self.refill == Refill::Whole {
            return;
        }
        self.stop_gateway(site);
        for device in self.devices.iter_mut().filter(|device| device.gateway == site) {
            drop(device.reboot(&self.sites[site].name, &mut self.truth));
        }
        let known = &mut self.sites[site];
        if let Some((copy, snapshot, histories)) = &known.copy {
            known.disk.put_back(copy);
            self.histories.went_back(site, histories.clone());
            self.truth.went_back(&known.name, snapshot);
            known.went_back = true;
            self.stats.restores += 1;
        }
    }
}

impl Site {
    pub(super) fn new(number: usize, now: i64, random: &mut Random) -> Self {
        let name = |text: &str| Name::new(text).expect("letters and digits");
        let id = GatewayId { site: name("site"), name: name(&format!("g{number}")) };
        Self {
            name: id.to_string(),
            id,
            disk: SimDisk::new(random.bits()),
            clock: Arc::new(ManualClock::at(Timestamp::from_nanos(now))),
            process: None,
            disturbed: false,
            went_back: false,
            copy: None,
            next_session: 0,
            starts: Cell::new(0),
            orphans: BTreeMap::new(),
        }
    }
}
