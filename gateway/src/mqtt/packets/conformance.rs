//! Violations of the standards that the library lets pass: checked on the bytes of a whole packet, before the library
//! reads it.
//!
//! Ordinary messages skip this ([`super::BorrowedPublish`] accepts none that could be wrong in these ways). Source:
//! MQTT Version 3.1.1 and MQTT Version 5.0, OASIS Standards; each check names the statement that it enforces.

use rmqtt_codec::v5::DisconnectReasonCode as Code;

use super::violation::Violation;

/// [MQTT-1.5.5-1]; 3.1.1 does not forbid it.
pub(super) const OVERLONG: &str = "a number in more bytes than it needs";

type Checked<T = ()> = Result<T, Violation>;

fn malformed<T>(what: &str) -> Checked<T> {
    Err(Violation::new(Code::MalformedPacket, format!("MQTT: {what}")))
}

fn protocol<T>(what: &str) -> Checked<T> {
    Err(Violation::protocol(format!("MQTT: {what}")))
}

/// Checks a packet of which `header` bytes are its type and length. `is_v5`: of a CONNECT, its own version.
pub(super) fn check(packet: &[u8], header: usize, is_v5: bool) -> Checked {
    let first = packet.first().copied().unwrap_or_default();
    let mut rest = Rest(packet.get(header..).unwrap_or_default());
    let (kind, flags) = (first >> 4, first & 0x0f);
    // [MQTT-2.2.2-2], [MQTT-2.1.3-1]
    let due = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
    if kind != 3 && flags != due {
        return malformed("reserved flags of a packet's first byte");
    }
    match kind {
        1 => connect(&mut rest, is_v5)?,
        3 => return publish(&mut rest, flags, is_v5),
        6 if is_v5 => release(&mut rest)?,
        8 => filters(&mut rest, is_v5, true)?,
        10 => filters(&mut rest, is_v5, false)?,
        12 => {}
        14 if is_v5 => disconnect(&mut rest)?,
        14 => {}
        // The library checks packets that a client never sends, and the short ones of 3.1.1.
        _ => return Ok(()),
    }
    if rest.0.is_empty() { Ok(()) } else { malformed("bytes behind the end of a packet") }
}

fn connect(rest: &mut Rest<'_>, is_v5: bool) -> Checked {
    // Name and level were read to find the version.
    let _name = rest.binary()?;
    let _level = rest.byte()?;
    let flags = rest.byte()?;
    let _keep_alive = rest.number(2)?;
    let has = |flag: u8| flags & flag != 0;
    let (will, will_qos) = (has(0x04), (flags >> 3) & 3);
    // [MQTT-3.1.2-3]; 3.1.1 closes without a CONNACK.
    if has(0x01) {
        return malformed("a reserved flag of CONNECT");
    }
    if will_qos == 3 {
        return malformed("a will of QoS 3");
    }
    if !will && (will_qos != 0 || has(0x20)) {
        return malformed("QoS or retain of a will without a will");
    }
    // [MQTT-3.1.2-22] of 3.1.1; version 5 allows it.
    if !is_v5 && has(0x40) && !has(0x80) {
        return malformed("a password without a user name");
    }
    if is_v5 {
        let has = rest.properties(PacketKind::Connect)?;
        if has.auth_data && !has.auth_method {
            return protocol("authentication data without a method");
        }
    }
    rest.text("a client identifier")?;
    if will {
        if is_v5 {
            rest.properties(PacketKind::Will)?;
        }
        topic_name(rest.text("the topic of a will")?, "the topic of a will")?;
        rest.binary()?;
    }
    if has(0x80) {
        rest.text("a user name")?;
    }
    if has(0x40) {
        rest.binary()?;
    }
    Ok(())
}

fn publish(rest: &mut Rest<'_>, flags: u8, is_v5: bool) -> Checked {
    let qos = (flags >> 1) & 3;
    // [MQTT-3.3.1-4]
    if qos == 3 {
        return malformed("QoS 3");
    }
    // [MQTT-3.3.1-2]
    if qos == 0 && flags & 0x08 != 0 {
        return malformed("DUP with QoS 0");
    }
    let topic = rest.text("a topic")?;
    // Empty, it may be given by an alias.
    if !(topic.is_empty() && is_v5) {
        topic_name(topic, "a message's topic")?;
    }
    if qos > 0 {
        rest.id()?;
    }
    if is_v5 {
        rest.properties(PacketKind::Publish)?;
    }
    Ok(())
}

fn release(rest: &mut Rest<'_>) -> Checked {
    rest.id()?;
    if rest.0.is_empty() {
        return Ok(());
    }
    if !matches!(rest.byte()?, 0 | 0x92) {
        return protocol("a reason that PUBREL does not have");
    }
    rest.rest_properties(PacketKind::Acknowledgement)
}

fn disconnect(rest: &mut Rest<'_>) -> Checked {
    if rest.0.is_empty() {
        return Ok(());
    }
    // Those that a client may give.
    let is_known = matches!(
        rest.byte()?,
        0 | 4 | 0x80..=0x83 | 0x90 | 0x93..=0x97 | 0x98 | 0x99
    );
    if !is_known {
        return protocol("a reason that a client's DISCONNECT does not have");
    }
    rest.rest_properties(PacketKind::Disconnect)
}

/// Of SUBSCRIBE and UNSUBSCRIBE.
fn filters(rest: &mut Rest<'_>, is_v5: bool, options: bool) -> Checked {
    rest.id()?;
    if is_v5 {
        rest.properties(if options { PacketKind::Subscribe } else { PacketKind::Unsubscribe })?;
    }
    if rest.0.is_empty() {
        return protocol("no filter");
    }
    while !rest.0.is_empty() {
        topic_filter(rest.text("a filter")?)?;
        if !options {
            continue;
        }
        let options = rest.byte()?;
        let reserved = if is_v5 { 0xc0 } else { 0xfc };
        if options & reserved != 0 || options & 3 == 3 {
            return malformed("options that a SUBSCRIBE does not have");
        }
        if is_v5 && options & 0x30 == 0x30 {
            return protocol("a retain handling that SUBSCRIBE does not have");
        }
    }
    Ok(())
}

/// [MQTT-4.7.1-1], [MQTT-4.7.3-1]
fn topic_name(topic: &str, what: &str) -> Checked {
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(Violation::new(
            Code::TopicNameInvalid,
            format!("MQTT: {what} has at least one character and no wildcards"),
        ));
    }
    Ok(())
}

/// [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1] of 3.1.1; of version 5 likewise.
fn topic_filter(filter: &str) -> Checked {
    if filter.is_empty() {
        return malformed("an empty filter");
    }
    let mut levels = filter.split('/').rev();
    let last = levels.next().is_none_or(|last| last == "#" || is_level(last));
    if last && levels.all(is_level) {
        return Ok(());
    }
    let what = "MQTT: in a filter, + stands alone between slashes, and # alone at the end";
    Err(Violation::new(Code::TopicFilterInvalid, what))
}

/// A level of a filter that is not the last.
fn is_level(level: &str) -> bool {
    level == "+" || !level.contains(['+', '#'])
}

/// Which packet properties are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PacketKind {
    Connect,
    Will,
    Publish,
    Acknowledgement,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

/// What of the properties matters beyond their own.
#[derive(Default)]
struct SeenProperties {
    auth_method: bool,
    auth_data: bool,
}

/// How a property's value is written, and which values are allowed.
#[derive(Clone, Copy)]
enum Value {
    /// So many bytes.
    Number(usize),
    /// So many bytes, not 0.
    Positive(usize),
    /// 0 or 1.
    Flag,
    Variable,
    Text,
    Binary,
    Pair,
}

/// The properties that a client may send, by packet: identifier, value, packets.
const PROPERTIES: &[(u32, Value, &[PacketKind])] = &[
    (0x01, Value::Flag, &[PacketKind::Publish, PacketKind::Will]),
    (0x02, Value::Number(4), &[PacketKind::Publish, PacketKind::Will]),
    (0x03, Value::Text, &[PacketKind::Publish, PacketKind::Will]),
    (0x08, Value::Text, &[PacketKind::Publish, PacketKind::Will]),
    (0x09, Value::Binary, &[PacketKind::Publish, PacketKind::Will]),
    (0x0b, Value::Variable, &[PacketKind::Subscribe]),
    (0x11, Value::Number(4), &[PacketKind::Connect, PacketKind::Disconnect]),
    (0x15, Value::Text, &[PacketKind::Connect]),
    (0x16, Value::Binary, &[PacketKind::Connect]),
    (0x17, Value::Flag, &[PacketKind::Connect]),
    (0x18, Value::Number(4), &[PacketKind::Will]),
    (0x19, Value::Flag, &[PacketKind::Connect]),
    (0x1f, Value::Text, &[PacketKind::Acknowledgement, PacketKind::Disconnect]),
    (0x21, Value::Positive(2), &[PacketKind::Connect]),
    (0x22, Value::Number(2), &[PacketKind::Connect]),
    (0x23, Value::Number(2), &[PacketKind::Publish]),
    (0x27, Value::Positive(4), &[PacketKind::Connect]),
    (
        USER,
        Value::Pair,
        &[
            PacketKind::Connect,
            PacketKind::Will,
            PacketKind::Publish,
            PacketKind::Acknowledgement,
            PacketKind::Subscribe,
            PacketKind::Unsubscribe,
            PacketKind::Disconnect,
        ],
    ),
];
const USER: u32 = 0x26;
const RESPONSE_TOPIC: u32 = 0x08;
const SUBSCRIPTION: u32 = 0x0b;
const TOPIC_ALIAS: u32 = 0x23;

/// The rest of a packet that is not checked yet.
struct Rest<'p>(&'p [u8]);

impl<'p> Rest<'p> {
    fn take(&mut self, count: usize) -> Checked<&'p [u8]> {
        let Some((front, rest)) = self.0.split_at_checked(count) else {
            return malformed("a packet's length is wrong");
        };
        self.0 = rest;
        Ok(front)
    }

    fn byte(&mut self) -> Checked<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A number of so many bytes, at most four.
    fn number(&mut self, count: usize) -> Checked<u32> {
        Ok(self.take(count)?.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }

    /// [MQTT-2.2.1-3]
    fn id(&mut self) -> Checked {
        if self.number(2)? == 0 { protocol("packet identifier 0") } else { Ok(()) }
    }

    fn binary(&mut self) -> Checked<&'p [u8]> {
        let length = self.number(2)?;
        self.take(length as usize)
    }

    /// [MQTT-1.5.4-1], [MQTT-1.5.4-2]: UTF-8 without halves of surrogate pairs and without U+0000.
    fn text(&mut self, what: &str) -> Checked<&'p str> {
        match std::str::from_utf8(self.binary()?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            Ok(_) => malformed(&format!("U+0000 in {what}")),
            Err(_) => malformed(&format!("{what} is not valid UTF-8")),
        }
    }

    fn variable(&mut self) -> Checked<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte == 0 && shift > 0 {
                return malformed(OVERLONG);
            }
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        malformed("a number of more than four bytes")
    }

    /// Properties that may be left out at the end of a packet.
    fn rest_properties(&mut self, of: PacketKind) -> Checked {
        if self.0.is_empty() { Ok(()) } else { self.properties(of).map(drop) }
    }

    fn properties(&mut self, of: PacketKind) -> Checked<SeenProperties> {
        let length = self.variable()?;
        let mut properties = Rest(self.take(length as usize)?);
        let (mut seen, mut has) = (0_u64, SeenProperties::default());
        while !properties.0.is_empty() {
            let id = properties.variable()?;
            // [MQTT-3.3.4-6]
            if of == PacketKind::Publish && id == SUBSCRIPTION {
                return protocol("a client does not send a subscription identifier with a message");
            }
            let known = PROPERTIES.iter().find(|(known, _, packets)| *known == id && packets.contains(&of));
            let Some((_, value, _)) = known else {
                return malformed("a property that this packet does not have");
            };
            let bit = 1_u64 << (id & 63);
            if seen & bit != 0 && id != USER {
                return protocol("a property is given twice");
            }
            seen |= bit;
            properties.value(id, *value)?;
            has.auth_method |= id == 0x15;
            has.auth_data |= id == 0x16;
        }
        Ok(has)
    }

    fn value(&mut self, id: u32, value: Value) -> Checked {
        match value {
            Value::Number(count) => {
                let number = self.number(count)?;
                if id == TOPIC_ALIAS && number == 0 {
                    return Err(Violation::new(Code::TopicAliasInvalid, "MQTT: topic alias 0"));
                }
            }
            Value::Positive(count) => {
                if self.number(count)? == 0 {
                    return protocol("a property is 0 that must not be");
                }
            }
            Value::Flag => {
                if self.byte()? > 1 {
                    return protocol("a property must be 0 or 1");
                }
            }
            Value::Variable => {
                if self.variable()? == 0 {
                    return protocol("subscription identifier 0");
                }
            }
            Value::Text => {
                let text = self.text("a property")?;
                // [MQTT-3.3.2-14]
                if id == RESPONSE_TOPIC && text.contains(['+', '#']) {
                    return protocol("a response topic has no wildcards");
                }
            }
            Value::Binary => drop(self.binary()?),
            Value::Pair => {
                self.text("a user property")?;
                self.text("a user property")?;
            }
        }
        Ok(())
    }
}
