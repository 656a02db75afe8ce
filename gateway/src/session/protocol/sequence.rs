//! Counts messages, and holds them to the rule of sequence numbers: none before a hello, one each after it.

use super::reader::{Closing, DecodeStop, Front, ReadMessage, Target};
use crate::{
    decode::Decoded,
    intake::{Intake, Reason, Refusal},
};

/// Where a connection stands that counts messages.
#[derive(Default)]
pub(super) struct MessageSequence {
    ordinal: u64,
    /// A hello came.
    numbered: bool,
}

impl MessageSequence {
    /// Messages so far, refused ones included.
    pub(super) const fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Reads the whole messages at the front of the buffer: how many bytes that was, and why it stopped.
    pub(super) fn read_all(
        &mut self,
        reader: &mut impl ReadMessage,
        buffer: &[u8],
        closing: Option<Closing>,
        target: &mut Target<'_>,
    ) -> (usize, DecodeStop) {
        let mut consumed = 0;
        loop {
            if target.intake.is_large() {
                return (consumed, DecodeStop::Enough);
            }
            let rest = buffer.get(consumed..).unwrap_or_default();
            let ordinal = self.ordinal + 1;
            let before = (target.intake.messages.len(), target.intake.readings.len());
            let (length, decoded) = match reader.read(rest, closing, ordinal, target) {
                Front::Message(length, decoded) => (length, decoded),
                Front::Incomplete(useless) => return (consumed + useless, DecodeStop::More),
                Front::Unreadable => return (buffer.len(), DecodeStop::Broken(Vec::new())),
            };
            self.ordinal = ordinal;
            consumed += length;
            if let Decoded::Hello { epoch } = decoded {
                self.numbered = true;
                return (consumed, DecodeStop::Hello(epoch));
            }
            self.check(&decoded, before, target.intake);
        }
    }

    /// Refuses the message of the current ordinal if it breaks the rule. `before`: messages and readings of the intake
    /// without it.
    fn check(&self, decoded: &Decoded, (messages, readings): (usize, usize), intake: &mut Intake) {
        if matches!(decoded, Decoded::Message) {
            let new = intake.messages.get(messages..).unwrap_or_default();
            let Some(wrong) = new.iter().find(|meta| meta.seq.is_some() != self.numbered) else { return };
            let message = match wrong.seq {
                Some(_) => "a sequence number without a hello before: send {\"hello\":{\"epoch\":…}} first",
                None => "a message without a sequence number after a hello: add \"seq\"",
            };
            let refusal = Refusal {
                reason: Reason::BadSequence,
                message: message.to_owned(),
                ordinal: self.ordinal,
                seq: wrong.seq,
                count: u32::try_from(intake.readings.len() - readings).unwrap_or(u32::MAX).max(1),
            };
            intake.messages.truncate(messages);
            intake.truncate_readings(readings);
            intake.refusals.push(refusal);
        }
        // Where acknowledgements count messages, a refused one counts too.
        if !self.numbered {
            intake.end_message(None, self.ordinal);
        }
    }
}
