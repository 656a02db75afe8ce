//! One pass over an object that looks like one before: the usual case, in which nothing is refused.
//!
//! It takes an object whose names are all known from earlier ones (see [`crate::intake::shapes`]), whose members are
//! numbers, booleans, texts and objects of such, without escapes, and whose `ts`, `labels` and `seq` are in order. Of anything
//! else it leaves no trace and the decoder proper reads the object, tells what is wrong with it, and learns its names.
//! So the two never differ in what they take, and this one decides nothing about what is refused.

use catchment_partial::Timestamp;
use catchment_proto::Labels;

use super::{
    outline::has_meaning,
    scalar::{count_integer, millis},
};
use crate::{
    decode::{decimal, sink::Sink},
    intake::{
        MESSAGE_STATE_BYTES_MAX, NO_NUMBER, Reading, States, TimeRules, check_state,
        shapes::{Cursor, Kind, Shapes},
    },
};

/// Decodes an object from its opening brace on into readings; `None`, and nothing changed, when it is not of the usual
/// kind. Leaves `sink.seq` as the object's. `texts`: texts are states.
pub(super) fn object(text: &str, texts: bool, sink: &mut Sink<'_>) -> Option<()> {
    let save_point = sink.save_point();
    sink.begin_moment();
    let taken = take(text, texts, sink);
    if taken.is_none() {
        sink.undo(save_point);
    }
    taken
}

fn take(text: &str, texts: bool, sink: &mut Sink<'_>) -> Option<()> {
    let room = sink.room();
    let (base, ends, depth_max) = (&sink.base, sink.ends, sink.limits.depth_max);
    let start = sink.intake.readings.len();
    let mut scan = Scan {
        text,
        bytes: text.as_bytes(),
        at: 0,
        base,
        rules: sink.rules,
        depth_max,
        shapes: &mut sink.table.shapes,
        cursor: None,
        readings: &mut sink.intake.readings,
        texts: texts && !sink.intake.states.is_refused() && text.len() <= MESSAGE_STATE_BYTES_MAX,
        states: &mut sink.intake.states,
        start,
        flat: String::new(),
        ts: None,
        seq: None,
        labelled: false,
        values: false,
    };
    scan.outermost()?;
    let count = scan.readings.len() - start;
    let seq = scan.seq;
    // Beyond numbers, `seq` may be anything where it means nothing.
    if count > room || (seq.is_some() && !ends) {
        return None;
    }
    sink.seq = seq;
    sink.admit(count);
    Some(())
}

struct Scan<'t, 's> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    base: &'s Labels,
    rules: &'s TimeRules,
    depth_max: usize,
    shapes: &'s mut Shapes,
    cursor: Option<Cursor>,
    readings: &'s mut Vec<Reading>,
    states: &'s mut States,
    /// Texts are taken as states.
    texts: bool,
    /// Where the object's readings begin.
    start: usize,
    /// Names of nested members.
    flat: String,
    ts: Option<Timestamp>,
    seq: Option<u64>,
    labelled: bool,
    values: bool,
}

impl<'t> Scan<'t, '_> {
    fn outermost(&mut self) -> Option<()> {
        self.white();
        self.byte(b'{')?;
        self.members(None, 1, true)?;
        self.white();
        if self.at != self.bytes.len() {
            return None;
        }
        // Without labels, but taken for an object with some.
        let cursor = self.cursor.as_ref();
        if !self.labelled && cursor.is_some_and(|cursor| !self.shapes.raw(cursor.shape()).is_empty()) {
            return None;
        }
        if let Some(cursor) = cursor {
            self.shapes.finish(cursor);
        }
        if let Some(ts) = self.ts {
            for reading in self.readings.get_mut(self.start..)? {
                reading.time = ts;
            }
        }
        Some(())
    }

    /// The members of an object whose brace is passed, and its closing brace. `prefix`: length of its name in `flat`.
    fn members(&mut self, prefix: Option<usize>, depth: usize, outermost: bool) -> Option<()> {
        let mut others = false;
        self.white();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Some(());
        }
        loop {
            self.white();
            let expected = if prefix.is_none() { self.expected() } else { None };
            if let Some(series) = expected {
                self.colon()?;
                others = true;
                self.reading(series)?;
            } else {
                let name = self.string()?;
                self.colon()?;
                if outermost && has_meaning(name) {
                    self.meaning(name, depth)?;
                } else {
                    others = true;
                    self.member(name, prefix, depth)?;
                }
            }
            if outermost && others && self.values {
                return None;
            }
            self.white();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// A member that has a meaning of its own: `ts`, `seq`, `labels`, `values`.
    fn meaning(&mut self, name: &str, depth: usize) -> Option<()> {
        match name {
            "ts" if self.ts.is_none() => {
                let time = millis(self.number()?.1).ok()?;
                self.ts = Some(self.rules.check(time).ok()?);
            }
            "seq" if self.seq.is_none() => self.seq = Some(count_integer(self.number()?.1)?),
            "labels" if !self.labelled => {
                self.labelled = true;
                let raw = self.labels()?;
                match &self.cursor {
                    None => {
                        let shape = self.shapes.find(Kind::Json, self.base, raw)?;
                        self.cursor = Some(self.shapes.cursor(shape));
                    }
                    Some(cursor) if self.shapes.raw(cursor.shape()) == raw => {}
                    Some(_) => return None,
                }
            }
            "values" if !self.values => {
                self.values = true;
                self.byte(b'{')?;
                self.members(None, depth, false)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// A member that is a reading or an object of readings.
    fn member(&mut self, name: &str, prefix: Option<usize>, depth: usize) -> Option<()> {
        let nested = self.peek() == Some(b'{');
        if prefix.is_none() && !nested {
            return self.found(name.as_bytes());
        }
        self.flat.truncate(prefix.unwrap_or(0));
        if prefix.is_some() {
            self.flat.push('_');
        }
        self.flat.push_str(name);
        if nested {
            if depth >= self.depth_max {
                return None;
            }
            self.at += 1;
            return self.members(Some(self.flat.len()), depth + 1, false);
        }
        let flat = std::mem::take(&mut self.flat);
        let taken = self.found(flat.as_bytes());
        self.flat = flat;
        taken
    }

    /// Takes the next value as a reading of this name, at any position in the shape.
    fn found(&mut self, name: &[u8]) -> Option<()> {
        if self.cursor.is_none() {
            self.guess()?;
        }
        let series = self.cursor.as_mut()?.find(self.shapes, name)?;
        self.reading(series)
    }

    /// The names of this object: of its labels, if they are known by now, else most likely of those of the last one.
    #[cold]
    fn guess(&mut self) -> Option<()> {
        let last = self.shapes.last(Kind::Json, self.base);
        let shape = last.or_else(|| self.shapes.find(Kind::Json, self.base, b""))?;
        self.cursor = Some(self.shapes.cursor(shape));
        Some(())
    }

    /// Passes over the name at hand, if it is the one that is expected; its series.
    #[inline]
    fn expected(&mut self) -> Option<u32> {
        if self.cursor.is_none() {
            self.guess()?;
        }
        let (name, series) = self.cursor.as_ref()?.expected(self.shapes)?;
        let rest = self.bytes.get(self.at..)?.strip_prefix(b"\"")?.strip_prefix(name)?;
        rest.strip_prefix(b"\"")?;
        self.at += name.len() + 2;
        self.cursor.as_mut()?.pass();
        Some(series)
    }

    /// Takes the value at hand as a reading.
    #[inline]
    fn reading(&mut self, series: u32) -> Option<()> {
        let (value, state) = match self.peek()? {
            b't' => (self.word(b"true", 1.0)?, Some("true")),
            b'f' => (self.word(b"false", 0.0)?, Some("false")),
            b'"' if self.texts => (NO_NUMBER, Some(self.string().filter(|text| check_state(text).is_ok())?)),
            _ => (self.number()?.0, None),
        };
        if !self.cursor.as_ref()?.is_new(self.readings.get(self.start..)?, series) {
            return None;
        }
        if let Some(state) = state {
            self.states.push(self.readings.len(), state);
        }
        self.readings.push(Reading { series, time: self.rules.now, value: value + 0.0 });
        Some(())
    }

    fn word(&mut self, word: &[u8], value: f64) -> Option<f64> {
        self.bytes.get(self.at..)?.strip_prefix(word)?;
        self.at += word.len();
        Some(value)
    }

    /// The next number, finite, and its text. [`Scan::members`] checks what follows it.
    #[inline]
    fn number(&mut self) -> Option<(f64, &'t str)> {
        let rest = self.bytes.get(self.at..)?;
        if let Some((value, length)) = decimal::at_front(rest)
            && !matches!(rest.get(length), Some(b'.' | b'e' | b'E' | b'0'..=b'9'))
        {
            let text = self.text.get(self.at..self.at + length)?;
            self.at += length;
            return Some((value, text));
        }
        let text = self.text.get(self.at..self.at + number_length(rest)?)?;
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
        self.at += text.len();
        Some((value, text))
    }

    /// The text of an object of strings. (Where it is not, it is equal to none that is known.)
    fn labels(&mut self) -> Option<&'t [u8]> {
        let start = self.at;
        self.byte(b'{')?;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'}' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.bytes.get(start..self.at)
    }

    /// The string at hand, without escapes.
    fn string(&mut self) -> Option<&'t str> {
        self.byte(b'"')?;
        let length = plain_length(self.bytes.get(self.at..)?)?;
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }

    #[inline]
    fn colon(&mut self) -> Option<()> {
        self.white();
        self.byte(b':')?;
        self.white();
        Some(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn white(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }
}

/// Bytes up to the closing quote; `None` if there is an escape, a control character or no quote.
#[inline]
fn plain_length(bytes: &[u8]) -> Option<usize> {
    let at = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
    (bytes.get(at) == Some(&b'"')).then_some(at)
}

/// Length of the number at the front, by JSON's grammar.
fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits =
        |from: usize| bytes.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes.get(at) == Some(&b'0')) {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let decimals = digits(at + 1);
        if decimals == 0 {
            return None;
        }
        at += 1 + decimals;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    Some(at)
}

#[cfg(test)]
mod tests;
