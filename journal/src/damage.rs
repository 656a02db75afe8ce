//! Reports of damage in a log.

use std::fmt;
use std::path::PathBuf;

use crate::position::Position;

/// A range of a log whose records cannot be read. Records outside of damaged ranges are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// First damaged position.
    pub from: Position,
    /// End of the damage (exclusive). Equal to `from` if only a redundant header is damaged.
    pub to: Position,
    /// The file; for missing data, the one that should hold it or the one before.
    pub segment: PathBuf,
    /// Number of lost records, if known.
    pub records_lost: Option<u64>,
    /// The kind of damage.
    pub reason: DamageReason,
}

/// Why a range is damaged.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum DamageReason {
    /// The segment's header, or one of its two copies, is damaged. That alone loses nothing.
    SegmentHeader,
    /// No valid block header where one must be.
    BlockHeader,
    /// The checksum of one or more records does not match.
    Record,
    /// The bytes are missing: there is no file, or it is too short.
    Missing,
}

impl fmt::Display for DamageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SegmentHeader => "segment header is not whole",
            Self::BlockHeader => "block header is not whole",
            Self::Record => "record checksum does not match",
            Self::Missing => "bytes are missing",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: positions {} to {}: {}", self.segment.display(), self.from, self.to, self.reason)?;
        match self.records_lost {
            Some(lost) => write!(f, ", {lost} records lost"),
            None => f.write_str(", number of lost records unknown"),
        }
    }
}

/// Result of the recovery when a log is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Oldest position kept.
    pub start: Position,
    /// Position at which the log continues.
    pub end: Position,
    /// Bytes cut off at the end: a commit that did not complete. Damage in the last commit looks the same if neither
    /// another commit nor an orderly close followed it. 0 after a clean stop.
    pub torn_tail_bytes: u64,
    /// Damage in the last segment, at most [`Recovery::DAMAGE_MAX`] entries. Older segments are checked when they are
    /// read.
    pub damage: Vec<Damage>,
    /// Damaged ranges beyond those listed.
    pub damage_unlisted: u64,
}

impl Recovery {
    /// Maximum number of damaged ranges listed.
    pub const DAMAGE_MAX: usize = 1000;

    /// True if nothing was damaged. (A torn tail is not damage: nothing in it was acknowledged.)
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }

    pub(crate) fn note(&mut self, damage: Damage) {
        if self.damage.len() < Self::DAMAGE_MAX {
            self.damage.push(damage);
        } else {
            self.damage_unlisted += 1;
        }
    }
}
