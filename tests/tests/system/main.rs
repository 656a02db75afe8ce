//! Tests of the whole system: real servers on port 0, real TLS, one topic per module.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod aggregates;
mod backlog;
mod conditions;
mod defects;
mod expiry;
mod first_bytes;
mod fixtures;
mod flow;
mod folders;
mod grpc;
mod hostile;
mod identity;
mod json_lines;
mod late;
mod limits;
mod lost;
mod mqtt;
mod mqtt_clients;
mod mqtt_load;
mod owner;
mod programs;
mod removed;
mod restart;
mod series;
mod shards;
mod silent;
mod stall;
mod starts;
mod states;
mod stop;
mod streams;
mod torn;
mod versions;
mod watch;
