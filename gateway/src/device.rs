//! A device as its worker runs it: one actor with all sessions of the device; nothing else decides over its readings.
//!
//! A connection comes to the actor as one message and becomes a session in its context, so a reading crosses no
//! mailbox: a session calls the device's sessions directly, which drop duplicates (by sequence number), turn the
//! session's series indexes into the device's own, and hand the rest to the shard. Actor, sessions and shard live on
//! one thread.
//!
//! - `actor`: the actor, which runs the sessions; `actors`: the actors of a worker, by device;
//! - `sessions`: what is decided, without tasks and sockets. The arithmetic is in [`crate::fold`].

mod actor;
mod actors;
mod sessions;

pub use self::{
    actor::{Actors, Connect, CountGuard, DeviceActor},
    actors::ActorRegistry,
    sessions::{
        Admission, DelayGuard, DeviceSessions, IntakeOutcome, Opened, SessionId, SessionIdentity, Welcome,
    },
};
