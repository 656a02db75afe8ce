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
/// What a window costs that is opened, in readings of one that is open.
const WINDOW_COST: usize = 15;
/// What a state costs, in readings.
const STATE_COST: usize = 2;
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
    /// How far its readings lie apart; boxed, because each session waits with an intake at times.
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
        let windows = self.cost.as_mut().map_or(0, |cost| cost.windows_opened(&self.readings));
        let windows = windows.min(self.readings.len());
        let states = self.states.len().saturating_mul(STATE_COST);
        let cost =
            self.readings.len().saturating_add(states).saturating_add(windows.saturating_mul(WINDOW_COST));
        let is_full = cost >= LARGE || self.states.bytes() >= MESSAGE_STATE_BYTES_MAX;
        is_full || self.messages.len() >= LARGE || self.replies.len() >= LARGE
    }

    /// Whether there is nothing to hand on.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.refusals.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use catchment_partial::Timestamp;

    use super::*;

    #[test]
    fn an_intake_of_many_windows_is_large_sooner_and_one_of_few_is_not() {
        let messages = |step_ms: i64, width: Option<Width>| {
            let mut intake = Intake::default();
            intake.measure_by(width);
            let mut count = 0;
            while !intake.is_large() {
                let times = (0..10).map(|n| Timestamp::from_millis((10 * count + n) * step_ms).unwrap());
                intake.readings.extend(times.map(|time| Reading { series: 0, time, value: 1.0 }));
                count += 1;
            }
            10 * count as usize
        };
        let width = Width::from_millis(1_000).ok();
        assert_eq!(messages(-1_000, width), LARGE.div_ceil(1 + WINDOW_COST).next_multiple_of(10));
        assert_eq!(messages(0, width), LARGE.next_multiple_of(10));
        assert_eq!(messages(1_000, None), LARGE.next_multiple_of(10), "the width is not known");
        assert!((LARGE / 3..LARGE / 2).contains(&messages(100, width)), "ten readings a window");
        let mut emptied = Intake::default();
        emptied.readings.push(Reading { series: 0, time: Timestamp::MIN, value: 0.0 });
        emptied.readings.push(Reading { series: 0, time: Timestamp::MAX, value: 0.0 });
        emptied.measure_by(width);
        assert!(!emptied.is_large(), "no more windows than readings");
        emptied.reuse();
        assert!(!emptied.is_large());
    }
}
