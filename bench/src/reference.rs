//! References for the figures: bare servers of our own, and third-party programs for the same work.

pub(crate) mod disk;
pub(crate) mod duckdb;
pub(crate) mod influx;
pub(crate) mod mosquitto;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod sink;
pub(crate) mod sled;

/// Versions of the installed third-party programs.
pub(crate) fn versions() -> Vec<String> {
    let versions = [mosquitto::version(), influx::version(), postgres::version(), prometheus::version()];
    versions.into_iter().flatten().collect()
}
