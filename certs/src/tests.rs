//! Tests across modules, with real sockets and files; certificates are made at run time.

mod accept;
mod authority;
mod chains;
mod changes;
pub(crate) mod forge;
mod ledger;
mod live_sessions;
mod offer;
mod self_check;
mod support;
mod tls;
mod trust;
