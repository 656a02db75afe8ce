//! What the reading core of a session asks of its process: the time, and its device.

use std::time::Duration;

use catchment_partial::Width;

use crate::{
    device::{Admission, IntakeOutcome, Opened, SessionIdentity, Welcome},
    intake::{Intake, TimeRules},
    metrics::Metrics,
    mqtt::connection::Open,
    shard::Backpressure,
};

/// The process of a session: a worker, or the simulation.
pub trait Environment {
    /// Which event times are taken now.
    fn rules(&self) -> TimeRules;

    /// The time of the monotonic clock.
    fn mono(&self) -> Duration;

    /// Width of the windows, once it is known.
    fn window_width(&self) -> Option<Width>;

    /// Whether states are taken now.
    fn takes_states(&self) -> bool;

    /// What is counted.
    fn metrics(&self) -> &Metrics;

    /// How long the device has to wait before more of its readings are taken; zero if it need not.
    fn readings_wait(&self) -> Duration;

    /// Counts readings that were refused, for the aggregator.
    fn note_refused(&mut self, readings: u64);

    /// The session takes a place among the connections of its device. One that is displaced is ended here.
    fn admit(&mut self, identity: SessionIdentity<'_>) -> Admission;

    /// The session's messages are numbered within an epoch from here on.
    fn hello(&mut self, epoch: &str) -> Welcome;

    /// An MQTT client opens its session, and says how long it may be silent.
    ///
    /// # Errors
    /// See [`Backpressure`]; nothing was kept or forgotten then.
    fn open(&mut self, open: &Open, silence_max: Option<Duration>) -> Result<Opened, Backpressure>;

    /// Hands messages to the device's sessions.
    ///
    /// # Errors
    /// See [`Backpressure`]; nothing was taken then.
    fn take(&mut self, intake: &Intake) -> Result<IntakeOutcome, Backpressure>;
}
