//! Replies as packets of both versions.

use std::num::NonZeroU16;

use rmqtt_codec::{v3, v5};

use crate::intake::{Outcome, Reply};

/// A persistent session never expires: a device has few of them.
const EXPIRY_NEVER: u32 = u32::MAX;
const NO_BROKER: &str = "a gateway is no broker: it takes messages and forwards none";

pub(super) fn to_v3(reply: &Reply) -> v3::Packet {
    match reply {
        Reply::Accepted { session_present, .. } => v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: v3::ConnectAckReason::ConnectionAccepted,
            session_present: *session_present,
        }),
        Reply::Published(packet_id, _) => v3::Packet::PublishAck { packet_id: *packet_id },
        Reply::Received(packet_id, _) => v3::Packet::PublishReceived { packet_id: *packet_id },
        Reply::Completed(packet_id) => v3::Packet::PublishComplete { packet_id: *packet_id },
        Reply::NotSubscribed(packet_id, filters) => v3::Packet::SubscribeAck {
            packet_id: *packet_id,
            status: vec![v3::SubscribeReturnCode::Failure; *filters],
        },
        Reply::NotUnsubscribed(packet_id, _) => v3::Packet::UnsubscribeAck { packet_id: *packet_id },
        Reply::Pong => v3::Packet::PingResponse,
    }
}

/// `explain`: the client wants reasons in words.
pub(super) fn to_v5(reply: &Reply, explain: bool) -> v5::Packet {
    match reply {
        Reply::Accepted {
            session_present,
            assigned,
            persistent,
            receive_max,
            packet_bytes_max,
            aliases_max,
        } => v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
            session_present: *session_present,
            session_expiry_interval_secs: persistent.then_some(EXPIRY_NEVER),
            receive_max: *receive_max,
            max_packet_size: Some(*packet_bytes_max),
            assigned_client_id: assigned.clone().map(Into::into),
            topic_alias_max: *aliases_max,
            wildcard_subscription_available: false,
            subscription_identifiers_available: false,
            shared_subscription_available: false,
            ..Default::default()
        })),
        Reply::Published(id, message) => {
            v5::Packet::PublishAck(acknowledgement(*id, &message.outcome, explain))
        }
        Reply::Received(id, message) => {
            v5::Packet::PublishReceived(acknowledgement(*id, &message.outcome, explain))
        }
        Reply::Completed(packet_id) => v5::Packet::PublishComplete(v5::PublishAck2 {
            packet_id: *packet_id,
            reason_code: v5::PublishAck2Reason::Success,
            properties: Vec::new(),
            reason_string: None,
        }),
        Reply::NotSubscribed(packet_id, filters) => v5::Packet::SubscribeAck(v5::SubscribeAck {
            packet_id: *packet_id,
            properties: Vec::new(),
            reason_string: explain.then(|| NO_BROKER.to_owned().into()),
            status: vec![v5::SubscribeAckReason::ImplementationSpecificError; *filters],
        }),
        Reply::NotUnsubscribed(packet_id, filters) => v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
            packet_id: *packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: vec![v5::UnsubscribeAckReason::NoSubscriptionExisted; *filters],
        }),
        Reply::Pong => v5::Packet::PingResponse,
    }
}

fn acknowledgement(packet_id: NonZeroU16, outcome: &Outcome, explain: bool) -> v5::PublishAck {
    let (reason_code, reason_text) = match outcome {
        Outcome::Taken(reason_text) => (v5::PublishAckReason::Success, reason_text.clone()),
        Outcome::BadTopic(why) => (v5::PublishAckReason::TopicNameInvalid, Some(why.clone())),
        Outcome::BadPayload(why) => (v5::PublishAckReason::PayloadFormatInvalid, Some(why.clone())),
    };
    let reason_string = reason_text.filter(|_| explain).map(Into::into);
    v5::PublishAck { packet_id, reason_code, properties: Vec::new(), reason_string }
}
