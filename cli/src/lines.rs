//! Splits JSON lines from people and programs into messages ready for numbering. Pure.
//!
//! A line is an object of readings, an object with `ts`, `values` and `labels`, or an array of these. Each
//! object becomes one message with its own sequence number; a `seq` in the input is replaced. Values are passed on
//! as text: no number is parsed and reformatted, and only the gateway judges readings.

use std::fmt;

use catchment_gateway::decode::{json::tokens, lines::trim};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// One message of a line.
pub type Element = Result<String, LineError>;

/// Why a line, or an element of its array, cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON, but not an object.
    #[error("neither an object of readings nor an array of such objects")]
    NotAnObject,
    /// A device's own `hello`.
    #[error("this program sends the `hello`; remove the line and use --epoch")]
    Hello,
}

/// Splits a line into messages: the members of each as text, without braces and without `seq`. Messages without a
/// time get `now_ms`.
///
/// A line that is JSON except for words in place of numbers (`nan`) is split too: the words are passed on unchanged,
/// and the gateway decides what it keeps.
pub fn messages(line: &str, now_ms: i64) -> Vec<Element> {
    let line = trim(line);
    let elements = split(line, now_ms);
    let is_json = !matches!(&*elements, [Err(LineError::Json(_))]);
    match tokens::marked(line).filter(|_| !is_json).map(|marked| split(&marked, now_ms)) {
        Some(marked) if !matches!(&*marked, [Err(LineError::Json(_))]) => marked
            .into_iter()
            .map(|element| element.map(|members| tokens::bare(&members).into_owned()))
            .collect(),
        _ => elements,
    }
}

fn split(line: &str, now_ms: i64) -> Vec<Element> {
    if !line.starts_with('[') {
        return vec![members(line, now_ms)];
    }
    match serde_json::from_str::<Vec<&RawValue>>(line) {
        Ok(elements) => elements.into_iter().map(|element| members(element.get(), now_ms)).collect(),
        Err(error) => vec![Err(LineError::Json(error.to_string()))],
    }
}

fn members(object: &str, now_ms: i64) -> Element {
    if !object.starts_with('{') {
        return Err(match serde_json::from_str::<serde::de::IgnoredAny>(object) {
            Ok(_) => LineError::NotAnObject,
            Err(error) => LineError::Json(error.to_string()),
        });
    }
    let Members(members) =
        serde_json::from_str(object).map_err(|error| LineError::Json(error.to_string()))?;
    let has = |name: &str| members.iter().any(|(member, _)| member == name);
    if has("hello") && members.len() == 1 {
        return Err(LineError::Hello);
    }
    let time = (!has("ts")).then(|| format!("\"ts\":{now_ms}"));
    let kept = members.iter().filter(|(name, _)| name != "seq");
    let kept =
        kept.map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), value.get()));
    Ok(time.into_iter().chain(kept).collect::<Vec<_>>().join(","))
}

/// The members of an object, in order, with their values as text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests;
