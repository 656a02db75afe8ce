//! The messages of a session that are handed on together.

use catchment_partial::Width;
use catchment_proto::{Labels, MetricName};

use super::{
    cost::IntakeCost,
    message::{MessageMeta, MqttEffect},
    name_collisions::NameSpelling,
    reading::Reading,
    refusal::Refusal,
    reply::Reply,
    states::{MESSAGE_STATE_BYTES_MAX, States},
};

/// Readings or messages of an intake beyond which it is handed on before more is decoded.
const LARGE: usize = 16_384;
/// What a window costs that is opened, in readings of one that is open: 512 windows fill an intake.
const WINDOW_COST: usize = 31;
/// What a series costs that is new to its session, in readings: it is looked up, or introduced, by its name.
const FRESH_COST: usize = 31;
/// What a state costs, in readings.
const STATE_COST: usize = 2;
/// What a reading costs that is refused, in readings that are taken.
const REFUSED_COST: usize = 2;
/// Refusals beyond which an intake is handed on: each is a text of up to 300 bytes, which two bytes can cause.
const REFUSALS_MAX: usize = 256;
/// Replies beyond which an intake is handed on: they are queued in one piece, of up to some 60 bytes each.
const REPLIES_MAX: usize = 512;
/// Room that is kept for the next intake.
const REUSED_MAX: usize = 2 * LARGE;

/// Messages of one session that are handed on together.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    /// Series that a reading here is the first to use, with their session's index.
    pub fresh: Vec<(u32, MetricName, Labels)>,
    /// The messages in order.
    pub messages: Vec<MessageMeta>,
    /// The readings of all messages, in order.
    pub readings: Vec<Reading>,
    /// States of those readings that have one.
    pub states: States,
    /// Names that the session uses for the first time, as it writes them.
    pub spellings: Vec<NameSpelling>,
    /// What was refused while decoding.
    pub refusals: Vec<Refusal>,
    /// What is answered once all of it is durable (MQTT; the other protocols acknowledge by number).
    pub replies: Vec<Reply>,
    /// How much work it is; boxed, because each session waits with an intake at times.
    cost: Option<Box<IntakeCost>>,
}

impl Intake {
    /// Empties it for the next one; its memory is kept up to a bound.
    pub fn reuse(&mut self) {
        fn clear<T>(items: &mut Vec<T>) {
            items.clear();
            items.shrink_to(REUSED_MAX);
        }
        clear(&mut self.fresh);
        clear(&mut self.spellings);
        clear(&mut self.messages);
        clear(&mut self.readings);
        clear(&mut self.refusals);
        self.states.clear(REUSED_MAX);
        clear(&mut self.replies);
        if let Some(cost) = &mut self.cost {
            **cost = IntakeCost::default();
        }
    }

    /// Windows have this width: an intake with readings of many is large sooner.
    pub fn measure_by(&mut self, width: Option<Width>) {
        self.cost.get_or_insert_default().measure_by(width);
    }

    /// Forgets the readings from this index on, with their states.
    pub(crate) fn truncate_readings(&mut self, length: usize) {
        self.readings.truncate(length);
        self.states.truncate(length);
    }

    /// Ends a message: the readings pushed since the last one are its.
    pub fn end_message(&mut self, seq: Option<u64>, ordinal: u64) {
        self.messages.push(MessageMeta {
            seq,
            ordinal,
            readings_end: self.readings.len(),
            effect: MqttEffect::None,
        });
    }

    /// Puts into the replies what the device's sessions refused of their messages, before they are written. `refusals`
    /// are in the order of the messages.
    pub fn amend_replies(&mut self, refusals: &[Refusal]) {
        if refusals.is_empty() {
            return;
        }
        let Self { messages, replies, .. } = self;
        for message in replies.iter_mut().filter_map(Reply::message_mut) {
            let first = refusals.partition_point(|refusal| refusal.ordinal < message.ordinal);
            let rest = refusals.get(first..).unwrap_or_default();
            let own = rest.iter().take_while(|refusal| refusal.ordinal == message.ordinal);
            let refused: usize = own.clone().map(|refusal| refusal.count as usize).sum();
            let at = messages.partition_point(|meta| meta.ordinal < message.ordinal);
            let start =
                at.checked_sub(1).and_then(|before| messages.get(before)).map_or(0, |meta| meta.readings_end);
            let end = messages.get(at).map_or(start, |meta| meta.readings_end);
            for refusal in own {
                message.outcome.refuse(refused >= end - start, &refusal.message);
            }
        }
    }

    /// Whether it must be handed on before more is decoded, so that a worker's turn is bounded. Checked after each
    /// message.
    pub fn is_large(&mut self) -> bool {
        if self.refusals.len() >= REFUSALS_MAX || self.replies.len() >= REPLIES_MAX {
            return true;
        }
        let measured = self.cost.get_or_insert_default();
        let windows = measured.windows_opened(&self.readings).saturating_mul(WINDOW_COST);
        let refused = measured.refused(&self.refusals).saturating_mul(REFUSED_COST);
        let fresh = self.fresh.len().saturating_mul(FRESH_COST);
        let states = self.states.len().saturating_mul(STATE_COST);
        let cost =
            [windows, refused, fresh, states].into_iter().fold(self.readings.len(), usize::saturating_add);
        let is_full = cost >= LARGE || self.states.bytes() >= MESSAGE_STATE_BYTES_MAX;
        is_full || self.messages.len() >= LARGE
    }

    /// Readings of messages that have no reply here: those that a protocol without acknowledgements by number does not
    /// acknowledge at all.
    pub fn unanswered_readings(&self) -> usize {
        let (mut count, mut start) = (0, 0);
        // Both are in the order of the messages.
        let mut answered = self.replies.iter().filter_map(Reply::message).peekable();
        for meta in &self.messages {
            let readings = meta.readings_end - std::mem::replace(&mut start, meta.readings_end);
            while answered.next_if(|message| message.ordinal < meta.ordinal).is_some() {}
            if answered.peek().is_none_or(|message| message.ordinal != meta.ordinal) {
                count += readings;
            }
        }
        count
    }

    /// Gives back memory that is not in use, because the intake waits to be taken. Returns the bytes that are. Names and
    /// labels belong to the session's table, so they do not count.
    pub fn compact(&mut self) -> usize {
        fn shrunk<T>(items: &mut Vec<T>) -> usize {
            items.shrink_to_fit();
            items.capacity() * size_of::<T>()
        }
        let texts: usize = self.refusals.iter().map(|refusal| refusal.message.capacity()).sum();
        let replied: usize = self.replies.iter().map(Reply::text_bytes).sum();
        let lists = [
            shrunk(&mut self.fresh),
            shrunk(&mut self.spellings),
            shrunk(&mut self.messages),
            shrunk(&mut self.readings),
            shrunk(&mut self.refusals),
            shrunk(&mut self.replies),
        ];
        texts + replied + self.states.compact() + lists.iter().sum::<usize>()
    }

    /// Whether there is nothing to hand on.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.refusals.is_empty()
    }
}

#[cfg(test)]
mod tests;
