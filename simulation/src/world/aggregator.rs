//! The aggregator's process: its starts, versions and ends.

use super::World;
use crate::aggregator::Aggregator;

impl World {
    /// The aggregator's process ends, whatever it was doing.
    pub fn stop_aggregator(&mut self) {
        for stream in std::mem::take(&mut self.streams) {
            if let Some(gateway) = self.sites[stream.site].process.as_mut().filter(|_| stream.used) {
                gateway.disconnect();
            }
        }
        self.aggregator = None;
    }

    /// The aggregator's process starts.
    ///
    /// # Errors
    /// A defect.
    pub fn start_aggregator(&mut self) -> Result<(), String> {
        if self.aggregator.is_none() {
            self.aggregator_starts += 1;
            let is_old = !self.upgraded && self.aggregator_starts.is_multiple_of(3);
            let settings = (self.series_max, is_old);
            self.aggregator = Aggregator::start(&self.disk, &self.tree, self.disturbed, settings)?;
        }
        Ok(())
    }

    /// The aggregator is upgraded, if it was of the first version.
    pub fn upgrade_aggregator(&mut self) {
        self.upgraded = true;
        if self.aggregator.as_ref().is_some_and(Aggregator::is_old) {
            self.stop_aggregator();
        }
    }

    /// Does something in the aggregator that may end it.
    pub fn drive_aggregator(&mut self, step: impl FnOnce(&mut Aggregator) -> bool) {
        if self.aggregator.as_mut().is_some_and(|aggregator| !step(aggregator)) {
            self.stop_aggregator();
        }
    }
}
