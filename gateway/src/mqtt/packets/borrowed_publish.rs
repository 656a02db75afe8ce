//! Ordinary messages, read in place: nearly everything that devices send, without the copies that the library makes.
//!
//! Packets that this file does not accept go to the library, which decides: the two must agree on packets that both
//! accept.

use std::num::NonZeroU16;

use rmqtt_codec::types::QoS;

/// First half-byte of a PUBLISH.
const PUBLISH: u8 = 3;

/// A message whose packet has no property, and a topic of printable ASCII without wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BorrowedPublish<'a> {
    /// The client has sent it before, or may have.
    pub dup: bool,
    /// How it is to be delivered.
    pub qos: QoS,
    /// Its topic; not empty.
    pub topic: &'a str,
    /// Packet identifier; there is one exactly when `qos` is not 0.
    pub id: Option<NonZeroU16>,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> BorrowedPublish<'a> {
    /// Reads a whole packet, of which `header` bytes are its type and length; `None` if it is anything else.
    pub(super) fn read(packet: &'a [u8], header: usize, is_v5: bool) -> Option<Self> {
        let first = *packet.first()?;
        if first >> 4 != PUBLISH {
            return None;
        }
        let dup = first & 0x08 != 0;
        let qos = match (first >> 1) & 3 {
            0 if !dup => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            2 => QoS::ExactlyOnce,
            _ => return None,
        };
        let (length, rest) = packet.get(header..)?.split_first_chunk::<2>()?;
        let (topic, mut rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let printable = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'+' | b'#');
        if topic.is_empty() || !topic.iter().all(printable) {
            return None;
        }
        let topic = std::str::from_utf8(topic).ok()?;
        let id = if qos == QoS::AtMostOnce {
            None
        } else {
            let (id, behind) = rest.split_first_chunk::<2>()?;
            rest = behind;
            Some(NonZeroU16::new(u16::from_be_bytes(*id))?)
        };
        if is_v5 {
            let (properties, behind) = rest.split_first()?;
            if *properties != 0 {
                return None;
            }
            rest = behind;
        }
        Some(Self { dup, qos, topic, id, payload: rest })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Packet, Packets};
    use crate::mqtt::tests::bytes::connect;

    /// As the library reads it: duplicate, topic, identifier, payload.
    type Read = (bool, u8, String, Option<u16>, Vec<u8>);

    /// What is read in place, and what the library reads, of a packet.
    fn both(version: u8, packet: &[u8]) -> (Option<Read>, Option<Read>) {
        let mut packets = Packets::new(100_000);
        packets.next(&connect(version, 2, "press")).unwrap();
        let in_place = match packets.next(packet) {
            Ok(Some((Packet::BorrowedPublish(plain), length))) => {
                assert_eq!(length, packet.len());
                let id = plain.id.map(|id| id.get());
                let (topic, payload) = (plain.topic.to_owned(), plain.payload.to_vec());
                Some((plain.dup, plain.qos.value(), topic, id, payload))
            }
            _ => None,
        };
        let library = match packets.read(packet, 2) {
            Ok(Packet::Publish(publish)) => {
                let id = publish.packet_id.map(|id| id.get());
                let topic = publish.topic.to_string();
                Some((publish.dup, publish.qos.value(), topic, id, publish.payload.to_vec()))
            }
            _ => None,
        };
        (in_place, library)
    }

    proptest! {
        #[test]
        fn what_is_read_in_place_is_what_the_library_reads(
            version in prop::sample::select(vec![4_u8, 5]),
            flags in 0_u8..16,
            topic in "[a-z/+# é\u{0}]{0,12}",
            id in 0_u16..3,
            properties in prop::sample::select(vec![vec![0_u8], vec![3, 0x23, 0, 1], vec![]]),
            payload in prop::collection::vec(any::<u8>(), 0..20),
            cut in 0_usize..3,
        ) {
            let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
            body.extend_from_slice(topic.as_bytes());
            if flags & 6 != 0 {
                body.extend_from_slice(&id.to_be_bytes());
            }
            if version == 5 {
                body.extend_from_slice(&properties);
            }
            body.extend_from_slice(&payload);
            body.truncate(body.len().saturating_sub(cut * 7));
            let mut packet = vec![0x30 | flags, u8::try_from(body.len()).unwrap()];
            packet.extend_from_slice(&body);
            let (in_place, library) = both(version, &packet);
            if in_place.is_some() {
                prop_assert_eq!(in_place, library);
            }
        }
    }

    #[test]
    fn an_ordinary_message_is_read_in_place() {
        let v3 = b"\x32\x0d\0\x09telemetry\0\x07";
        assert_eq!(both(4, v3).0, Some((false, 1, "telemetry".to_owned(), Some(7), Vec::new())));
        let v5 = b"\x32\x0f\0\x09telemetry\0\x07\0x";
        assert_eq!(both(5, v5).0, Some((false, 1, "telemetry".to_owned(), Some(7), b"x".to_vec())));
    }
}
