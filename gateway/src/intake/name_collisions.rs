//! Two names of a device that are mapped to one (`a.b`, `a-b` and `a_b`) are summed into one series, and that is
//! reported. Within a connection of JSON the second one is refused ([`super::SeriesTable::check_spelling`]); this finds
//! the others: of line protocol, of labels, and of two connections of a device.
//!
//! Bounded: a session remembers a number of names as hashes and then starts anew; a device remembers a number of names
//! and compares no others.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::LazyLock,
};

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};

/// Names that a session remembers, as hashes.
const SEEN_MAX: usize = 1024;
/// Names of a device that are compared.
const NAMES_MAX: usize = 512;
/// What is kept of a text to be shown.
const SHOWN_CHARS: usize = 60;

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A metric.
    Metric,
    /// A label.
    Label,
}

impl NameKind {
    /// For logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Label => "label",
        }
    }
}

/// A name, and how a session writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSpelling {
    /// What it is of.
    pub kind: NameKind,
    /// As it is mapped.
    pub name: Box<str>,
    /// As the device writes it, the beginning of it; empty: as it is mapped.
    pub shown: Box<str>,
    /// Hash of all that the device writes.
    written: u64,
}

impl NameSpelling {
    /// How the device writes it, as far as it is shown.
    pub fn shown(&self) -> &str {
        if self.shown.is_empty() { &self.name } else { &self.shown }
    }
}

/// The names that a session has used.
#[derive(Debug, Default)]
pub(crate) struct SeenSpellings {
    names: HashSet<u64>,
}

/// By one hasher for all of the process: hashes of sessions are compared.
fn hash_of(name: impl Hash) -> u64 {
    static ONE: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    ONE.hash_one(name)
}

impl SeenSpellings {
    /// Notes a name; answers it if it is the first time.
    pub(crate) fn note(&mut self, kind: NameKind, written: &str, name: &str) -> Option<NameSpelling> {
        let hash = hash_of((kind, written));
        if self.names.len() >= SEEN_MAX {
            self.names.clear();
        }
        if !self.names.insert(hash) {
            return None;
        }
        let shown = if written == name { String::new() } else { written.chars().take(SHOWN_CHARS).collect() };
        Some(NameSpelling { kind, name: name.into(), shown: shown.into(), written: hash })
    }
}

/// The names of a device: by the hash of each as it is mapped, how it was written first.
#[derive(Debug, Default)]
pub struct NameCollisions {
    first: HashMap<u64, (u64, Box<str>)>,
}

impl NameCollisions {
    /// Notes a name. Answers how it was written first, if that was otherwise.
    pub fn note(&mut self, spelling: &NameSpelling) -> Option<&str> {
        let hash = hash_of((spelling.kind, &*spelling.name));
        if !self.first.contains_key(&hash) {
            if self.first.len() < NAMES_MAX {
                self.first.insert(hash, (spelling.written, spelling.shown.clone()));
            }
            return None;
        }
        let (written, shown) = self.first.get(&hash)?;
        (*written != spelling.written).then_some(&**shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_once_a_session_and_compared_over_the_sessions_of_a_device() {
        let (mut one, mut other, mut device) =
            (SeenSpellings::default(), SeenSpellings::default(), NameCollisions::default());
        let spelling = one.note(NameKind::Metric, "a.b", "a_b").unwrap();
        assert_eq!(device.note(&spelling), None);
        assert_eq!(one.note(NameKind::Metric, "a.b", "a_b"), None);
        let again = other.note(NameKind::Metric, "a.b", "a_b").unwrap();
        assert_eq!((device.note(&again), again.shown()), (None, "a.b"));
        let plain = other.note(NameKind::Metric, "a_b", "a_b").unwrap();
        assert_eq!((device.note(&plain), plain.shown()), (Some("a.b"), "a_b"));
        // A label of the same name is another name.
        assert_eq!(device.note(&one.note(NameKind::Label, "a-b", "a_b").unwrap()), None);
    }

    #[test]
    fn both_are_bounded() {
        let (mut seen, mut device) = (SeenSpellings::default(), NameCollisions::default());
        for n in 0..10_000 {
            let spelling = seen.note(NameKind::Metric, &format!("{n}{}", ".".repeat(700)), &format!("_{n}"));
            device.note(&spelling.unwrap());
        }
        assert!(seen.names.len() <= SEEN_MAX && device.first.len() <= NAMES_MAX);
        assert!(device.first.values().all(|(_, shown)| shown.len() <= SHOWN_CHARS));
    }
}
