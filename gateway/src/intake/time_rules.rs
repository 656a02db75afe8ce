//! Bounds of event times.

use catchment_partial::Timestamp;

use super::refusal::Reason;

/// Which event times are taken, seen from now.
#[derive(Clone, Copy, Debug)]
pub struct TimeRules {
    /// The gateway's clock: given to readings without a time.
    pub now: Timestamp,
    /// Oldest time taken.
    pub oldest: Timestamp,
    /// Newest time taken.
    pub newest: Timestamp,
}

impl TimeRules {
    /// Checks the event time of a reading.
    ///
    /// # Errors
    /// [`Reason::TooOld`] or [`Reason::TooFarAhead`].
    pub fn check(&self, time: Timestamp) -> Result<Timestamp, Reason> {
        if time < self.oldest {
            return Err(Reason::TooOld);
        }
        if time > self.newest {
            return Err(Reason::TooFarAhead);
        }
        Ok(time)
    }
}
