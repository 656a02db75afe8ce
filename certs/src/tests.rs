//! Tests across modules, with real sockets and files; certificates are made at run time.

mod accept;
mod authority;
mod batch;
mod certified_keys;
mod chains;
mod changeover;
mod changes;
mod copies;
mod door;
pub(crate) mod forge;
mod keys;
mod ledger;
mod live_client;
mod live_sessions;
mod many_sites;
mod offer;
mod self_check;
mod sites;
mod support;
mod tls;
mod trust;
mod two_folders;
mod whole_lists;
