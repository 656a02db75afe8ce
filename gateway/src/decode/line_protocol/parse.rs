//! The grammar of a line: slices of its text, escapes still in them, and the numbers of fields.
//!
//! Outside of quoted values a backslash keeps the next character from being a delimiter. The rules agree
//! with those by which `lines` finds the end of a line.

use std::borrow::Cow;

use memchr::memchr2;

use crate::intake::Value;

/// The grammar's rule that a line breaks.
type Rule = &'static str;

/// Most tags looked at: more than labels can be, so that the labels' own rule refuses them.
const TAGS_MAX: usize = 32;

/// A line cut into its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) measurement: &'t str,
    pub(super) tags: Vec<(&'t str, &'t str)>,
    pub(super) fields: Vec<(&'t str, &'t str)>,
    /// Fields beyond the bound.
    pub(super) beyond: usize,
    /// An optional sign and digits.
    pub(super) time: Option<&'t str>,
}

impl<'t> Line<'t> {
    /// Cuts a line, keeping at most so many fields.
    pub(super) fn parse(text: &'t str, fields_max: usize) -> Result<Self, Rule> {
        let mut rest = Rest(text.trim_ascii());
        let measurement = rest.until(Part::Measurement);
        if measurement.is_empty() {
            return Err("no measurement");
        }
        let mut tags = Vec::new();
        while rest.skip(b',') {
            let name = rest.until(Part::TagName);
            if !rest.skip(b'=') {
                return Err("a tag without =");
            }
            let value = rest.until(Part::TagValue);
            if name.is_empty() || value.is_empty() {
                return Err("a tag without name or value");
            }
            if rest.0.starts_with('=') {
                return Err("unescaped = in a tag value");
            }
            if tags.len() < TAGS_MAX {
                tags.push((name, value));
            }
        }
        rest.skip_spaces();
        let (mut fields, mut beyond) = (Vec::new(), 0);
        loop {
            let field = rest.field()?;
            if fields.len() < fields_max {
                fields.push(field);
            } else {
                beyond += 1;
            }
            if !rest.skip(b',') {
                break;
            }
        }
        rest.skip_spaces();
        let time = Some(rest.0).filter(|time| !time.is_empty());
        if time.is_some_and(|time| !is_integer(time)) {
            return Err("after the fields only an integer timestamp may follow");
        }
        Ok(Self { measurement, tags, fields, beyond, time })
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A part that is not quoted: a comma and a space end each, and `=` all but the first.
#[derive(Clone, Copy)]
enum Part {
    Measurement,
    TagName,
    TagValue,
    FieldName,
}

/// What of a line is not cut yet.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    fn take(&mut self, length: usize) -> &'t str {
        let (part, rest) = self.0.split_at_checked(length).unwrap_or((self.0, ""));
        self.0 = rest;
        part
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.0.as_bytes().first() == Some(&byte);
        if found {
            self.take(1);
        }
        found
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    /// Takes all up to the next delimiter that no backslash precedes.
    fn until(&mut self, part: Part) -> &'t str {
        let bytes = self.0.as_bytes();
        let mut escaped = false;
        let length = bytes.iter().position(|byte| {
            if escaped {
                escaped = false;
                return false;
            }
            match (byte, part) {
                (b'\\', _) => {
                    escaped = true;
                    false
                }
                (b',' | b' ', _) => true,
                (b'=', Part::TagName | Part::TagValue | Part::FieldName) => true,
                _ => false,
            }
        });
        self.take(length.unwrap_or(bytes.len()))
    }

    /// Takes a field: its name and the text of its value.
    fn field(&mut self) -> Result<(&'t str, &'t str), Rule> {
        let name = self.until(Part::FieldName);
        if !self.0.starts_with('=') {
            return Err("a field without =");
        }
        self.take(1);
        if name.is_empty() {
            return Err("a field without name");
        }
        let length = if self.0.starts_with('"') { string_length(self.0)? } else { self.value_length() };
        if length == 0 {
            return Err("a field without value");
        }
        let value = self.take(length);
        match self.0.as_bytes().first() {
            None | Some(b',' | b' ') => Ok((name, value)),
            Some(_) => Err("unexpected text after a quoted value"),
        }
    }

    fn value_length(&self) -> usize {
        memchr2(b',', b' ', self.0.as_bytes()).unwrap_or(self.0.len())
    }
}

/// Bytes of the quoted value at the front, quotes included.
fn string_length(text: &str) -> Result<usize, Rule> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        let found = bytes.get(at..).and_then(|bytes| memchr2(b'"', b'\\', bytes));
        match found.map(|found| at + found) {
            Some(quote) if bytes.get(quote) == Some(&b'"') => return Ok(quote + 1),
            Some(backslash) => at = backslash + 2,
            None => return Err("a quoted value without its end"),
        }
    }
}

/// The text of a quoted value: a quotation mark or a backslash behind a backslash stands for itself.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let quoted = value.strip_prefix('"')?.strip_suffix('"')?;
    if !quoted.contains('\\') {
        return Some(Cow::Borrowed(quoted));
    }
    let mut out = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        let next = rest.clone().next();
        if c == '\\'
            && let Some(escaped @ ('"' | '\\')) = next
        {
            out.pop();
            out.push(escaped);
            rest.next();
        }
    }
    Some(Cow::Owned(out))
}

/// The value of a field that is not quoted: a finite number, or a boolean.
///
/// # Errors
/// What the value is instead, for a message.
pub(super) fn number(text: &str) -> Result<Value<'static>, &'static str> {
    const BEYOND: &str = "beyond the range of numbers";
    let number = |value: f64| Value::Number(value);
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Value::boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Value::boolean(false)),
        _ => {}
    }
    if let Some(digits) = text.strip_suffix('i').filter(|digits| is_integer(digits)) {
        return digits.parse::<i64>().map(|value| number(value as f64)).map_err(|_| BEYOND);
    }
    if let Some(digits) = text.strip_suffix('u').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
        return digits.parse::<u64>().map(|value| number(value as f64)).map_err(|_| BEYOND);
    }
    // Keeps out the `inf` and `nan` of Rust's own grammar.
    if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err("no number");
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(number(value)),
        Ok(_) => Err(BEYOND),
        Err(_) => Err("no number"),
    }
}
