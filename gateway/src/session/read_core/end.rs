//! The end of a session, and what it holds while it waits.

use catchment_journal::Position;

use super::{ReadCore, Stage};
use crate::{
    intake::{Intake, Reason},
    session::{close_reason::CloseReason, environment::Environment},
};

impl ReadCore {
    /// The session ends: what is in hand is dropped (see [`Self::abandon`]), and the reason queued where the protocol has
    /// words for it.
    pub fn end(&mut self, why: CloseReason, environment: &mut impl Environment) {
        self.abandon(environment);
        let mut bytes = Vec::new();
        if let Some((reason, what)) = why.to_client() {
            bytes = self.decoder.close_packet(reason, what);
        }
        if let Some(what) = why.to_device() {
            self.encoder.close_reason(why.reason(), what, &mut bytes);
        }
        if !bytes.is_empty() {
            self.responses.push(Position::ZERO, bytes);
        }
    }

    /// Drops what is in hand. Readings that no acknowledgement was promised for are lost with it, so they are counted as
    /// refused; a device sends the others again. Bytes that are not decoded are lost like those still in the network.
    pub fn abandon(&mut self, environment: &mut impl Environment) {
        // In a later stage they are taken.
        let untaken = matches!(self.stage, Stage::Decode | Stage::RefuseDecoded(_) | Stage::HandOn);
        if untaken && !self.encoder.acknowledges() {
            let lost = self.intake.unanswered_readings() as u64;
            if lost > 0 {
                environment.metrics().refuse(Reason::Ended, lost);
                environment.note_refused(lost);
            }
        }
        (self.intake, self.refused) = (Intake::default(), Vec::new());
    }

    /// The session waits: gives back memory that it does not need meanwhile. Returns the bytes of what is in hand.
    pub fn compact(&mut self) -> usize {
        let refused = self.refused.iter().map(|refusal| size_of_val(refusal) + refusal.message.len());
        refused.sum::<usize>() + self.intake.compact()
    }
}
