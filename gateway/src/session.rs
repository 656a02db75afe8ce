//! A device's connection after the handshake: bytes in, decoded messages to the device's sessions, responses out.
//!
//! Two halves run in one task, which is that of the device's actor. The reading half decodes what is there and hands
//! it on before it reads on, so a full journal or a slow disk slows the device and nothing piles up here. The writing
//! half waits for the journal's commits and sends what may leave. Neither blocks the other: a device that never reads
//! is still read.
//!
//! Both halves may be dropped at any await: what was handed on is in the journal, and a device that got no
//! acknowledgement sends it again.
//!
//! - `connection`: one connection from its first byte to its end; `context`: what it shares with its worker;
//! - `protocol`, `encode`: bytes to messages and responses to bytes, without sockets;
//! - `read_core`: what the reading half decides, without tasks, sockets and timers; `environment`: what it asks of its
//!   process, and `worker_environment`, which is the worker;
//! - `read`, `write`: the two halves; `responses`: the queue between them; `room`: how a full queue slows the device;
//!   `commit_waiters`: what the writing half waits for;
//! - `protocol_detection`: which protocol the first bytes are of; `detect`: the session before that is known;
//!   `alpn_mismatch`: devices that negotiated one protocol by ALPN and speak another;
//! - `deadlines`: first byte, message and keep-alive deadlines; `table`: the worker's sessions, and `idle`, which ends
//!   those that are silent for too long; `handle`: a session seen from outside; `end_signal`: how it is ended, from any
//!   thread; `unfinished`: the bound over all unfinished messages, `waiting` over what sessions hold that wait;
//!   `close_reason`: why a session ended, and what its device hears of it;
//! - `stream`: the socket and the buffers; `drain`: how a connection is closed so that the device reads the last words.

mod alpn_mismatch;
mod close_reason;
pub mod commit_waiters;
mod connection;
mod context;
mod deadlines;
mod detect;
mod drain;
pub mod encode;
mod end_signal;
pub mod environment;
mod handle;
pub mod idle;
pub mod protocol;
pub mod protocol_detection;
mod read;
pub mod read_core;
pub mod responses;
mod room;
mod stream;
pub mod table;
#[cfg(test)]
mod tests;
pub mod unfinished;
pub mod waiting;
mod worker_environment;
mod write;

pub use self::{
    close_reason::CloseReason,
    connection::{negotiated_protocol, run},
    context::Context,
    end_signal::EndSignal,
    handle::SessionHandle,
    stream::SessionStream,
};
