//! Whether the aggregator can take states.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether the aggregator can take states, shared by the uplink, which learns it, and the sessions, which refuse states
/// before they acknowledge them. An aggregator is believed to take them until it says otherwise.
#[derive(Clone, Debug)]
pub struct StateSupport(Arc<AtomicBool>);

impl Default for StateSupport {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl StateSupport {
    /// Notes it.
    pub fn set(&self, supported: bool) {
        self.0.store(supported, Ordering::Relaxed);
    }

    /// What is known of it.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
