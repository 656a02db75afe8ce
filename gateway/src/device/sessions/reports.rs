//! What the operator learns of a device's sessions: counters, and warnings about programs that get in each other's way.

use super::registry::DeviceSessions;
use crate::intake::NameSpelling;

impl DeviceSessions {
    /// Counts messages and their readings, which were taken, and duplicates among the messages.
    pub(super) fn count_taken(&self, readings: u64, messages: u64, duplicates: u64) {
        self.metrics.readings.inc_by(readings);
        self.metrics.messages.inc_by(messages - duplicates);
        if duplicates > 0 {
            self.metrics.duplicates.inc_by(duplicates);
        }
    }

    /// Compares names that a session uses for the first time with those of the device, and reports two that are mapped
    /// to one, whichever of its sessions use them.
    pub(super) fn note_name_collisions(&mut self, spelling: &[NameSpelling]) {
        for spelling in spelling {
            let Some(first) = self.name_collisions.note(spelling) else { continue };
            self.metrics.name_collisions.inc();
            let first = if first.is_empty() { &*spelling.name } else { first };
            tracing::warn!(
                device = %self.name, kind = spelling.kind.word(), name = %spelling.name,
                first = ?first, second = ?spelling.shown(),
                "two names of a device map to one metric or label and are summed (within one line the first counts): rename one"
            );
        }
    }

    /// Reports that two programs of the device number their messages in one epoch: of two messages with one number only
    /// one is taken.
    pub(super) fn warn_shared_epoch(&self, epoch: &str) {
        self.metrics.epochs_shared.inc();
        tracing::warn!(
            device = %self.name, epoch,
            "two programs of one device number their messages in one epoch: of two messages with one number only the first \
             is taken; give each program an identity, or an epoch, of its own"
        );
    }
}
