//! Frames of `catchment/1`: one protobuf `DeviceMessage` each, see `proto/catchment/v1/device.proto`.
//!
//! Frames are cut by `catchment_proto::frame::split`. Two paths with the same result: `fast_path` reads a message in
//! the form that encoders write straight from its bytes into the intake; any other message, and any refusal, goes
//! through the generated types here. [`SeriesAliases`] holds what the indexes of a connection's columns mean. Times are
//! summed in `i128`, which cannot overflow with the values of a message, and checked against the range afterwards.

mod aliases;
mod fast_path;
mod wire_format;

use std::collections::BTreeMap;

use catchment_partial::Timestamp;
use catchment_proto::{
    Labels, MetricName,
    wire::{Column, DeviceMessage, Reading, SeriesName, device_message::Kind},
};
use prost::Message;

use self::aliases::Defined;
pub use self::aliases::SeriesAliases;

use super::{DecodeLimits, Decoded, excerpt, refuse_too_long, sink::Sink};
use crate::intake::{Intake, Reason, SeriesTable, TimeRules, Value};

/// Decodes the body of one frame into the intake.
///
/// `ordinal` is that of the frame on its connection. A body beyond `message_bytes_max` is refused like one that
/// cannot be parsed.
pub fn decode_frame(
    body: &[u8],
    ordinal: u64,
    aliases: &mut SeriesAliases,
    table: &mut SeriesTable,
    rules: &TimeRules,
    limits: &DecodeLimits,
    intake: &mut Intake,
) -> Decoded {
    if body.len() > limits.message_bytes_max {
        refuse_too_long(limits, ordinal, intake);
        return Decoded::Refused;
    }
    let mut sink = Sink::new(intake, table, rules, limits, ordinal);
    if fast_path::decode(body, aliases, &mut sink).is_none() {
        return decode_message(body, aliases, &mut sink);
    }
    sink.end_message();
    Decoded::Message
}

/// Decodes a frame by way of the generated types: all that protobuf allows.
fn decode_message(body: &[u8], aliases: &mut SeriesAliases, sink: &mut Sink<'_>) -> Decoded {
    let readings = match DeviceMessage::decode(body) {
        Ok(DeviceMessage { kind: Some(Kind::Readings(readings)) }) => readings,
        Ok(DeviceMessage { kind: Some(Kind::Hello(hello)) }) => return sink.hello(hello.epoch),
        Ok(DeviceMessage { kind: None }) => {
            return sink.refuse_message(Reason::Malformed, || {
                "a DeviceMessage holds a hello or readings, this one neither".to_owned()
            });
        }
        Err(error) => {
            return sink.refuse_message(Reason::Malformed, || format!("not a DeviceMessage: {error}"));
        }
    };
    sink.seq = Some(readings.seq).filter(|seq| *seq != 0);
    for series in &readings.define {
        define(series, aliases, sink);
    }
    for column in &readings.columns {
        take_column(column, aliases, sink);
    }
    for reading in &readings.readings {
        let _series = take_reading(reading, sink);
    }
    sink.end_message();
    Decoded::Message
}

fn labels_of(labels: &BTreeMap<String, String>) -> Result<Labels, (Reason, String)> {
    Labels::new(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .map_err(|error| (Reason::BadLabel, error.to_string()))
}

fn series_of(
    metric: &str,
    labels: &BTreeMap<String, String>,
    sink: &mut Sink<'_>,
) -> Result<u32, (Reason, String)> {
    let labels = labels_of(labels)?;
    sink.series(metric, &labels).map_err(|message| (Reason::BadMetric, message))
}

/// Names an index anew. A refused definition leaves its index refused too: values for it must not land in the
/// series that it meant before.
fn define(series: &SeriesName, aliases: &mut SeriesAliases, sink: &mut Sink<'_>) {
    let (index, max) = (series.index, aliases.series_max());
    if index == 0 {
        return sink.refuse(Reason::Malformed, 1, || "series indexes begin at 1".to_owned());
    }
    if index > max {
        return sink.refuse(Reason::TooManySeries, 1, || {
            format!("series indexes are 1 to {max}, the gateway's series_max; {index} is beyond")
        });
    }
    let meaning = defined(series, sink).map_err(|(reason, message)| {
        sink.refuse(reason, 1, || format!("definition of series {index}: {message}"));
        reason
    });
    aliases.define(index, meaning);
}

fn defined(series: &SeriesName, sink: &mut Sink<'_>) -> Result<Defined, (Reason, String)> {
    let labels = labels_of(&series.labels)?;
    let bad = |message| (Reason::BadMetric, message);
    let index = sink.series(&series.metric, &labels).map_err(bad)?;
    let metric = MetricName::new(&series.metric).map_err(|error| bad(error.to_string()))?;
    Ok(Defined { metric, labels, series: index, generation: sink.table.generation() })
}

/// The session's index of the series that an index means; looked up again when the session's table of names has
/// started anew since.
fn resolve(index: u32, aliases: &mut SeriesAliases, sink: &mut Sink<'_>) -> Option<Result<u32, Reason>> {
    let mut defined = match aliases.meaning(index)? {
        Ok(defined) if defined.generation == sink.table.generation() => return Some(Ok(defined.series)),
        Ok(defined) => defined.clone(),
        Err(reason) => return Some(Err(*reason)),
    };
    // A name that was taken once breaks no rule.
    let series = sink.series(defined.metric.as_str(), &defined.labels).map_err(|_| Reason::BadMetric);
    if let Ok(series) = series {
        (defined.series, defined.generation) = (series, sink.table.generation());
        aliases.define(index, Ok(defined));
    }
    Some(series)
}

/// Takes the values of a column, or refuses each that cannot be taken.
fn take_column(column: &Column, aliases: &mut SeriesAliases, sink: &mut Sink<'_>) {
    let (index, given) = (column.series, column.values.len());
    let series = match resolve(index, aliases, sink) {
        Some(Ok(series)) => series,
        Some(Err(reason)) => {
            return sink.refuse(reason, given, || format!("the definition of series {index} was refused"));
        }
        None => {
            return sink.refuse(Reason::Malformed, given, || {
                format!("no series {index} was defined on this connection")
            });
        }
    };
    let steps = column.step_ns.as_slice();
    if steps.len() > 1 && steps.len() + 1 != given {
        return sink.refuse(Reason::Malformed, given, || {
            format!(
                "series {index}: {} steps for {given} values; one fewer than values, one alone, or none",
                steps.len()
            )
        });
    }
    if !column.states.is_empty() && column.states.len() != given {
        return sink.refuse(Reason::Malformed, given, || {
            format!("series {index}: {} states for {given} values; as many, or none", column.states.len())
        });
    }
    let admitted = sink.admit(given);
    let each = if let [step] = steps { Some(*step) } else { None };
    let clock = column.first_time_ns == 0;
    let mut nanos = i128::from(column.first_time_ns);
    let mut steps = steps.iter();
    for (at, value) in column.values.iter().take(admitted).enumerate() {
        if at > 0 {
            nanos += i128::from(each.or_else(|| steps.next().copied()).unwrap_or(0));
        }
        let time = if clock { Ok(sink.rules.now) } else { checked(nanos, sink.rules) };
        let state = column.states.get(at).map_or("", |state| state);
        let what = || format!("value {} of series {index}", at + 1);
        take_value(series, time, (*value, state), sink, what);
    }
}

/// Takes a single reading or refuses it. Returns its series, if that has a name.
fn take_reading(reading: &Reading, sink: &mut Sink<'_>) -> Option<u32> {
    if sink.admit(1) == 0 {
        return None;
    }
    let series = match series_of(&reading.metric, &reading.labels, sink) {
        Ok(series) => series,
        Err((reason, message)) => {
            sink.refuse(reason, 1, || message);
            return None;
        }
    };
    let clock = reading.time_ns == 0;
    let time = if clock { Ok(sink.rules.now) } else { checked(reading.time_ns.into(), sink.rules) };
    let what = || format!("{:?}", excerpt(&reading.metric));
    take_value(series, time, (reading.value, &reading.state), sink, what);
    Some(series)
}

/// A time in nanoseconds that the rules admit.
fn checked(nanos: i128, rules: &TimeRules) -> Result<Timestamp, Reason> {
    let beyond = if nanos < 0 { Reason::TooOld } else { Reason::TooFarAhead };
    i64::try_from(nanos).map_err(|_| beyond).and_then(|nanos| rules.check(Timestamp::from_nanos(nanos)))
}

/// What a number and a state mean together; the error says why they mean nothing.
fn value<'t>((number, state): (f64, &'t str)) -> Result<Value<'t>, (Reason, &'static str)> {
    match state {
        "" if number.is_finite() => Ok(Value::Number(number)),
        "" => Err((Reason::NotANumber, "is not finite")),
        "true" if number == 1.0 => Ok(Value::boolean(true)),
        "false" if number == 0.0 => Ok(Value::boolean(false)),
        state if number.is_nan() => Ok(Value::State(state)),
        _ => {
            Err((Reason::BadState, "is a state with a value, which must be NaN (1 with true, 0 with false)"))
        }
    }
}

/// Takes a value, or refuses it; `what` names it in the message.
fn take_value(
    series: u32,
    time: Result<Timestamp, Reason>,
    given: (f64, &str),
    sink: &mut Sink<'_>,
    what: impl Fn() -> String,
) {
    let value = match value(given) {
        Ok(value) => value,
        Err((reason, kind)) => return sink.refuse(reason, 1, || format!("{} {kind}", what())),
    };
    match time {
        Ok(time) => {
            if sink.admit_value(value, what) {
                sink.push_value(series, time, value);
            }
        }
        Err(reason @ Reason::TooOld) => {
            sink.refuse(reason, 1, || format!("{}: its time is older than past_max", what()));
        }
        Err(reason) => {
            sink.refuse(reason, 1, || format!("{}: its time is ahead by more than future_max", what()));
        }
    }
}

#[cfg(test)]
mod tests;
