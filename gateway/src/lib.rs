//! The gateway: takes readings from devices over mutual TLS, folds them into windows, delivers partials.
//!
//! ```text
//! device ─▶ listener ─▶ worker ─▶ device (actor) ─▶ session ─▶ decode ─▶ device::sessions ─▶ shard ─▶ fold ─┐
//!           (certs)                                    ▲                                     │journal       │
//!                                                      └─────────── responses ◀─ synced ─────┘              │
//!                                       aggregator ◀─ uplink ◀─ outbox ◀─ batch_encoder ◀─ closed windows ──┘
//! ```
//!
//! The files are named after these hops. [`bind`] recovers the state and binds the addresses, [`Gateway::run`] serves
//! until it is asked to stop. Both must run within an actix system: [`system`] makes one, [`spawn()`] does all of it on
//! a thread.

pub mod batch_encoder;
pub mod budget;
pub mod clock;
pub mod clock_guard;
mod conditions;
pub mod config;
pub mod decode;
pub mod device;
pub mod device_certificates;
pub mod fold;
mod folder;
pub mod inspect;
pub mod intake;
pub mod kept;
pub mod lineage;
pub mod listener;
pub mod metrics;
pub mod mqtt;
pub mod raw;
pub mod run;
pub mod session;
pub mod shard;
pub mod spawn;
mod turns;
pub mod uplink;
pub mod worker;

pub use config::{Config, ConfigError, Settings};
pub use run::{Gateway, RunError, StartError, bind, check, system};
pub use spawn::{Handle, spawn};
