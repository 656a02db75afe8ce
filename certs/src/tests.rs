//! Tests across modules, over real sockets and real files; certificates are made as they run.

mod accept;
mod authority;
mod changes;
mod ledger;
mod offer;
mod self_check;
mod support;
mod tls;
