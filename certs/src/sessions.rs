//! The sessions of a server, by identity, end of validity and age: one mechanism for everything that ends a session from
//! outside.
//!
//! The accept loop registers each peer after its handshake ([`SessionRegistry::register`]); the guard is part of
//! [`crate::Accepted`] and lives as long as the session. What must happen at the end of a session is a hook that its
//! server sets ([`SessionGuard::on_end`]); it is called once, from any thread, with the reason.
//!
//! A session ends when its certificate does, at its maximum age, and when the trust changes so that its peer would be
//! refused: one task of the server sees to it ([`SessionRegistry::sweep`]).
//!
//! * `reason`: why a session ends; `session`: one of them, and the guard of its owner;
//! * `table`: a part of all sessions, with the order in which they end; `registry`: the parts together;
//! * `sweep`: the task that ends those whose time has come, and those that a new trust refuses.

mod reason;
mod registry;
mod session;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    reason::EndReason,
    registry::{SessionCounts, SessionRegistry},
    session::SessionGuard,
};
