//! Stored times that the clock contradicts.

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use crate::store::embedded::{inner::Inner, locks::write};

/// Resets stored times that are ahead of the clock: an earlier version, or this clock when it was wrong, believed them. A clock that shows a time
/// before the folder was created is wrong itself, and changes nothing.
pub(super) fn cap_times<D: Disk>(inner: &Inner<D>, now_ms: u64, created_ms: u64) {
    let tolerance = i64::try_from(inner.config.clock_tolerance.as_nanos()).unwrap_or(i64::MAX);
    let now = i64::try_from(now_ms).ok().and_then(Timestamp::from_millis);
    let Some(now) = now.filter(|_| now_ms >= created_ms) else {
        tracing::warn!(
            now_ms,
            created_ms,
            "the clock shows a time before this data folder was created: set the clock"
        );
        return;
    };
    let changed = write(&inner.state).catalog.cap_future_times(now.saturating_add_nanos(tolerance), now);
    if changed > 0 {
        tracing::warn!(
            changed,
            "stored watermarks or creation times of gateway folders were ahead of the clock and are not believed: these gateways count \
             as behind until they report again"
        );
    }
}
