//! How the messages of a session look: the text that identifies their labels, and after it the names in their order.
//!
//! Devices repeat themselves. Where a message begins like an earlier one, its labels need not be built again, and most
//! likely its names follow in the same order: comparing bytes shows it, and nothing is hashed.
//!
//! Invariants: a shape agrees with [`super::SeriesTable`], because it is learnt from there and forgotten with it; no
//! series occurs twice in a shape. Bounded in bytes: beyond, everything is forgotten and learnt anew.

use std::hash::BuildHasher;

use catchment_proto::Labels;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::reading::Reading;

/// Longest text in front of the names that is kept.
const RAW_BYTES_MAX: usize = 1024;
/// Readings of one message whose series are compared one by one.
const COMPARED_MAX: usize = 32;
/// Names looked at from the expected one on.
const WINDOW: usize = 16;
/// Most names of one shape.
const MEMBERS_MAX: usize = 256;
/// Memory of a shape or a name in it beside its text, roughly.
const SHAPE_BYTES: usize = 112;
const MEMBER_BYTES: usize = 40;

/// Which grammar a shape's text is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The object of labels, or nothing; names are those of readings, flattened.
    Json,
    /// Measurement and tags; names are those of fields.
    LineProtocol,
    /// Metric and labels of a single reading of a frame; the name after them is empty.
    Frames,
}

/// Place of a shape, until the next one is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape(usize);

#[derive(Debug)]
struct ShapeEntry {
    kind: Kind,
    base: Labels,
    raw: Box<[u8]>,
    members: Vec<(Box<[u8]>, u32)>,
    /// Position after the name found last.
    resume: usize,
}

impl ShapeEntry {
    fn is(&self, kind: Kind, base: &Labels, raw: &[u8]) -> bool {
        self.kind == kind && *self.raw == *raw && self.base == *base
    }
}

/// The shapes of one session's messages.
#[derive(Debug)]
pub(crate) struct Shapes {
    entries: Vec<ShapeEntry>,
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// The one found last.
    last: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Shapes {
    /// For a session of so many series.
    pub(crate) fn new(series_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            last: 0,
            bytes: 0,
            bytes_max: series_max.saturating_mul(256).clamp(16 << 10, 256 << 10),
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
        self.bytes = 0;
    }

    /// The shape found last, if it is of this kind with these labels of the sink.
    pub(crate) fn last(&self, kind: Kind, base: &Labels) -> Option<Shape> {
        let entry = self.entries.get(self.last)?;
        (entry.kind == kind && entry.base == *base).then_some(Shape(self.last))
    }

    /// The shape with this text, beside these labels of the sink.
    pub(crate) fn find(&mut self, kind: Kind, base: &Labels, raw: &[u8]) -> Option<Shape> {
        let next = if self.last + 1 < self.entries.len() { self.last + 1 } else { 0 };
        for place in [self.last, next] {
            if self.entries.get(place).is_some_and(|entry| entry.is(kind, base, raw)) {
                self.last = place;
                return Some(Shape(place));
            }
        }
        // The two above were all.
        if self.entries.len() <= 2 {
            return None;
        }
        let entries = &self.entries;
        let place = self.places.find(self.hasher.hash_one((kind, base, raw)), |place| {
            entries.get(*place).is_some_and(|entry| entry.is(kind, base, raw))
        })?;
        self.last = *place;
        Some(Shape(*place))
    }

    /// The shape with this text, a new one if there is none; `None` for a text that is too long to be kept.
    pub(crate) fn add(&mut self, kind: Kind, base: &Labels, raw: &[u8]) -> Option<Shape> {
        if raw.len() > RAW_BYTES_MAX {
            return None;
        }
        if let Some(shape) = self.find(kind, base, raw) {
            return Some(shape);
        }
        self.spend(raw.len() + SHAPE_BYTES);
        let place = self.entries.len();
        let Self { entries, places, hasher, .. } = self;
        let hash = |entry: &ShapeEntry| hasher.hash_one((entry.kind, &entry.base, &*entry.raw));
        let entry = ShapeEntry { kind, base: base.clone(), raw: raw.into(), members: Vec::new(), resume: 0 };
        places.insert_unique(hash(&entry), place, |place| entries.get(*place).map_or(0, hash));
        entries.push(entry);
        self.last = place;
        Some(Shape(place))
    }

    /// Notes which series a name means after a shape's text.
    pub(crate) fn learn(&mut self, cursor: &mut Cursor, name: &[u8], series: u32) {
        let Some(entry) = self.entries.get_mut(cursor.shape.0) else { return };
        let is_expected = entry.members.get(cursor.next).is_some_and(|(_, known)| *known == series);
        if !is_expected {
            match entry.members.iter().position(|(_, known)| *known == series) {
                Some(at) => cursor.next = at,
                None if entry.members.len() >= MEMBERS_MAX => return,
                None => {
                    cursor.next = entry.members.len();
                    entry.members.push((name.into(), series));
                    entry.resume = cursor.next + 1;
                    self.spend(name.len() + MEMBER_BYTES);
                    return cursor.pass();
                }
            }
        }
        cursor.pass();
        entry.resume = cursor.next;
    }

    /// Where the names of a message of this shape are looked for first: after those of the last one.
    pub(crate) fn cursor(&self, shape: Shape) -> Cursor {
        let resume = self.entries.get(shape.0).map(|entry| entry.resume % entry.members.len().max(1));
        Cursor { shape, next: resume.unwrap_or_default(), found: false, rising: true }
    }

    /// The names of a message have been found.
    pub(crate) fn finish(&mut self, cursor: &Cursor) {
        if let Some(entry) = self.entries.get_mut(cursor.shape.0) {
            entry.resume = cursor.next;
        }
    }

    /// Counts bytes; forgets all when they are too many.
    fn spend(&mut self, bytes: usize) {
        if self.bytes + bytes > self.bytes_max {
            self.clear();
        }
        self.bytes += bytes;
    }

    /// The text of a shape.
    pub(crate) fn raw(&self, shape: Shape) -> &[u8] {
        self.entries.get(shape.0).map_or(&[], |entry| &*entry.raw)
    }

    /// The name at a place of a shape, and its series.
    #[inline]
    pub(crate) fn member(&self, shape: Shape, place: usize) -> Option<(&[u8], u32)> {
        let (name, series) = self.entries.get(shape.0)?.members.get(place)?;
        Some((name, *series))
    }

    /// The place and the series of a name of a shape that is not the expected one, looked for from there on.
    pub(crate) fn search(&self, shape: Shape, expected: usize, name: &[u8]) -> Option<(usize, u32)> {
        let members = &self.entries.get(shape.0)?.members;
        let (before, behind) = members.split_at_checked(expected).unwrap_or((members, &[]));
        let behind = behind.iter().enumerate().map(|(at, member)| (expected + at, member));
        behind
            .chain(before.iter().enumerate())
            .take(WINDOW)
            .find(|(_, member)| *member.0 == *name)
            .map(|(at, member)| (at, member.1))
    }
}

/// Finds the names of one message in a shape, one after the other.
#[derive(Debug)]
pub(crate) struct Cursor {
    shape: Shape,
    next: usize,
    found: bool,
    /// Each name found so far comes after the previous one: none is there twice.
    rising: bool,
}

impl Cursor {
    /// The shape.
    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether none of the readings, whose names were found here, is of this series, which was found last. (Also
    /// `false` where that takes long to tell.)
    #[inline]
    pub(crate) fn is_new(&self, readings: &[Reading], series: u32) -> bool {
        self.rising
            || (readings.len() <= COMPARED_MAX && readings.iter().all(|reading| reading.series != series))
    }

    /// The expected name, and its series.
    #[inline]
    pub(crate) fn expected<'s>(&self, shapes: &'s Shapes) -> Option<(&'s [u8], u32)> {
        shapes.member(self.shape, self.next)
    }

    /// Passes over the expected name.
    #[inline]
    pub(crate) const fn pass(&mut self) {
        self.found = true;
        self.next += 1;
    }

    /// The series of a name, whether expected or not.
    pub(crate) fn find(&mut self, shapes: &Shapes, name: &[u8]) -> Option<u32> {
        let (at, series) = shapes.search(self.shape, self.next, name)?;
        self.rising &= at >= self.next || !self.found;
        self.found = true;
        self.next = at + 1;
        Some(series)
    }
}

#[cfg(test)]
mod tests;
