//! A described block: a sentence and fields, which text and JSON show alike.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::super::RevocationReason;

/// Maximum number of revoked certificates that the text lists one by one; JSON has all.
const REVOKED_SHOWN_MAX: usize = 1_000;

/// A described certificate, request, list or key.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it is, in one word.
    kind: &'static str,
    /// What it is, in a sentence.
    summary: String,
    /// Names in the order of the text; in JSON with `_` for spaces.
    fields: Vec<(&'static str, Field)>,
}

/// The value of a field.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Field {
    Text(String),
    Number(i64),
    List(Vec<String>),
    Revoked(Vec<Revocation>),
}

/// A certificate on a revocation list.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Revocation {
    pub(super) serial: String,
    pub(super) time: String,
    pub(super) reason: Option<RevocationReason>,
}

impl Block {
    pub(super) fn new(kind: &'static str, summary: String) -> Self {
        Self { kind, summary, fields: Vec::new() }
    }

    pub(super) fn field(&mut self, name: &'static str, value: Field) {
        self.fields.push((name, value));
    }

    pub(super) fn text(&mut self, name: &'static str, value: impl fmt::Display) {
        self.field(name, Field::Text(value.to_string()));
    }
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len() + 2))?;
        map.serialize_entry("type", self.kind)?;
        map.serialize_entry("summary", &self.summary)?;
        for (name, value) in &self.fields {
            map.serialize_entry(&name.replace(' ', "_"), value)?;
        }
        map.end()
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", printable(&self.summary))?;
        for (name, value) in &self.fields {
            let label = format!("{name}:");
            match value {
                Field::Text(text) => writeln!(f, "{label:<15}{}", printable(text))?,
                Field::Number(number) => writeln!(f, "{label:<15}{number}")?,
                Field::List(texts) => {
                    for text in texts {
                        writeln!(f, "{label:<15}{}", printable(text))?;
                    }
                }
                Field::Revoked(revoked) => {
                    for Revocation { serial, time, reason } in revoked.iter().take(REVOKED_SHOWN_MAX) {
                        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                        writeln!(f, "{:<15}{serial} at {time}{reason}", "  serial:")?;
                    }
                    if revoked.len() > REVOKED_SHOWN_MAX {
                        writeln!(
                            f,
                            "  … and {} more (`--format json` has all)",
                            revoked.len() - REVOKED_SHOWN_MAX
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The text with its control characters escaped.
fn printable(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] };
    text.chars().flat_map(escaped).collect()
}
