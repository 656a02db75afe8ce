//! What the protocols need of the configuration.

use std::sync::Arc;

use crate::{
    decode::{json, line_protocol},
    mqtt::connection::MqttOptions,
};

/// What the protocols need of the configuration.
#[derive(Clone, Debug)]
pub struct ProtocolOptions {
    /// Unit of the times of line protocol.
    pub precision: line_protocol::Precision,
    /// How JSON lines are read.
    pub json: Arc<json::Options>,
    /// The rules of MQTT connections.
    pub mqtt: MqttOptions,
}
