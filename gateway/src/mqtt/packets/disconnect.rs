//! The last packet of a connection that the gateway ends, in the codes and within the bounds of its client.

use bytes::BytesMut;
use rmqtt_codec::{v3, v5, v5::DisconnectReasonCode};
use tokio_util::codec::Encoder as _;

use super::{
    codec::{Packets, Version},
    fitting::put_fitting,
    violation::{VERSION, Violation},
};

impl Packets {
    /// Writes why a CONNECT is refused: by the version's own codes.
    pub fn put_refused(&mut self, why: &Violation, out: &mut BytesMut) {
        let _ = match &mut self.version {
            // A version that is not spoken here: the answer that every version understands.
            Version::Unknown | Version::V3(_) if why.reason == VERSION => {
                out.extend_from_slice(&[0x20, 2, 0, 1]);
                Ok(())
            }
            Version::Unknown => Ok(()),
            // Version 3.1.1 has few codes; for the rest the connection is closed.
            Version::V3(codec) => refused_v3(why.reason).map_or(Ok(()), |return_code| {
                let refused = v3::ConnectAck { return_code, session_present: false };
                codec.encode(v3::Packet::ConnectAck(refused), out)
            }),
            Version::V5(codec) => put_fitting(codec, self.client_max, out, |in_words| {
                let reason_code = refused_v5(why.reason);
                let reason_string = in_words.then(|| why.what.clone().into());
                let refused = v5::ConnectAck { reason_code, reason_string, ..Default::default() };
                v5::Packet::ConnectAck(Box::new(refused))
            }),
        };
    }

    /// Writes why the connection ends, where the version has a packet for it.
    pub fn put_disconnect(&mut self, reason: DisconnectReasonCode, what: &str, out: &mut BytesMut) {
        if let Version::V5(codec) = &mut self.version {
            let _ = put_fitting(codec, self.client_max, out, |in_words| {
                v5::Packet::Disconnect(v5::Disconnect {
                    reason_code: reason,
                    session_expiry_interval_secs: None,
                    server_reference: None,
                    reason_string: in_words.then(|| what.to_owned().into()),
                    user_properties: Vec::new(),
                })
            });
        }
    }
}

const fn refused_v3(reason: DisconnectReasonCode) -> Option<v3::ConnectAckReason> {
    match reason {
        DisconnectReasonCode::NotAuthorized => Some(v3::ConnectAckReason::IdentifierRejected),
        DisconnectReasonCode::QuotaExceeded
        | DisconnectReasonCode::ServerBusy
        | DisconnectReasonCode::ServerShuttingDown => Some(v3::ConnectAckReason::ServiceUnavailable),
        _ => None,
    }
}

const fn refused_v5(reason: DisconnectReasonCode) -> v5::ConnectAckReason {
    match reason {
        DisconnectReasonCode::NotAuthorized => v5::ConnectAckReason::ClientIdentifierNotValid,
        DisconnectReasonCode::BadAuthenticationMethod => v5::ConnectAckReason::BadAuthenticationMethod,
        DisconnectReasonCode::PacketTooLarge => v5::ConnectAckReason::PacketTooLarge,
        DisconnectReasonCode::ProtocolError => v5::ConnectAckReason::ProtocolError,
        DisconnectReasonCode::TopicNameInvalid => v5::ConnectAckReason::TopicNameInvalid,
        DisconnectReasonCode::QuotaExceeded => v5::ConnectAckReason::QuotaExceeded,
        DisconnectReasonCode::ServerBusy => v5::ConnectAckReason::ServerBusy,
        DisconnectReasonCode::ServerShuttingDown => v5::ConnectAckReason::ServerUnavailable,
        _ => v5::ConnectAckReason::MalformedPacket,
    }
}
