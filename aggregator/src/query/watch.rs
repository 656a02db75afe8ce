//! Watching a query: new and corrected points are pushed as they come. In the order of the data:
//!
//! * `changes`: the change log, which the store tells what changed; bounded, in memory.
//! * `hub`: subscriptions come and go; `state`: who watches what; `dispatch`: its thread, from changes to dirty points and from those to rounds that are due.
//! * `watched`: a query that is watched, and the series that it selects; subscriptions to the same query share it.
//! * `subscription`: what a subscriber must still be sent, and what waits for it to be read; `dirty`: the points that have
//!   changed since they were sent.
//! * `gateways`: which gateways hold the series of a query.
//! * `pump`: the subscriptions of an operator whose rounds are due, one after the other on a query thread.
//! * `start`, `round`: a subscription's first piece of work, and each further one: the dirty points as messages.
//! * `watermarks`: how far answers are complete, read once for many rounds.
//! * `registration`: the many series of a query that comes or goes, some at a time.
//! * `token`: where a subscription continues after a cut.
//! * `shares`: memory, divided fairly between operators.
//! * `request`, `service`, `reader`: from the request to the stream of messages.
//! * `error`: why a watch is refused or ends.
//!
//! No queue grows with a slow reader: a subscription that has unread messages gets no further round, and changes of points
//! that are dirty already are merged. When there are too many of those, they become one range, and the reader is told
//! (`WatchReset`).

mod changes;
mod dirty;
mod dispatch;
mod error;
mod gateways;
mod hub;
mod pump;
mod reader;
mod registration;
mod request;
mod round;
mod service;
mod shares;
mod start;
mod state;
mod subscription;
mod token;
mod watched;
mod watermarks;

pub(crate) use error::WATCH_REASONS;
pub(crate) use hub::WatchHub;
