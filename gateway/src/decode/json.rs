//! JSON lines, and the JSON of other protocols' payloads: one value, an object of readings or an array of such.
//!
//! An object is read twice: `outline::Outline` checks the syntax of all of it and finds `ts`, `labels`, `seq`
//! and `values`, wherever they stand; then `walk` puts its readings straight into the [`Intake`]. So an object
//! that is no JSON leaves no reading, and memory does not grow with the number of members.
//!
//! An object that looks like an earlier one is read once, by `fast_path`, which accepts a subset of what the two accept
//! and leaves the rest to them.
//!
//! * Long form: an object whose member `values` is an object; its other members but `ts`, `labels` and `seq`
//!   are refused. Any other object is short form: `ts`, `labels` and `seq` have their meaning, each other
//!   member is a reading. Of the wrong type they make us refuse the object's readings: without them the
//!   readings would land at a wrong time or in a wrong series.
//! * Nested objects are flattened with `_`. A name given twice in one object counts once, the first time.
//! * Names are mapped as in line protocol (`names`). Two that are one metric's then are never summed: the first
//!   one of a connection has it, others are refused.
//! * `nan`, `-Infinity` and their like, which are no JSON but which many libraries write, are refused one by one: see
//!   `tokens`. Byte order marks and NUL bytes at both ends are passed over.
//! * [`Options`] say what else devices write.
//! * Array elements with a `seq` are a message each, all others of the array are one message together. In the payload
//!   of another protocol `seq` is left aside, whatever it is: that protocol numbers its messages.

mod fast_path;
mod options;
mod outline;
mod scalar;
pub mod tokens;
mod walk;

use std::fmt;

use catchment_partial::Timestamp;
use catchment_proto::Labels;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub use self::options::{JsonSettings, Options, OptionsError, Strings, TimeFormat};
use self::outline::Outline;
use super::{DecodeLimits, Decoded, lines, sink::Sink};
use crate::intake::{Intake, NameKind, Reason, SeriesTable, TimeRules, shapes::Kind};

/// Decodes one line (or payload) into the intake.
///
/// `ordinal` is that of the line on its connection. A line beyond `message_bytes_max` is refused like any that
/// cannot be parsed.
pub fn decode_line(
    line: &[u8],
    options: &Options,
    ordinal: u64,
    table: &mut SeriesTable,
    rules: &TimeRules,
    limits: &DecodeLimits,
    intake: &mut Intake,
) -> Decoded {
    decode(line, options, &mut Sink::new(intake, table, rules, limits, ordinal))
}

/// Decodes JSON, which may run over several lines, into the sink.
pub(crate) fn decode(json: &[u8], options: &Options, sink: &mut Sink<'_>) -> Decoded {
    if sink.refuse_too_long(json.len()) {
        return Decoded::Refused;
    }
    let Ok(text) = std::str::from_utf8(json) else {
        return sink.refuse_message(Reason::Malformed, || not_utf8(json).to_owned());
    };
    let save_point = sink.save_point();
    let error = match value(text, options, sink) {
        Ok(decoded) => return decoded,
        Err(error) => error,
    };
    sink.rewind(save_point);
    mend(text, options, sink).unwrap_or_else(|| {
        sink.rewind(save_point);
        sink.refuse_message(Reason::Malformed, || format!("not JSON: {error}"))
    })
}

/// Decodes JSON with the extras that many devices write into it; `None` if it is no JSON without them either.
#[cold]
fn mend(text: &str, options: &Options, sink: &mut Sink<'_>) -> Option<Decoded> {
    let save_point = sink.save_point();
    let trimmed = lines::trim(text);
    if tokens::is_word(trimmed) {
        let word = trimmed.to_owned();
        return Some(sink.refuse_message(Reason::NotANumber, || {
            format!("{word} is no number, and readings are an object or an array of objects")
        }));
    }
    if trimmed.len() < text.len()
        && let Ok(decoded) = value(trimmed, options, sink)
    {
        return Some(decoded);
    }
    sink.rewind(save_point);
    value(&tokens::marked(trimmed)?, options, sink).ok()
}

/// Names the encoding of bytes that are not UTF-8, as far as it is known.
fn not_utf8(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => "not valid UTF-8 but UTF-16: text is UTF-8 here",
        _ => "not valid UTF-8",
    }
}

/// Decodes a line's value; an error of syntax may leave readings behind, which the caller takes back.
fn value(text: &str, options: &Options, sink: &mut Sink<'_>) -> Result<Decoded, serde_json::Error> {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => {
            if options.is_plain() && fast_path::object(text, options.texts_are_states(), sink).is_some() {
                sink.end_message();
                return Ok(Decoded::Message);
            }
            let outline = Outline::of(text, options)?;
            if let Some(hello) = outline.hello() {
                if !sink.ends {
                    return Ok(sink.refuse_message(Reason::Malformed, || {
                        "a hello is for connections of JSON lines: this protocol numbers its messages"
                            .to_owned()
                    }));
                }
                return Ok(match outline::epoch(hello) {
                    Ok(epoch) => sink.hello(epoch),
                    Err(message) => sink.refuse_message(Reason::Malformed, || message),
                });
            }
            let decoded = object(text, &outline, sink)?;
            if decoded == Decoded::Message {
                sink.end_message();
            }
            Ok(decoded)
        }
        Some(b'[') => {
            let mut json = serde_json::Deserializer::from_str(text);
            let decoded = Elements { options, sink }.deserialize(&mut json)?;
            json.end()?;
            Ok(decoded)
        }
        // Reported as an error if it is no JSON at all.
        _ => serde_json::from_str::<&RawValue>(text).map(|_| {
            sink.refuse_message(Reason::Malformed, || {
                "readings are an object or an array of objects".to_owned()
            })
        }),
    }
}

/// Puts an object's readings into the sink, without ending their message. Leaves `sink.seq` as the object's.
fn object(text: &str, outline: &Outline<'_, '_>, sink: &mut Sink<'_>) -> Result<Decoded, serde_json::Error> {
    sink.seq = match outline.seq() {
        _ if !sink.ends => None,
        Ok(seq) => seq,
        Err(message) => return Ok(sink.refuse_message(Reason::Malformed, || message)),
    };
    sink.begin_moment();
    let taken = moment(outline, sink);
    let (readings, short) = match outline.values() {
        Some(values) => (values, false),
        None => (text, true),
    };
    match taken {
        Ok((time, labels)) => {
            if !short {
                outline.refuse_others(sink);
            }
            let raw = outline.labels.map_or("", RawValue::get);
            sink.begin_shape(Kind::Json, raw.as_bytes());
            walk::readings(readings, short, outline.options, time, &labels, sink)?;
        }
        Err((reason, message)) => {
            let count = walk::count(readings, short, outline.options, sink.limits)?;
            sink.refuse(reason, count, || message);
        }
    }
    Ok(Decoded::Message)
}

/// The time and the labels that an object's readings have in common.
fn moment(outline: &Outline<'_, '_>, sink: &mut Sink<'_>) -> Result<(Timestamp, Labels), (Reason, String)> {
    if let Some(name) = outline.twice {
        return Err((Reason::Malformed, format!("{name:?} is given twice")));
    }
    let time = match outline.moment() {
        None => sink.rules.now,
        Some((raw, is_ts)) => {
            let options = outline.options;
            options.time(raw, is_ts).and_then(|time| sink.rules.check(time)).map_err(|reason| {
                let (name, given) = (options.time_name(is_ts), scalar::shown(raw));
                let message = match reason {
                    Reason::TooOld => format!("{name} {given} is older than past_max"),
                    Reason::TooFarAhead => {
                        format!("{name} {given} is ahead by more than future_max")
                    }
                    _ => format!("{name} is {}; {given} is not", options.time_words(is_ts)),
                };
                (reason, message)
            })?
        }
    };
    let labels = match outline.labels {
        None => Labels::none(),
        Some(labels) => {
            let note = |written: &str, name: &str| sink.note_spelling(NameKind::Label, written, name);
            outline::labels(labels, note).map_err(|message| (Reason::BadLabel, message))?
        }
    };
    let labels = sink.labels(labels).map_err(|error| (Reason::BadLabel, error.to_string()))?;
    Ok((time, labels))
}

/// Decodes the elements of an array.
struct Elements<'s, 'a, 'o> {
    options: &'o Options,
    sink: &'s mut Sink<'a>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_, '_> {
    type Value = Decoded;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Decoded, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_, '_> {
    type Value = Decoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Decoded, A::Error> {
        let (mut refused, mut ended, mut open) = (false, false, false);
        while let Some(raw) = elements.next_element::<&RawValue>()? {
            self.sink.seq = None;
            let Some(outline) = element(raw, self.options, self.sink) else {
                refused = true;
                continue;
            };
            // Elements before one with a number of its own are not part of its message.
            if self.sink.ends && open && outline.seq().is_ok_and(|seq| seq.is_some()) {
                self.sink.end_message();
                (ended, open) = (true, false);
            }
            let save_point = self.sink.save_point();
            let decoded = object(raw.get(), &outline, self.sink).unwrap_or_else(|error| {
                self.sink.rewind(save_point);
                self.sink.refuse_message(Reason::Malformed, || format!("not JSON: {error}"))
            });
            match (decoded, self.sink.seq) {
                (Decoded::Message, Some(_)) => {
                    self.sink.end_message();
                    ended = true;
                }
                (Decoded::Message, None) => open = true,
                _ => refused = true,
            }
        }
        self.sink.seq = None;
        if !ended && !open && refused {
            return Ok(Decoded::Refused);
        }
        // An empty array is a message without readings.
        if open || !ended {
            self.sink.end_message();
        }
        Ok(Decoded::Message)
    }
}

/// The outline of an array's element, if it is an object of readings; otherwise it is refused.
fn element<'de, 'o>(
    raw: &'de RawValue,
    options: &'o Options,
    sink: &mut Sink<'_>,
) -> Option<Outline<'de, 'o>> {
    let message = match Outline::of(raw.get(), options) {
        Ok(outline) if outline.hello().is_none() => return Some(outline),
        Ok(_) => "a hello stands alone on its line".to_owned(),
        Err(_) if !raw.get().starts_with('{') => {
            format!("the elements of an array are objects, {} is not", scalar::shown(raw.get()))
        }
        Err(error) => format!("not JSON: {error}"),
    };
    sink.refuse(Reason::Malformed, 1, || message);
    None
}

#[cfg(test)]
mod tests;
