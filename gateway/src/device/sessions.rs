//! What a device's sessions decide together, apart from the actor's mailbox: which messages are new, which series they
//! mean, which session stays.
//!
//! Pure but for the shard, which is an argument: the simulation drives the same code.
//!
//! - `registry`: the device and its sessions; `admission`: which of them may be, and who is displaced;
//! - `takeover`: hello and CONNECT, by which a program takes over from an earlier session of its own;
//! - `take`: messages into the shard; `deduplicate`: which of them are new; `packet_ids`: the same for QoS 2 of MQTT;
//!   `columns`: their readings as an entry has them;
//! - `readings_rate`: how many readings the device may send, over all of its sessions;
//! - `session_series`: a session's series indexes as the device's own;
//! - `reports`: metrics and warnings.

mod admission;
mod columns;
mod deduplicate;
mod packet_ids;
mod readings_rate;
mod registry;
mod reports;
mod session_series;
mod take;
mod takeover;

pub use self::{
    admission::{Admission, SessionIdentity},
    readings_rate::DelayGuard,
    registry::{DeviceSessions, SessionId},
    take::IntakeOutcome,
    takeover::{Opened, Welcome},
};

#[cfg(test)]
mod tests;
