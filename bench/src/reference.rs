//! What the figures are compared with: bare servers of our own, and programs that others use for the same work.

pub(crate) mod disk;
pub(crate) mod influx;
pub(crate) mod mosquitto;
pub(crate) mod postgres;
pub(crate) mod sink;
pub(crate) mod sled;

/// Versions of the programs of others that are installed.
pub(crate) fn versions() -> Vec<String> {
    [mosquitto::version(), influx::version(), postgres::version()].into_iter().flatten().collect()
}
