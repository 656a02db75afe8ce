//! What a client sends, from the packets of both versions.

use rmqtt_codec::{types::MQTT_LEVEL_311, v3, v5};

use super::{
    packet::{Connect, Packet},
    violation::Violation,
};

/// Flags of a CONNECT: byte of its variable header, and the one that is set for a clean start.
const FLAGS_AT: usize = 7;
const CLEAN_START: u8 = 2;

/// Sets clean start in a CONNECT of version 5 without a client identifier: there is no session to resume under an
/// identifier that is made up for it. The standard allows both, the library only this.
pub(super) fn with_clean_start(connect: &mut [u8]) {
    let Some(header) = skip_length(connect, 1) else { return };
    // Protocol name, version, flags and keep-alive; then the properties with their length.
    let Some(properties) = skip_length(connect, header + FLAGS_AT + 3) else { return };
    let Some(length) = variable(connect, header + FLAGS_AT + 3) else { return };
    let Some(end) = properties.checked_add(length) else { return };
    if connect.get(end..).and_then(|rest| rest.first_chunk::<2>()) == Some(&[0, 0])
        && let Some(flags) = connect.get_mut(header + FLAGS_AT)
    {
        *flags |= CLEAN_START;
    }
}

/// Bytes of a number of variable length, at most four.
fn number(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = bytes.get(at..)?;
    let last = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    bytes.get(..=last)
}

/// Where the bytes after it begin.
fn skip_length(bytes: &[u8], at: usize) -> Option<usize> {
    Some(at + number(bytes, at)?.len())
}

/// Its value.
fn variable(bytes: &[u8], at: usize) -> Option<usize> {
    Some(number(bytes, at)?.iter().rev().fold(0, |value, byte| (value << 7) | usize::from(byte & 0x7f)))
}

fn unexpected(what: &str) -> Violation {
    Violation::protocol(format!("MQTT: a client does not send {what}"))
}

pub(super) fn from_v3(packet: v3::Packet) -> Result<Packet<'static>, Violation> {
    Ok(match packet {
        v3::Packet::Connect(connect) => {
            if connect.protocol.level() != MQTT_LEVEL_311 {
                return Err(Violation::version());
            }
            Packet::Connect(Box::new(Connect {
                client: connect.client_id.to_string(),
                clean: connect.clean_session,
                persistent: !connect.clean_session,
                keep_alive: connect.keep_alive,
                authenticates: false,
            }))
        }
        v3::Packet::Publish(publish) => Packet::Publish(publish),
        v3::Packet::PublishRelease { packet_id } => Packet::Release(packet_id),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            Packet::Subscribe { id: packet_id, filters: topic_filters.len() }
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            Packet::Unsubscribe { id: packet_id, filters: topic_filters.len() }
        }
        v3::Packet::PingRequest => Packet::Ping,
        v3::Packet::Disconnect => Packet::Disconnect { forget: false, keep: false },
        _ => return Err(unexpected("this packet")),
    })
}

pub(super) fn from_v5(packet: v5::Packet) -> Result<Packet<'static>, Violation> {
    Ok(match packet {
        v5::Packet::Connect(connect) => Packet::Connect(Box::new(Connect {
            client: connect.client_id.to_string(),
            clean: connect.clean_start,
            persistent: connect.session_expiry_interval_secs > 0,
            keep_alive: connect.keep_alive,
            authenticates: connect.auth_method.is_some(),
        })),
        v5::Packet::Publish(publish) => Packet::Publish(publish),
        v5::Packet::PublishRelease(release) => Packet::Release(release.packet_id),
        v5::Packet::Subscribe(subscribe) => {
            Packet::Subscribe { id: subscribe.packet_id, filters: subscribe.topic_filters.len() }
        }
        v5::Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe { id: unsubscribe.packet_id, filters: unsubscribe.topic_filters.len() }
        }
        v5::Packet::PingRequest => Packet::Ping,
        v5::Packet::Disconnect(goodbye) => {
            let expiry = goodbye.session_expiry_interval_secs;
            Packet::Disconnect { forget: expiry == Some(0), keep: expiry.is_some_and(|expiry| expiry > 0) }
        }
        _ => return Err(unexpected("this packet")),
    })
}
