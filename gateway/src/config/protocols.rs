//! The configuration tables of single protocols.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{decode::line_protocol::Precision, mqtt::topics::TopicSetting};

/// The table `[mqtt]`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// Maximum unacknowledged QoS 1 and 2 publishes of an MQTT connection [default: 1024]
    #[arg(
        id = "mqtt_receive_max",
        long = "mqtt-receive-max",
        value_name = "N",
        env = "CATCHMENT_GATEWAY_MQTT_RECEIVE_MAX"
    )]
    pub receive_max: Option<u16>,
    /// Payloads of topics beyond the built-in ones, by pattern. Only in the file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<BTreeMap<String, TopicSetting>>,
}

/// The table `[line_protocol]`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineProtocolSettings {
    /// Unit of InfluxDB line protocol timestamps: ns, us, ms or s [default: ns]
    #[arg(
        id = "line_protocol_precision",
        long = "line-protocol-precision",
        value_name = "UNIT",
        env = "CATCHMENT_GATEWAY_LINE_PROTOCOL_PRECISION"
    )]
    pub precision: Option<Precision>,
}

/// The full name of a key in the table `[json]`.
pub(super) fn json_key(key: &str) -> &'static str {
    match key {
        "time_key" => "json.time_key",
        "time_format" => "json.time_format",
        _ => "json.ignore",
    }
}
