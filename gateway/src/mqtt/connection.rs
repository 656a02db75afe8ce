//! The rules of one MQTT connection: CONNECT first and once, messages by topic into the intake, a reply for each
//! packet that has one. Pure: bytes and the time come in, an intake and replies go out.
//!
//! Invariants: a reply to a message leaves with the intake that holds the message, so never before it is durable; at
//! most [`MqttOptions::receive_max`] messages of version 5 are in flight; a packet that breaks the rules ends this
//! connection, and a client of version 5 is sent the reason.

use std::{collections::BTreeSet, num::NonZeroU16, sync::Arc, time::Duration};

use bytes::BytesMut;
use rmqtt_codec::{types::Publish, v5::DisconnectReasonCode};

use super::{
    packets::{BorrowedPublish, CONNECT, Connect, Packet, Packets, QoS, Violation},
    topics::{Topics, Verdict},
};
use crate::{
    decode::DecodeLimits,
    intake::{Intake, Message, MessageMeta, MqttEffect, Outcome, Reason, Reply, SeriesTable, TimeRules},
};

/// Topic aliases that a client may set.
const ALIASES_MAX: u16 = 32;
/// Longest client identifier in bytes.
const CLIENT_BYTES_MAX: usize = 256;
/// A packet's topic, identifier and properties, beside a payload of `message_bytes_max`.
const OVERHEAD_MAX: usize = 16 << 10;

/// What a connection needs of the configuration.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// The topics, and what is published there.
    pub topics: Arc<Topics>,
    /// Messages of QoS 1 and 2 that a client of version 5 may have in flight.
    pub receive_max: NonZeroU16,
}

/// A client asks for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its identifier, unique among the clients of its device.
    pub client: Arc<str>,
    /// The state of an earlier session is dropped.
    pub clean: bool,
    /// The session is to outlive the connection.
    pub persistent: bool,
}

/// Why decoding stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// More bytes are needed.
    More,
    /// The intake is large enough to be handed on.
    Enough,
    /// A client asks for a session; nothing more is decoded before [`Connection::accept`].
    Open(Open),
    /// The client has ended the connection.
    Done,
    /// The connection must end.
    Broken(Violation),
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Before CONNECT.
    New,
    /// CONNECT came, its session is being opened.
    Opening,
    /// Open.
    Open,
    /// The last packet was read.
    Ended,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    options: MqttOptions,
    limits: DecodeLimits,
    packets: Packets,
    phase: Phase,
    keep_alive: Duration,
    /// Identifier that was made for a client without one.
    assigned: Option<String>,
    persistent: bool,
    aliases: Vec<Option<Arc<str>>>,
    /// Messages of QoS 1 whose reply has not been written.
    unanswered: u32,
    /// Messages of QoS 2 that are not completed, as far as this connection knows.
    open: BTreeSet<NonZeroU16>,
    ordinal: u64,
}

impl Connection {
    /// The beginning of a connection.
    pub fn new(options: MqttOptions, limits: DecodeLimits) -> Self {
        let bytes_max =
            u32::try_from(limits.message_bytes_max.saturating_add(OVERHEAD_MAX)).unwrap_or(u32::MAX);
        Self {
            options,
            limits,
            packets: Packets::new(bytes_max),
            phase: Phase::New,
            keep_alive: Duration::ZERO,
            assigned: None,
            persistent: false,
            aliases: Vec::new(),
            unanswered: 0,
            open: BTreeSet::new(),
            ordinal: 0,
        }
    }

    /// Longest silence of the client: one and a half times its keep-alive, as the standard grants; `None` for any.
    pub fn silence_max(&self) -> Option<Duration> {
        (self.keep_alive > Duration::ZERO).then(|| self.keep_alive * 3 / 2)
    }

    /// Whether the client's session is open.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Decodes whole packets at the front of the buffer: how many bytes that was, and why it stopped. `fresh_id` gives
    /// an identifier to a client that has none.
    pub fn decode(
        &mut self,
        buffer: &[u8],
        table: &mut SeriesTable,
        rules: &TimeRules,
        intake: &mut Intake,
        fresh_id: impl FnOnce() -> String,
    ) -> (usize, Stop) {
        match self.phase {
            Phase::Opening => return (0, Stop::More),
            Phase::Ended => return (buffer.len(), Stop::Done),
            Phase::New if buffer.first().is_some_and(|first| *first != CONNECT) => {
                return (0, Stop::Broken(Violation::protocol("MQTT: the first packet is no CONNECT")));
            }
            Phase::New | Phase::Open => {}
        }
        let mut consumed = 0;
        let mut fresh_id = Some(fresh_id);
        loop {
            let rest = buffer.get(consumed..).unwrap_or_default();
            let packet = match self.packets.next(rest) {
                Ok(None) => return (consumed, Stop::More),
                Ok(Some((packet, length))) => {
                    consumed += length;
                    packet
                }
                Err(violation) => return (consumed, Stop::Broken(violation)),
            };
            let fresh_id = || fresh_id.take().map_or_else(String::new, |fresh| fresh());
            if let Some(stop) = self.packet(packet, table, rules, intake, fresh_id) {
                return (consumed, stop);
            }
        }
    }

    /// Takes one packet; returns why decoding stops after it, if it does.
    fn packet(
        &mut self,
        packet: Packet<'_>,
        table: &mut SeriesTable,
        rules: &TimeRules,
        intake: &mut Intake,
        fresh_id: impl FnOnce() -> String,
    ) -> Option<Stop> {
        let result = match packet {
            Packet::Connect(connect) => {
                return Some(self.connect(*connect, fresh_id).map_or_else(Stop::Broken, Stop::Open));
            }
            _ if self.phase != Phase::Open => {
                Err(Violation::protocol("MQTT: the first packet is no CONNECT"))
            }
            Packet::BorrowedPublish(message) => self.publish(message, table, rules, intake),
            Packet::Publish(publish) => self.topic(&publish).and_then(|topic| {
                let id = publish.packet_id.filter(|_| publish.qos != QoS::AtMostOnce);
                let (dup, qos, payload) = (publish.dup, publish.qos, &publish.payload);
                self.publish(BorrowedPublish { dup, qos, topic: &topic, id, payload }, table, rules, intake)
            }),
            Packet::Release(id) => {
                self.release(id, intake);
                Ok(())
            }
            Packet::Subscribe { id, filters } => {
                intake.replies.push(Reply::NotSubscribed(id, filters));
                Ok(())
            }
            Packet::Unsubscribe { id, filters } => {
                intake.replies.push(Reply::NotUnsubscribed(id, filters));
                Ok(())
            }
            Packet::Ping => {
                intake.replies.push(Reply::Pong);
                Ok(())
            }
            // [MQTT-3.14.2-2]
            Packet::Disconnect { keep: true, .. } if !self.persistent => {
                Err(Violation::protocol("MQTT: a session expiry with DISCONNECT and none with CONNECT"))
            }
            Packet::Disconnect { forget, .. } => {
                if forget && self.persistent {
                    self.end_message(MqttEffect::Forget, intake);
                }
                self.phase = Phase::Ended;
                return Some(Stop::Done);
            }
        };
        match result {
            Err(violation) => Some(Stop::Broken(violation)),
            Ok(()) => intake.is_large().then_some(Stop::Enough),
        }
    }

    fn connect(&mut self, connect: Connect, fresh_id: impl FnOnce() -> String) -> Result<Open, Violation> {
        if self.phase != Phase::New {
            return Err(Violation::protocol("MQTT: a second CONNECT"));
        }
        if connect.authenticates {
            let what = "a device is who its certificate says: there is no other authentication";
            return Err(Violation::new(DisconnectReasonCode::BadAuthenticationMethod, what));
        }
        if connect.client.len() > CLIENT_BYTES_MAX {
            let what = format!("a client identifier has at most {CLIENT_BYTES_MAX} bytes");
            return Err(Violation::new(DisconnectReasonCode::NotAuthorized, what));
        }
        self.phase = Phase::Opening;
        self.keep_alive = Duration::from_secs(connect.keep_alive.into());
        self.persistent = connect.persistent;
        let client = if connect.client.is_empty() {
            self.assigned.insert(fresh_id()).as_str().into()
        } else {
            connect.client.into()
        };
        if self.packets.put(&self.accepted(false), &mut BytesMut::new()).is_err() {
            let what = "the answer to CONNECT does not fit the client's maximum packet size";
            return Err(Violation::new(DisconnectReasonCode::PacketTooLarge, what));
        }
        Ok(Open { client, clean: connect.clean, persistent: connect.persistent })
    }

    /// The session is open: the answer to CONNECT.
    pub fn accept(&mut self, session_present: bool) -> Vec<u8> {
        self.phase = Phase::Open;
        let mut bytes = BytesMut::new();
        // It fits: `connect` has tried it.
        let _ = self.packets.put(&self.accepted(session_present), &mut bytes);
        bytes.to_vec()
    }

    fn accepted(&self, session_present: bool) -> Reply {
        Reply::Accepted {
            session_present,
            assigned: self.assigned.clone(),
            persistent: self.persistent,
            receive_max: self.options.receive_max,
            packet_bytes_max: self.packets.bytes_max(),
            aliases_max: ALIASES_MAX,
        }
    }

    fn publish(
        &mut self,
        message: BorrowedPublish<'_>,
        table: &mut SeriesTable,
        rules: &TimeRules,
        intake: &mut Intake,
    ) -> Result<(), Violation> {
        let BorrowedPublish { dup, qos, topic, id, payload } = message;
        let redelivered = dup || id.is_some_and(|id| self.open.contains(&id));
        self.admit(qos, id)?;
        self.ordinal += 1;
        let refusals = intake.refusals.len();
        let (topics, ordinal) = (&self.options.topics, self.ordinal);
        let verdict = topics.decode(topic, payload, ordinal, table, rules, &self.limits, intake);
        let reason_text = || intake.refusals.get(refusals).map(|refusal| refusal.message.clone());
        let outcome = match verdict {
            Verdict::Taken => Outcome::Taken(reason_text()),
            Verdict::Refused(Reason::BadTopic) => Outcome::BadTopic(reason_text().unwrap_or_default()),
            Verdict::Refused(_) => Outcome::BadPayload(reason_text().unwrap_or_default()),
        };
        // A refused message of QoS 2 ends with its PUBREC in version 5; in 3.1.1 the client continues with PUBREL.
        let ends_refused = self.packets.is_v5();
        let effect = match (qos, id) {
            (QoS::ExactlyOnce, Some(_)) if outcome.is_refused() && ends_refused => MqttEffect::None,
            (QoS::ExactlyOnce, Some(id)) => MqttEffect::Qos2 { id: id.get(), redelivered, ends_refused },
            _ => MqttEffect::None,
        };
        self.end_message(effect, intake);
        let message = Message { ordinal, outcome };
        match (qos, id) {
            (QoS::AtLeastOnce, Some(id)) => intake.replies.push(Reply::Published(id, message)),
            (QoS::ExactlyOnce, Some(id)) => intake.replies.push(Reply::Received(id, message)),
            _ => {}
        }
        Ok(())
    }

    /// Counts a message that will be answered.
    fn admit(&mut self, qos: QoS, id: Option<NonZeroU16>) -> Result<(), Violation> {
        let Some(id) = id else { return Ok(()) };
        match qos {
            QoS::AtLeastOnce => self.unanswered += 1,
            _ => _ = self.open.insert(id),
        }
        let on_their_way = self.unanswered as usize + self.open.len();
        let max = usize::from(self.options.receive_max.get());
        if self.packets.is_v5() && on_their_way > max {
            let what = format!("at most {max} messages may be in flight (receive_max)");
            return Err(Violation::new(DisconnectReasonCode::ReceiveMaximumExceeded, what));
        }
        Ok(())
    }

    fn release(&mut self, id: NonZeroU16, intake: &mut Intake) {
        self.open.remove(&id);
        self.ordinal += 1;
        self.end_message(MqttEffect::Release(id.get()), intake);
        intake.replies.push(Reply::Completed(id));
    }

    fn end_message(&self, effect: MqttEffect, intake: &mut Intake) {
        let readings_end = intake.readings.len();
        intake.messages.push(MessageMeta { seq: None, ordinal: self.ordinal, readings_end, effect });
    }

    /// The topic of a message, by its name or its alias.
    fn topic(&mut self, publish: &Publish) -> Result<Arc<str>, Violation> {
        let name: &str = &publish.topic;
        if name.contains(['+', '#', '\0']) {
            let what = "a message's topic has no wildcards";
            return Err(Violation::new(DisconnectReasonCode::TopicNameInvalid, what));
        }
        let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
        let Some(alias) = alias.map(NonZeroU16::get) else {
            if name.is_empty() {
                return Err(Violation::protocol("MQTT: a message without topic and alias"));
            }
            return Ok(name.into());
        };
        if alias > ALIASES_MAX {
            let what = format!("topic aliases are 1 to {ALIASES_MAX}");
            return Err(Violation::new(DisconnectReasonCode::TopicAliasInvalid, what));
        }
        let at = usize::from(alias) - 1;
        if !name.is_empty() {
            if self.aliases.len() <= at {
                self.aliases.resize(at + 1, None);
            }
            if let Some(slot) = self.aliases.get_mut(at) {
                *slot = Some(name.into());
            }
            return Ok(name.into());
        }
        let known = self.aliases.get(at).cloned().flatten();
        known.ok_or_else(|| Violation::protocol("MQTT: a topic alias that was never set"))
    }

    /// Writes a reply. If it ends a message, the message is no longer in flight.
    ///
    /// # Errors
    /// It does not fit what the client takes: the connection must end.
    pub fn put(&mut self, reply: &Reply, out: &mut BytesMut) -> Result<(), Violation> {
        match reply {
            Reply::Published(..) => self.unanswered = self.unanswered.saturating_sub(1),
            Reply::Received(id, message) if message.outcome.is_refused() && self.packets.is_v5() => {
                self.open.remove(id);
            }
            _ => {}
        }
        self.packets.put(reply, out).map_err(|error| {
            let what = format!("an answer does not fit what the client takes: {error}");
            Violation::new(DisconnectReasonCode::PacketTooLarge, what)
        })
    }

    /// The last packet to a client whose connection ends from here.
    pub fn close_packet(&mut self, why: &Violation) -> Vec<u8> {
        let mut out = BytesMut::new();
        match self.phase {
            Phase::New | Phase::Opening => self.packets.put_refused(why, &mut out),
            Phase::Open => self.packets.put_disconnect(why.reason, &why.what, &mut out),
            Phase::Ended => {}
        }
        out.to_vec()
    }
}
