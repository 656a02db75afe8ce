//! Reads lines of InfluxDB line protocol.

use super::reader::{Closing, Front, ReadMessage, Target, no_message};
use crate::decode::{Lines, Next, line_protocol};

/// Reads one connection's lines of line protocol.
pub(super) struct LineReader {
    lines: Lines,
    precision: line_protocol::Precision,
}

impl LineReader {
    /// Lines of at most so many bytes.
    pub(super) const fn new(bytes_max: usize, precision: line_protocol::Precision) -> Self {
        Self { lines: Lines::line_protocol(bytes_max), precision }
    }

    /// Whether it is within a line that was refused as too long.
    pub(super) const fn skips(&self) -> bool {
        self.lines.skips()
    }
}

impl ReadMessage for LineReader {
    fn read(
        &mut self,
        bytes: &[u8],
        closing: Option<Closing>,
        ordinal: u64,
        target: &mut Target<'_>,
    ) -> Front {
        // A line without its end may read as another value: `21.57` cut to `21.5`.
        let is_whole = closing == Some(Closing::Orderly);
        let next = if is_whole { self.lines.finish(bytes) } else { self.lines.next(bytes) };
        match next {
            Next::More { consumed } => {
                if closing.is_some() && consumed < bytes.len() {
                    let cut = no_message(ordinal, "the connection broke within a line".to_owned());
                    target.intake.refusals.push(cut);
                }
                Front::Incomplete(consumed)
            }
            Next::TooLong { consumed } => Front::Message(consumed, target.refuse_too_long(ordinal)),
            Next::Line { line, consumed } => {
                let Target { table, rules, limits, intake } = target;
                let decoded =
                    line_protocol::decode_line(line, self.precision, ordinal, table, rules, limits, intake);
                Front::Message(consumed, decoded)
            }
        }
    }
}
