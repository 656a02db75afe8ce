//! Cuts a stream of bytes into lines, however it arrives in pieces, in memory bounded by the longest line.
//!
//! The session owns the buffer: it appends what it read, calls [`Lines::next`] until [`Next::More`], and each time
//! drops the bytes reported as consumed. Invariants: the result depends on the bytes alone, not on where reads cut
//! them; no byte is scanned more than a few times, however small the reads; blank lines (also lines of nothing but NUL
//! bytes and byte order marks, and comments of line protocol) are neither handed on nor counted; a line beyond the
//! bound is reported once and skipped up to the next line end without being kept.
//!
//! In line protocol a quoted field value may contain line ends. So a quote that is never closed makes everything up to
//! the next quote or the bound, whichever comes first, one bad line.

use memchr::{memchr, memchr2};

use super::DecodeLimits;
use crate::intake::{Intake, Reason, Refusal};

/// What the front of the buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'b> {
    /// A line, without its end: decode it, then drop `consumed` bytes.
    Line {
        /// The line; may have white space at both ends.
        line: &'b [u8],
        /// Bytes to drop from the front of the buffer, line included.
        consumed: usize,
    },
    /// A line beyond the bound: refuse it ([`refuse_too_long`]); later calls skip the rest of it.
    TooLong {
        /// Bytes to drop from the front of the buffer.
        consumed: usize,
    },
    /// No whole line: drop `consumed` bytes (blank lines, the rest of a long one), then read more.
    More {
        /// Bytes to drop from the front of the buffer.
        consumed: usize,
    },
}

/// Which bytes end a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grammar {
    /// Each `\n`.
    Plain,
    /// Each `\n` outside of a quoted field value; `#` begins a comment.
    Quoted,
}

/// Where the scan of a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// No quote so far, so each `\n` ends the line.
    Unquoted,
    /// A quote occurred: byte by byte from here on.
    Exact(Place),
}

/// The place of a byte in a line of line protocol, as far as quotes matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Comment,
    Series { escaped: bool },
    FieldKey { escaped: bool },
    ValueStart,
    Value,
    String { escaped: bool },
    Time,
}

impl Place {
    /// The place after a byte; `None` when the byte ends the line.
    const fn after(self, byte: u8) -> Option<Self> {
        let next = match (self, byte) {
            (Self::String { escaped: true }, _) => Self::String { escaped: false },
            (Self::String { .. }, b'\\') => Self::String { escaped: true },
            (Self::String { .. }, b'"') => Self::Value,
            (Self::String { .. }, _) => self,
            (_, b'\n') => return None,
            (Self::Comment | Self::Time, _) => self,
            (Self::Start, b' ' | b'\t' | b'\r' | b'\x0c') => Self::Start,
            (Self::Start, b'#') => Self::Comment,
            (Self::Series { escaped: true }, _) => Self::Series { escaped: false },
            (Self::Series { .. } | Self::Start, b'\\') => Self::Series { escaped: true },
            (Self::Series { .. }, b' ') => Self::FieldKey { escaped: false },
            (Self::Series { .. } | Self::Start, _) => Self::Series { escaped: false },
            (Self::FieldKey { escaped: true }, _) => Self::FieldKey { escaped: false },
            (Self::FieldKey { .. }, b'\\') => Self::FieldKey { escaped: true },
            (Self::FieldKey { .. }, b'=') => Self::ValueStart,
            (Self::FieldKey { .. }, _) => self,
            (Self::ValueStart, b'"') => Self::String { escaped: false },
            (Self::ValueStart | Self::Value, b',') => Self::FieldKey { escaped: false },
            (Self::ValueStart | Self::Value, b' ') => Self::Time,
            (Self::ValueStart | Self::Value, _) => Self::Value,
        };
        Some(next)
    }
}

/// Cuts one connection's bytes into lines.
#[derive(Debug)]
pub struct Lines {
    grammar: Grammar,
    bytes_max: usize,
    /// Bytes at the front of the buffer that the scan has passed.
    scanned: usize,
    scan: Scan,
    /// Within the rest of a line that was reported as too long.
    skipping: bool,
}

impl Lines {
    /// Lines of JSON, each ended by `\n`, of at most so many bytes (`\r` counts).
    pub const fn json(bytes_max: usize) -> Self {
        Self::new(Grammar::Plain, bytes_max)
    }

    /// Lines of InfluxDB line protocol, of at most so many bytes each (`\r` counts).
    pub const fn line_protocol(bytes_max: usize) -> Self {
        Self::new(Grammar::Quoted, bytes_max)
    }

    const fn new(grammar: Grammar, bytes_max: usize) -> Self {
        Self { grammar, bytes_max, scanned: 0, scan: Scan::Unquoted, skipping: false }
    }

    /// Whether it is within a line that was refused as too long.
    pub const fn skips(&self) -> bool {
        self.skipping
    }

    /// Looks at the front of the buffer, which begins where the bytes consumed before ended.
    pub fn next<'b>(&mut self, buffer: &'b [u8]) -> Next<'b> {
        self.step(buffer, false)
    }

    /// Like [`Lines::next`] when no more bytes will come: a last line needs no line end.
    pub fn finish<'b>(&mut self, buffer: &'b [u8]) -> Next<'b> {
        self.step(buffer, true)
    }

    fn step<'b>(&mut self, buffer: &'b [u8], ended: bool) -> Next<'b> {
        let mut consumed = 0;
        loop {
            let rest = buffer.get(consumed..).unwrap_or_default();
            if self.skipping {
                let Some(end) = memchr(b'\n', rest) else {
                    return Next::More { consumed: buffer.len() };
                };
                self.skipping = false;
                consumed += end + 1;
                continue;
            }
            let allowed = rest.len().min(self.bytes_max.saturating_add(1));
            let end = self.line_end(rest.get(..allowed).unwrap_or_default());
            if end.is_none() && rest.len() > self.bytes_max {
                self.restart();
                self.skipping = true;
                return Next::TooLong { consumed: consumed + self.bytes_max };
            }
            let (line, length) = match end {
                Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
                None if ended && !rest.is_empty() => (rest, rest.len()),
                None => return Next::More { consumed },
            };
            self.restart();
            consumed += length;
            if !self.is_blank(line) {
                return Next::Line { line, consumed };
            }
        }
    }

    /// Forgets the scan of the line that is done with.
    const fn restart(&mut self) {
        self.scanned = 0;
        self.scan = Scan::Unquoted;
    }

    fn is_blank(&self, line: &[u8]) -> bool {
        let text = line.trim_ascii_start();
        match text.first() {
            None => true,
            Some(b'#') => self.grammar == Grammar::Quoted,
            // The terminator of a C string, or the byte order mark of a text from Windows.
            Some(0 | 0xb | 0xef) => std::str::from_utf8(text).is_ok_and(|text| trim(text).is_empty()),
            Some(_) => false,
        }
    }

    /// Index of the byte that ends the line at the front, scanning only what was not scanned before.
    fn line_end(&mut self, line: &[u8]) -> Option<usize> {
        let fresh = line.get(self.scanned..).unwrap_or_default();
        if self.grammar == Grammar::Plain {
            let end = memchr(b'\n', fresh).map(|at| self.scanned + at);
            self.scanned = line.len();
            return end;
        }
        if self.scan == Scan::Unquoted {
            match memchr2(b'\n', b'"', fresh) {
                None => {
                    self.scanned = line.len();
                    return None;
                }
                Some(at) if fresh.get(at) == Some(&b'\n') => return Some(self.scanned + at),
                Some(_) => {
                    // The first quote: its meaning depends on all before it.
                    self.scanned = 0;
                    self.scan = Scan::Exact(Place::Start);
                }
            }
        }
        let Scan::Exact(mut place) = self.scan else { return None };
        for (at, byte) in line.iter().enumerate().skip(self.scanned) {
            match place.after(*byte) {
                Some(next) => place = next,
                None => return Some(at),
            }
        }
        self.scan = Scan::Exact(place);
        self.scanned = line.len();
        None
    }
}

/// A text without white space, NUL bytes and byte order marks at both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '\0' | '\u{feff}' | '\u{b}'))
}

/// Notes the refusal of a line or frame beyond `message_bytes_max`.
pub fn refuse_too_long(limits: &DecodeLimits, ordinal: u64, intake: &mut Intake) {
    intake.refusals.push(too_long(limits, ordinal));
}

/// The refusal of a line or frame beyond `message_bytes_max`.
pub fn too_long(limits: &DecodeLimits, ordinal: u64) -> Refusal {
    let message = format!("a message has at most {} bytes", limits.message_bytes_max);
    Refusal { reason: Reason::TooLong, message, ordinal, seq: None, count: 1 }
}

#[cfg(test)]
pub(in crate::decode) mod tests;
