//! Messages of devices as bytes, and answers read from bytes, in the protocols that number and acknowledge messages.

use catchment_gateway::session::protocol::Protocol;
use catchment_proto::{
    Labels, MetricName, frame,
    wire::{self, device_message, gateway_message},
};
use prost::Message as _;

use crate::device::{Message, ToDevice};

/// A device begins an epoch.
pub fn hello(protocol: Protocol, epoch: &str) -> Vec<u8> {
    match protocol {
        Protocol::Json => format!("{{\"hello\":{{\"epoch\":\"{epoch}\"}}}}\n").into_bytes(),
        _ => framed(device_message::Kind::Hello(wire::Hello { epoch: epoch.to_owned() })),
    }
}

/// A message; `numbered`: with its sequence number. A numbered line of JSON has one reading: it has one time and one
/// set of labels.
pub fn message(
    protocol: Protocol,
    message: &Message,
    numbered: bool,
    series: &[(MetricName, Labels)],
) -> Vec<u8> {
    match protocol {
        Protocol::Json => line(message, numbered, series),
        _ => {
            let reading = |reading: &crate::truth::Reading| {
                let (metric, labels) = &series[reading.series];
                wire::Reading {
                    metric: metric.as_str().to_owned(),
                    labels: labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                    time_ns: reading.time,
                    value: reading.value.unwrap_or(f64::NAN),
                    state: reading.state.unwrap_or_default().to_owned(),
                }
            };
            let readings = message.readings.iter().map(reading).collect();
            let seq = if numbered { message.seq } else { 0 };
            framed(device_message::Kind::Readings(wire::Readings { seq, readings, ..Default::default() }))
        }
    }
}

fn framed(kind: device_message::Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&wire::DeviceMessage { kind: Some(kind) }, &mut bytes);
    bytes
}

fn line(message: &Message, numbered: bool, series: &[(MetricName, Labels)]) -> Vec<u8> {
    let object = |reading: &crate::truth::Reading| {
        let (metric, labels) = &series[reading.series];
        let seq = if numbered { format!("\"seq\":{},", message.seq) } else { String::new() };
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let value = match (reading.value, reading.state) {
            (Some(value), None) => value.to_string(),
            (Some(_), Some(state)) => state.to_owned(),
            (None, state) => format!("\"{}\"", state.unwrap_or_default()),
        };
        format!(
            "{{{seq}\"ts\":{},\"values\":{{\"{}\":{}}},\"labels\":{{{}}}}}",
            reading.time / 1_000_000,
            metric.as_str(),
            value,
            labels.join(",")
        )
    };
    let objects: Vec<_> = message.readings.iter().map(object).collect();
    match objects.as_slice() {
        [one] => format!("{one}\n"),
        several => format!("[{}]\n", several.join(",")),
    }
    .into_bytes()
}

/// The answer to a hello.
///
/// # Errors
/// It is something else, as a refusal is.
pub fn welcome(protocol: Protocol, bytes: &[u8]) -> Result<ToDevice, String> {
    let number = match protocol {
        Protocol::Json => {
            let text = String::from_utf8_lossy(bytes);
            let behind = text.split_once("\"ack\":").filter(|_| text.contains("\"welcome\""));
            behind.and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        }
        _ => frame::split(bytes, bytes.len()).ok().flatten().and_then(|(body, _)| {
            match wire::GatewayMessage::decode(body).ok()?.kind? {
                gateway_message::Kind::Welcome(welcome) => Some(welcome.ack),
                _ => None,
            }
        }),
    };
    number.map(ToDevice::Welcome).ok_or_else(|| format!("no welcome: {:?}", String::from_utf8_lossy(bytes)))
}
