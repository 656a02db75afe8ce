//! One message beside its readings.

/// Metadata of one message of a session; sequence numbers count these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMeta {
    /// Sequence number, when the device gave one.
    pub seq: Option<u64>,
    /// Ordinal of the message on its connection, from 1.
    pub ordinal: u64,
    /// Where its readings end in [`super::Intake::readings`]; they begin where those of the message before end.
    pub readings_end: usize,
    /// What it means for its client's packet identifiers (MQTT).
    pub effect: MqttEffect,
}

/// What a message means for the packet identifiers of its client (MQTT, QoS 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MqttEffect {
    /// Nothing.
    #[default]
    None,
    /// A QoS 2 PUBLISH: it counts once until its identifier is released. A client that redelivers it sets DUP.
    Qos2 {
        /// The identifier.
        id: u16,
        /// The client has sent it before on this connection, or says that it may have on another one. Else it is a
        /// new message, whatever is kept of the identifier: the client has lost its own state.
        redelivered: bool,
        /// A refusal of all its readings ends the message (MQTT 5): its identifier is free again with the answer.
        ends_refused: bool,
    },
    /// The identifier is free again.
    Release(u16),
    /// The client's session is to be forgotten.
    Forget,
}
