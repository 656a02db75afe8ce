//! Loads the counts of gateways.

use std::sync::Arc;

use super::{CatalogStore, damaged, restored};
use crate::store::{catalog::Gateway, tree::records};

impl CatalogStore {
    /// Loads late corrections and refused readings; damaged ones count as none.
    pub(super) fn load_hours(
        &self,
        gateways: &mut [Gateway],
        newest: u64,
        findings: &mut Vec<String>,
    ) -> Result<(), String> {
        self.each(&[records::HOURS], |key, value| {
            let gateway = records::number_of(key).and_then(|number| gateways.get_mut(number as usize));
            let Some(gateway) = gateway else {
                findings.push(damaged(key, "its gateway is not known"));
                return Ok(());
            };
            match restored(key, value, newest) {
                Ok(hours) => gateway.hours = Arc::new(hours),
                Err(reason) => findings.push(format!(
                    "{reason}: late corrections and refused readings of gateway {} are counted anew",
                    gateway.id
                )),
            }
            Ok(())
        })
    }
}
