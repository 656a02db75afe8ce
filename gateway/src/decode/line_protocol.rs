//! InfluxDB line protocol: `measurement[,tag=value…] field=value[,field=value…] [time]`.
//!
//! * Metric: `measurement_field`, each character outside of `[A-Za-z0-9_]` replaced by `_`, and a leading digit
//!   preceded by `_`, as users of Telegraf with Prometheus expect. Tags become labels, their names likewise; a
//!   tag that breaks the rules of labels (`site`, `gateway` and `device` are reserved) refuses the line.
//! * A string field is a state, a boolean both a number and a state.
//! * Fields are refused one by one: texts that are no state, numbers beyond the range, a name given twice.
//! * A line that does not follow the grammar is refused whole.
//!
//! A line with the series and fields of an earlier one is read by `fast_path`, with the same result as the rest here.
//!
//! `parse` cuts a line into slices and checks its grammar before any reading is taken. Lines are cut by
//! [`super::Lines::line_protocol`], which knows where a quoted value may hold a line end.

mod fast_path;
mod parse;

use std::{borrow::Cow, str::FromStr};

use catchment_partial::Timestamp;
use catchment_proto::Labels;

use serde::{Deserialize, Serialize};

use self::parse::Line;
use super::{DecodeLimits, Decoded, Lines, Next, decimal, excerpt, lines, names, sink::Sink};
use crate::intake::{Intake, NameKind, Reason, SeriesTable, TimeRules, Value, shapes::Kind};

/// Unit of the times at the end of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// `ns`, the protocol's own.
    #[default]
    #[serde(rename = "ns")]
    Nanoseconds,
    /// `us`.
    #[serde(rename = "us")]
    Microseconds,
    /// `ms`.
    #[serde(rename = "ms")]
    Milliseconds,
    /// `s`.
    #[serde(rename = "s")]
    Seconds,
}

impl Precision {
    const fn nanos(self) -> i128 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }
}

/// A text that names no [`Precision`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precision is ns, us, ms or s, not {0:?}")]
pub struct PrecisionError(String);

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(text: &str) -> Result<Self, PrecisionError> {
        match text {
            "ns" => Ok(Self::Nanoseconds),
            "us" => Ok(Self::Microseconds),
            "ms" => Ok(Self::Milliseconds),
            "s" => Ok(Self::Seconds),
            _ => Err(PrecisionError(excerpt(text))),
        }
    }
}

/// Decodes one line, neither blank nor a comment, into a message of its own.
pub fn decode_line(
    line: &[u8],
    precision: Precision,
    ordinal: u64,
    table: &mut SeriesTable,
    rules: &TimeRules,
    limits: &DecodeLimits,
    intake: &mut Intake,
) -> Decoded {
    let mut sink = Sink::new(intake, table, rules, limits, ordinal);
    if sink.refuse_too_long(line.len()) {
        return Decoded::Refused;
    }
    match take_line(line, precision, &mut sink) {
        Ok(()) => {
            sink.end_message();
            Decoded::Message
        }
        Err(message) => sink.refuse_message(Reason::Malformed, || message),
    }
}

/// Decodes any number of lines into the sink, as one message; bad lines are refused one by one.
pub(crate) fn decode(payload: &[u8], precision: Precision, sink: &mut Sink<'_>) -> Decoded {
    if sink.refuse_too_long(payload.len()) {
        return Decoded::Refused;
    }
    let mut lines = Lines::line_protocol(sink.limits.message_bytes_max);
    let mut rest = payload;
    while let Next::Line { line, consumed } = lines.finish(rest) {
        if let Err(message) = take_line(line, precision, sink) {
            sink.refuse(Reason::Malformed, 1, || message);
        }
        rest = rest.get(consumed..).unwrap_or_default();
    }
    sink.end_message();
    Decoded::Message
}

/// Puts the readings of a line into the sink; the error says how it breaks the grammar.
fn take_line(line: &[u8], precision: Precision, sink: &mut Sink<'_>) -> Result<(), String> {
    if fast_path::line(line, precision, sink).is_some() {
        return Ok(());
    }
    let text = std::str::from_utf8(line).map_err(|_| "the line is not valid UTF-8".to_owned())?;
    let text = lines::trim(text);
    let line = Line::parse(text, sink.limits.readings_max)
        .map_err(|rule| format!("not line protocol: {rule}: {:?}", excerpt(text.trim_ascii())))?;
    let fields = line.fields.len();
    let Some(time) = time_of_line(&line, precision, sink) else { return Ok(()) };
    let tags: Vec<_> = line.tags.iter().map(|(name, value)| (identifier(name), unescape(value))).collect();
    // Also where the line is refused for it: of two names mapped to one, this is the only report.
    line.tags.iter().zip(&tags).for_each(|((written, _), (name, _))| {
        sink.note_spelling(NameKind::Label, written, name);
    });
    let own = Labels::new(tags.iter().map(|(name, value)| (&**name, &**value)));
    let labels = match own.and_then(|own| sink.labels(own)) {
        Ok(labels) => labels,
        Err(error) => {
            sink.refuse(Reason::BadLabel, fields + line.beyond, || error.to_string());
            return Ok(());
        }
    };
    sink.begin_moment();
    if let Some(key) = fast_path::series_key(text.trim_ascii().as_bytes()) {
        sink.begin_shape(Kind::LineProtocol, key);
    }
    let mut metric = String::with_capacity(64);
    push_identifier(&mut metric, line.measurement);
    metric.push('_');
    let mut written = format!("{}_", line.measurement);
    let (prefix, written_prefix) = (metric.len(), written.len());
    for (name, value) in &line.fields {
        if sink.admit(1) == 0 {
            continue;
        }
        metric.truncate(prefix);
        push_identifier(&mut metric, name);
        let text = parse::string(value);
        let value = text.as_deref().map_or_else(|| parse::number(value), |text| Ok(Value::State(text)));
        match value {
            Ok(value) => {
                written.truncate(written_prefix);
                written.push_str(name);
                sink.note_spelling(NameKind::Metric, &written, &metric);
                let series = sink.take(&metric, &labels, time, value);
                if let Some(series) = series.filter(|_| !name.contains('\\')) {
                    sink.learn(name, series);
                }
            }
            Err(kind) => sink.refuse(Reason::NotANumber, 1, || {
                format!(
                    "{:?} is {kind}; a reading is a finite number, a boolean or a string",
                    excerpt(&metric)
                )
            }),
        }
    }
    if line.beyond > 0 {
        sink.admit(line.beyond);
    }
    Ok(())
}

/// The time of a line's readings, which are refused if it is none that is taken.
fn time_of_line(line: &Line<'_>, precision: Precision, sink: &mut Sink<'_>) -> Option<Timestamp> {
    let Some(time) = line.time else { return Some(sink.rules.now) };
    match time_of(time, precision, sink.rules) {
        Ok(time) => Some(time),
        Err(reason) => {
            let time = excerpt(time);
            sink.refuse(reason, line.fields.len() + line.beyond, || match reason {
                Reason::TooOld => format!("time {time} is older than past_max"),
                _ => format!("time {time} is ahead by more than future_max: is the precision right?"),
            });
            None
        }
    }
}

/// The time of a line, its grammar checked.
fn time_of(text: &str, precision: Precision, rules: &TimeRules) -> Result<Timestamp, Reason> {
    let beyond = if text.starts_with('-') { Reason::TooOld } else { Reason::TooFarAhead };
    // Digits alone: it does not parse only when there are too many.
    let time = match decimal::integer(text.as_bytes()) {
        Some(time) => time,
        None => text.parse().map_err(|_| beyond)?,
    };
    let nanos = i64::try_from(i128::from(time) * precision.nanos()).map_err(|_| beyond)?;
    rules.check(Timestamp::from_nanos(nanos))
}

/// Whether a backslash before this character stands for the character alone, outside of quoted values.
const fn is_escaped(c: char) -> bool {
    matches!(c, ',' | '=' | ' ')
}

/// A tag's value without its escapes.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match rest.peek() {
            Some(next) if c == '\\' && is_escaped(*next) => {}
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A name as an identifier.
fn identifier(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return names::identifier(text);
    }
    let mut out = String::with_capacity(text.len() + 1);
    push_identifier(&mut out, text);
    Cow::Owned(out)
}

/// Appends a name with what no identifier can hold replaced; stops soon after the longest name allowed, which is
/// refused then.
fn push_identifier(out: &mut String, text: &str) {
    names::push_but(out, text, |c, next| c == '\\' && next.is_some_and(is_escaped));
}

/// Whether a line follows the grammar.
pub(crate) fn is_line(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|text| text.starts_with('#') || Line::parse(text, 1).is_ok())
}

#[cfg(test)]
mod tests;
