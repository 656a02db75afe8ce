//! Two names of a device that are one as they are mapped, whichever of its sessions use them.

use super::DeviceSessions;
use crate::intake::name_collisions::NameSpelling;

impl DeviceSessions {
    /// Compares names that a session uses for the first time with those of the device, and tells of two that are one.
    pub(super) fn note_name_collisions(&mut self, spelling: &[NameSpelling]) {
        for spelling in spelling {
            let Some(first) = self.name_collisions.note(spelling) else { continue };
            self.metrics.name_collisions.inc();
            let first = if first.is_empty() { &*spelling.name } else { first };
            tracing::warn!(
                device = %self.name, kind = spelling.kind.word(), name = %spelling.name,
                first = ?first, second = ?spelling.shown(),
                "two names of a device are one as they are mapped: they are summed, or within one line the first counts; rename one"
            );
        }
    }
}
