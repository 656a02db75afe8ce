//! Reads lines of JSON.

use std::sync::Arc;

use super::reader::{Closing, Front, ReadMessage, Target};
use crate::decode::{Lines, Next, json};

/// Reads one connection's lines of JSON.
pub(super) struct JsonReader {
    lines: Lines,
    options: Arc<json::Options>,
}

impl JsonReader {
    /// Lines of at most so many bytes.
    pub(super) const fn new(bytes_max: usize, options: Arc<json::Options>) -> Self {
        Self { lines: Lines::json(bytes_max), options }
    }

    /// Whether it is within a line that was refused as too long.
    pub(super) const fn skips(&self) -> bool {
        self.lines.skips()
    }
}

impl ReadMessage for JsonReader {
    fn read(
        &mut self,
        bytes: &[u8],
        closing: Option<Closing>,
        ordinal: u64,
        target: &mut Target<'_>,
    ) -> Front {
        // A JSON object or array that lost its end is no JSON, so a last line without end can be trusted.
        let next = if closing.is_some() { self.lines.finish(bytes) } else { self.lines.next(bytes) };
        match next {
            Next::More { consumed } => Front::Incomplete(consumed),
            Next::TooLong { consumed } => Front::Message(consumed, target.refuse_too_long(ordinal)),
            Next::Line { line, consumed } => {
                let Target { table, rules, limits, intake } = target;
                let decoded = json::decode_line(line, &self.options, ordinal, table, rules, limits, intake);
                Front::Message(consumed, decoded)
            }
        }
    }
}
