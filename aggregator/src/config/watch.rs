//! Bounds of watches.

use super::{ConfigError, Options, number, size};

/// Bounds of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Most watches at once, 1 to 100,000. One operator never has more than are still free.
    pub watches_max: usize,
    /// Most watches of one operator at once, 1 to 100,000.
    pub per_operator_max: usize,
    /// Most series of one watch, 1 to 10,000,000.
    pub series_max: usize,
    /// Memory of all watches, bytes, at least 4 MiB. One operator never has more than is still free.
    pub memory_max: usize,
    /// Memory of the changes that a watch can continue from after a cut, bytes, at least 1 MiB.
    pub changes_bytes_max: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            watches_max: 4_096,
            per_operator_max: 1_024,
            series_max: 100_000,
            memory_max: 128 << 20,
            // Two minutes of 10,000 series whose windows are a second wide.
            changes_bytes_max: 32 << 20,
        }
    }
}

/// The bounds that the settings give.
///
/// # Errors
/// One is out of its range.
pub(super) fn limits(options: &Options) -> Result<WatchLimits, ConfigError> {
    let default = WatchLimits::default();
    let memory = |key, given, default: usize, mib_min| {
        size(key, given, default as u64, mib_min).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    };
    Ok(WatchLimits {
        watches_max: number("watches_max", options.watches_max, default.watches_max, 100_000)?,
        per_operator_max: number(
            "watches_per_operator_max",
            options.watches_per_operator_max,
            default.per_operator_max,
            100_000,
        )?,
        series_max: number("watch_series_max", options.watch_series_max, default.series_max, 10_000_000)?,
        memory_max: memory("watch_memory", options.watch_memory, default.memory_max, 4)?,
        changes_bytes_max: memory("watch_changes", options.watch_changes, default.changes_bytes_max, 1)?,
    })
}
