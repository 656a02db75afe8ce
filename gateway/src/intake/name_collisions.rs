//! How names are written: two that are one name as they are mapped (`a.b`, `a-b` and `a_b`) are summed into one series, and
//! that is reported. Within a connection of JSON the second one is refused ([`super::SeriesTable::check_spelling`]); this finds the others:
//! of line protocol, of labels, and of two connections of a device.
//!
//! Bounded: a session remembers so many names as hashes and then begins anew, a device so many and then compares no others.

use std::{
    hash::{BuildHasher as _, Hash},
    sync::LazyLock,
};

use super::SeriesTable;
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

/// How a name is written, by metric, within a connection of JSON.
pub(super) type MetricSpellings = HashMap<Box<str>, Box<str>>;

impl SeriesTable {
    /// Whether a name as it is written may be that of a metric to which it is mapped: no other one has been before. Two
    /// names would be summed into one series.
    ///
    /// # Errors
    /// The message for the device.
    pub fn check_spelling(&self, written: &str, metric: &str) -> Result<(), String> {
        let spellings = self.spellings.as_deref();
        if written == metric && spellings.is_none() {
            return Ok(());
        }
        let first = match spellings.and_then(|spellings| spellings.get(metric)) {
            Some(first) if **first == *written => return Ok(()),
            Some(first) => first,
            None if written == metric || !self.is_used(metric) => return Ok(()),
            None => metric,
        };
        let short = |text: &str| text.chars().take(60).collect::<String>();
        Err(format!(
            "{:?} and {:?} are both metric {metric}, which the first of a connection has: rename one",
            short(written),
            short(first)
        ))
    }

    /// Notes how the name of a metric that is known is written.
    pub fn note_spelling(&mut self, written: &str, metric: &str) {
        if written != metric {
            let spellings = self.spellings.get_or_insert_default();
            if !spellings.contains_key(metric) {
                spellings.insert(metric.into(), written.into());
            }
        }
    }

    /// Whether a series of the metric is known.
    fn is_used(&self, metric: &str) -> bool {
        self.plain.contains_key(metric) || self.labelled.values().any(|metrics| metrics.contains_key(metric))
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
    use catchment_proto::Labels;

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

    #[test]
    fn a_metric_has_one_spelling() {
        let mut names = SeriesTable::new(2);
        let mut fresh = Vec::new();
        let room = Labels::new([("room", "3")]).unwrap();
        let mut take = |names: &mut SeriesTable, written: &str, metric: &str| {
            names.check_spelling(written, metric)?;
            names.index(metric, &room, &mut fresh)?;
            names.note_spelling(written, metric);
            Ok::<(), String>(())
        };
        assert_eq!(take(&mut names, "a.b", "a_b"), Ok(()));
        assert_eq!(take(&mut names, "a.b", "a_b"), Ok(()));
        let reported = take(&mut names, "a_b", "a_b").unwrap_err();
        assert!(reported.contains("\"a_b\" and \"a.b\" are both metric a_b"), "{reported}");
        assert!(take(&mut names, "a-b", "a_b").is_err());
        assert_eq!(take(&mut names, "c_d", "c_d"), Ok(()));
        assert!(take(&mut names, "c.d", "c_d").unwrap_err().contains("\"c_d\""));
        // The table starts anew.
        assert_eq!(take(&mut names, "e", "e"), Ok(()));
        assert_eq!(take(&mut names, "a_b", "a_b"), Ok(()));
        assert!(names.spellings.is_none());
    }
}
