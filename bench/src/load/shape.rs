//! How much load, and what came of it.

use std::time::Duration;

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Most unacknowledged messages per connection.
    pub(crate) in_flight: usize,
    pub(crate) duration: Duration,
    /// Each message is written and flushed alone, as a device that sends one at a time does.
    pub(crate) each_alone: bool,
    /// Whether the server acknowledges; if not, the connection is closed and the server's end awaited.
    pub(crate) ending: Ending,
    /// Messages per second and connection; `None`: full speed.
    pub(crate) rate: Option<f64>,
}

/// How a connection knows that the server has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every message is acknowledged.
    Acknowledged,
    /// The server closes after it has read everything.
    Closed,
    /// The caller checks.
    CheckedByCaller,
}

/// The outcome of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Messages sent; all of them acknowledged if the server acknowledges.
    pub(crate) messages: u64,
    /// Readings in them.
    pub(crate) readings: u64,
    /// Bytes of the messages, before encryption.
    pub(crate) bytes: u64,
    /// From the first message to the last acknowledgement.
    pub(crate) seconds: f64,
    /// Processor seconds of the server in that time; 0 without its process.
    pub(crate) cpu: f64,
    /// Seconds from each message to its acknowledgement, for loads with a rate.
    pub(crate) latencies: Vec<f64>,
}

impl Outcome {
    /// A number per processor second.
    pub(crate) fn per_cpu(&self, count: u64) -> f64 {
        if self.cpu > 0.0 { count as f64 / self.cpu } else { 0.0 }
    }
}
