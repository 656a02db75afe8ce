//! Two names of a device that are one as they are mapped, whichever of its sessions use them.

use super::Desk;
use crate::intake::spelled::Spelled;

impl Desk {
    /// Compares names that a session uses for the first time with those of the device, and tells of two that are one.
    pub(super) fn note_spelled(&mut self, spelled: &[Spelled]) {
        for spelled in spelled {
            let Some(first) = self.spellings.note(spelled) else { continue };
            self.metrics.name_collisions.inc();
            let first = if first.is_empty() { &*spelled.name } else { first };
            tracing::warn!(
                device = %self.name, kind = spelled.kind.word(), name = %spelled.name,
                first = ?first, second = ?spelled.shown(),
                "two names of a device are one as they are mapped: they are summed, or within one line the first counts; rename one"
            );
        }
    }
}
