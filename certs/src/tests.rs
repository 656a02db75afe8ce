//! Tests across modules, with real sockets and files; certificates are made at run time.

mod accept;
mod authority;
mod batch;
mod changes;
mod keys;
mod ledger;
mod offer;
mod self_check;
mod support;
mod tls;
