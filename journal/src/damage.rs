//! What is wrong with a log's bytes, as it is reported.

use std::fmt;
use std::path::PathBuf;

use crate::position::Position;

/// A range of a log whose records cannot be read. Records outside of damaged ranges are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// First damaged position.
    pub from: Position,
    /// End of the damage (exclusive). Equal to `from` where only a redundant header is damaged.
    pub to: Position,
    /// The file; for missing data the one that should hold it or goes before it.
    pub segment: PathBuf,
    /// How many records are lost, where that can be known.
    pub records_lost: Option<u64>,
    /// What is wrong.
    pub reason: DamageReason,
}

/// Why a range is damaged.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum DamageReason {
    /// The segment's header, or one of its two copies, is not whole. Nothing is lost by that alone.
    SegmentHeader,
    /// No block header where one must be.
    BlockHeader,
    /// The checksum of one or more records does not match.
    Record,
    /// The bytes are not there: a file that is missing or too short.
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

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Oldest position kept.
    pub start: Position,
    /// Where the log goes on.
    pub end: Position,
    /// Bytes cut at the end: a commit that did not complete (or, where the last commit was not followed by
    /// another nor by an orderly close, damage in it: the two look the same). 0 after a clean stop.
    pub torn_tail_bytes: u64,
    /// Damage in the last segment (older ones are checked when they are read), at most
    /// [`Recovery::DAMAGE_MAX`] entries.
    pub damage: Vec<Damage>,
    /// Damaged ranges beyond those listed.
    pub damage_unlisted: u64,
}

impl Recovery {
    /// How many damaged ranges are listed.
    pub const DAMAGE_MAX: usize = 1000;

    /// True if nothing was damaged. (A torn tail is no damage: nothing acknowledged was in it.)
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
