//! One pass over a line that looks like one before: the usual case, in which nothing is refused.
//!
//! It takes a line whose measurement and tags stand there as in an earlier line, letter for letter, whose fields are
//! known from such lines (see [`crate::intake::shapes`]), and whose values and time are in order. Of anything else it
//! leaves no trace and the decoder proper reads the line, tells what is wrong with it, and learns its names.

use memchr::{memchr, memchr2};

use super::{Precision, parse, time_of};
use crate::{
    decode::{decimal, sink::Sink},
    intake::{MESSAGE_STATE_BYTES_MAX, NO_NUMBER, Reading, Value, check_state, shapes::Kind},
};

/// Measurement and tags at the front of a line, if there are no escapes in them.
pub(super) fn series_key(line: &[u8]) -> Option<&[u8]> {
    let key = line.get(..memchr(b' ', line)?)?;
    memchr(b'\\', key).is_none().then_some(key)
}

/// Takes the readings of a line; `None`, and nothing changed, when it is not of the usual kind.
pub(super) fn line(line: &[u8], precision: Precision, sink: &mut Sink<'_>) -> Option<()> {
    let start = sink.intake.readings.len();
    let taken = take(line.trim_ascii(), precision, sink);
    let count = sink.intake.readings.len() - start;
    if taken.is_none() || count > sink.room() {
        sink.intake.truncate_readings(start);
        return None;
    }
    sink.admit(count);
    taken
}

fn take(line: &[u8], precision: Precision, sink: &mut Sink<'_>) -> Option<()> {
    let end = memchr(b' ', line)?;
    let (key, rest) = line.split_at_checked(end)?;
    let shape = sink.table.shapes.find(Kind::LineProtocol, &sink.base, key)?;
    let shapes = &sink.table.shapes;
    let texts = !sink.intake.states.is_refused()
        && sink.intake.states.bytes() + line.len() <= MESSAGE_STATE_BYTES_MAX;
    let (now, readings, states) = (sink.rules.now, &mut sink.intake.readings, &mut sink.intake.states);
    let start = readings.len();
    let mut cursor = shapes.cursor(shape);
    let mut rest = behind_spaces(rest);
    loop {
        let expected = cursor
            .expected(shapes)
            .and_then(|(name, series)| Some((rest.strip_prefix(name)?.strip_prefix(b"=")?, series)));
        let (value, series) = match expected {
            Some(found) => {
                cursor.pass();
                found
            }
            None => {
                let (name, value) = rest.split_at_checked(memchr(b'=', rest)?)?;
                (value.get(1..)?, cursor.find(shapes, name)?)
            }
        };
        if !cursor.is_new(readings.get(start..)?, series) {
            return None;
        }
        let (measured, length) = measured(value, texts)?;
        if let Some(state) = measured.state() {
            states.push(readings.len(), state);
        }
        let number = measured.number().unwrap_or(NO_NUMBER);
        readings.push(Reading { series, time: now, value: number + 0.0 });
        rest = value.get(length..)?;
        match rest.strip_prefix(b",") {
            Some(next) => rest = next,
            None => break,
        }
    }
    sink.table.shapes.finish(&cursor);
    // Here stands a space or the end.
    let time = behind_spaces(rest);
    if !time.is_empty() {
        let time = time_of(std::str::from_utf8(time).ok()?, precision, sink.rules).ok()?;
        for reading in readings.get_mut(start..)? {
            reading.time = time;
        }
    }
    Some(())
}

fn behind_spaces(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some(next) = rest.strip_prefix(b" ") {
        rest = next;
    }
    rest
}

/// The value at the front and its length; a comma, a space or the end is behind it. `texts`: texts are taken.
#[inline]
fn measured(bytes: &[u8], texts: bool) -> Option<(Value<'_>, usize)> {
    if let Some((value, length)) = decimal::at_front(bytes)
        && matches!(bytes.get(length), None | Some(b',' | b' '))
    {
        return Some((Value::Number(value), length));
    }
    if let Some(quoted) = bytes.strip_prefix(b"\"") {
        return if texts { string(quoted) } else { None };
    }
    let length = memchr2(b',', b' ', bytes).unwrap_or(bytes.len());
    let value = parse::number(std::str::from_utf8(bytes.get(..length)?).ok()?).ok()?;
    Some((value, length))
}

/// The text of a quoted value without escapes, behind its first quotation mark, and the length of the value.
fn string(quoted: &[u8]) -> Option<(Value<'_>, usize)> {
    let end = memchr2(b'"', b'\\', quoted)?;
    let (text, behind) = quoted.split_at_checked(end)?;
    let text = std::str::from_utf8(text).ok().filter(|text| check_state(text).is_ok())?;
    let ends = matches!(behind, [b'"'] | [b'"', b',' | b' ', ..]);
    ends.then_some((Value::State(text), end + 2))
}

#[cfg(test)]
mod tests;
