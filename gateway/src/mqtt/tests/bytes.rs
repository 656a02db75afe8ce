//! Packets by hand, from MQTT Version 3.1.1 and MQTT Version 5.0.

/// Flag of a CONNECT: clean session (3.1.1), clean start (5).
pub(super) const CLEAN: u8 = 2;
pub(super) const PING: [u8; 2] = [0xc0, 0];
pub(super) const PONG: [u8; 2] = [0xd0, 0];

/// A number of variable length.
fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

pub(super) fn with_length(bytes: &[u8]) -> Vec<u8> {
    [variable(bytes.len()), bytes.to_vec()].concat()
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [vec![first], with_length(body)].concat()
}

/// A string with its length.
pub(super) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// The beginning of a CONNECT, keep-alive 60 seconds.
pub(super) fn connect_header(version: u8, flags: u8) -> Vec<u8> {
    [text("MQTT"), vec![version, flags, 0, 60]].concat()
}

pub(crate) fn connect(version: u8, flags: u8, client: &str) -> Vec<u8> {
    connect_with(version, flags, &[], client)
}

pub(super) fn connect_with(version: u8, flags: u8, properties: &[u8], client: &str) -> Vec<u8> {
    let properties = if version < 5 { Vec::new() } else { with_length(properties) };
    packet(0x10, &[connect_header(version, flags), properties, text(client)].concat())
}

/// First byte of a PUBLISH that is sent again.
pub(super) fn redelivered(mut publish: Vec<u8>) -> Vec<u8> {
    publish[0] |= 8;
    publish
}

pub(crate) fn publish(version: u8, qos: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(version, qos, id, topic, &[], payload)
}

pub(super) fn publish_with(
    version: u8,
    qos: u8,
    id: u16,
    topic: &str,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let id = if qos == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
    let properties = if version < 5 { Vec::new() } else { with_length(properties) };
    packet(0x30 | (qos << 1), &[text(topic), id, properties, payload.to_vec()].concat())
}

/// PUBREL.
pub(crate) fn release(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}

/// PUBACK (4), PUBREC (5) or PUBCOMP (7) that says nothing but success; in version 5 with that reason and no
/// properties.
pub(super) fn acknowledged(version: u8, kind: u8, id: u16) -> Vec<u8> {
    // Without reason and properties a PUBACK may leave them out.
    let success: &[u8] = if version < 5 || kind == 4 { &[] } else { &[0, 0] };
    packet(kind << 4, &[&id.to_be_bytes(), success].concat())
}

/// What stands behind the fixed header of the only packet.
pub(super) fn body(packet: &[u8]) -> &[u8] {
    let end = packet.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap();
    &packet[end + 2..]
}

/// The beginning of a DISCONNECT with a reason, where its length is what the two bytes behind say.
pub(super) fn is_disconnect(bytes: &[u8], reason: u8) -> bool {
    bytes.first() == Some(&0xe0) && bytes.get(2) == Some(&reason)
}
