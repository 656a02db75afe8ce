//! A session's series by name.

use catchment_proto::{Labels, MetricName};
#[cfg(not(test))]
use hashbrown::DefaultHashBuilder as Hashing;
use hashbrown::{HashMap, HashSet};

#[cfg(test)]
use self::tests::CountedHashing as Hashing;

use super::{metric_spellings::MetricSpellings, name_collisions::SeenSpellings, shapes::Shapes};

/// The series that a session has used, by name: each gets an index at its first use.
///
/// Bounded: beyond `max` the table starts anew with higher indexes, so a device that invents labels costs time
/// but no memory. Indexes are never reused within a session. Only indexes of the current table are valid for
/// readings. A caller that keeps an index longer must compare [`SeriesTable::generation`].
#[derive(Debug)]
pub struct SeriesTable {
    plain: HashMap<MetricName, u32, Hashing>,
    /// Boxed, because each session has a table, and most devices use no labels.
    labelled: Option<Box<Labelled>>,
    /// How the names were written that are a metric's only as they are mapped: at most one a metric.
    spellings: MetricSpellings,
    known: usize,
    next: u32,
    max: usize,
    generation: u64,
    /// How the session's messages looked so far: their names are found there without a look-up here.
    pub(crate) shapes: Shapes,
    /// The names that it has used.
    pub(crate) seen: SeenSpellings,
}

/// The series with labels.
#[derive(Debug, Default)]
struct Labelled {
    series: HashMap<Labels, HashMap<MetricName, u32, Hashing>, Hashing>,
    /// Their metrics, so that it takes one look to tell whether a metric has a series.
    metrics: HashSet<MetricName, Hashing>,
}

impl Labelled {
    fn get(&self, metric: &str, labels: &Labels) -> Option<&u32> {
        self.series.get(labels).and_then(|metrics| metrics.get(metric))
    }

    fn insert(&mut self, metric: MetricName, labels: Labels, index: u32) {
        self.metrics.insert(metric.clone());
        self.series.entry(labels).or_default().insert(metric, index);
    }
}

impl SeriesTable {
    /// A table of at most so many series.
    pub fn new(max: usize) -> Self {
        Self {
            plain: HashMap::default(),
            labelled: None,
            spellings: MetricSpellings::default(),
            known: 0,
            next: 0,
            max: max.max(1),
            generation: 0,
            shapes: Shapes::new(max),
            seen: SeenSpellings::default(),
        }
    }

    /// The index of a series; a new one is added to `fresh`.
    ///
    /// # Errors
    /// When the metric's name breaks the rule: the message for the device.
    pub fn index(
        &mut self,
        metric: &str,
        labels: &Labels,
        fresh: &mut Vec<(u32, MetricName, Labels)>,
    ) -> Result<u32, String> {
        let known = if labels.is_empty() {
            self.plain.get(metric)
        } else {
            self.labelled.as_ref().and_then(|labelled| labelled.get(metric, labels))
        };
        if let Some(index) = known {
            return Ok(*index);
        }
        let metric = MetricName::new(metric).map_err(|e| e.to_string())?;
        if self.known >= self.max {
            self.plain.clear();
            self.labelled = None;
            self.spellings = MetricSpellings::default();
            self.shapes.clear();
            self.known = 0;
            self.generation += 1;
        }
        let index = self.next;
        self.next = self.next.wrapping_add(1);
        self.known += 1;
        if labels.is_empty() {
            self.plain.insert(metric.clone(), index);
        } else {
            self.labelled.get_or_insert_default().insert(metric.clone(), labels.clone(), index);
        }
        fresh.push((index, metric, labels.clone()));
        Ok(index)
    }

    /// How often the table started anew. An index given out under another generation may mean nothing to the device's
    /// sessions any more: the series is to be looked up again.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether this spelling may be used for the metric; an error if another spelling came first: the two would be
    /// summed into one series.
    ///
    /// # Errors
    /// The message for the device.
    pub fn check_spelling(&self, written: &str, metric: &str) -> Result<(), String> {
        self.spellings.check(written, metric, || self.is_used(metric))
    }

    /// Notes how the name of a metric that is known is written.
    pub fn note_spelling(&mut self, written: &str, metric: &str) {
        self.spellings.note(written, metric);
    }

    /// Whether a series of the metric is known. Takes as long with many label sets as with few: a device may ask for each
    /// of the names of a message, however many of them are refused.
    fn is_used(&self, metric: &str) -> bool {
        let labelled = self.labelled.as_ref();
        self.plain.contains_key(metric) || labelled.is_some_and(|labelled| labelled.metrics.contains(metric))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, hash::BuildHasher};

    use super::*;

    thread_local! {
        /// How often a key was hashed for a look into a table.
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    /// Hashes as usual, and counts.
    #[derive(Clone, Debug, Default)]
    pub(super) struct CountedHashing(hashbrown::DefaultHashBuilder);

    impl BuildHasher for CountedHashing {
        type Hasher = <hashbrown::DefaultHashBuilder as BuildHasher>::Hasher;

        fn build_hasher(&self) -> Self::Hasher {
            LOOKS.set(LOOKS.get() + 1);
            self.0.build_hasher()
        }
    }

    #[test]
    fn a_name_gets_its_index_once() {
        let mut table = SeriesTable::new(2);
        let mut fresh = Vec::new();
        let room = Labels::new([("room", "3")]).unwrap();
        assert_eq!(table.index("a", &Labels::none(), &mut fresh), Ok(0));
        assert_eq!(table.index("a", &room, &mut fresh), Ok(1));
        assert_eq!(table.index("a", &Labels::none(), &mut fresh), Ok(0));
        assert_eq!(fresh.len(), 2);
        assert!(table.index("9", &Labels::none(), &mut fresh).is_err());
        // At the bound the table starts empty; indexes continue.
        assert_eq!(table.index("c", &Labels::none(), &mut fresh), Ok(2));
        assert_eq!(table.index("a", &Labels::none(), &mut fresh), Ok(3));
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
        assert!(names.spellings.is_empty());
    }

    #[test]
    fn whether_a_name_is_free_takes_few_looks_however_many_label_sets_there_are() {
        let mut table = SeriesTable::new(1_000);
        let mut fresh = Vec::new();
        for n in 0..999 {
            let labels = Labels::new([("n", n.to_string().as_str())]).unwrap();
            table.index("x", &labels, &mut fresh).unwrap();
        }
        LOOKS.set(0);
        for n in 0..1_000 {
            assert_eq!(table.check_spelling(&format!("a.{n}"), &format!("a_{n}")), Ok(()));
        }
        assert!(LOOKS.get() <= 2_000, "{}", LOOKS.get());
        assert!(table.check_spelling("x.", "x").is_err(), "its metric has series");
        // The table starts anew: no metric is in use.
        table.index("b", &Labels::none(), &mut fresh).unwrap();
        table.index("b", &Labels::new([("n", "1")]).unwrap(), &mut fresh).unwrap();
        assert_eq!(table.check_spelling("x.", "x"), Ok(()));
        assert!(table.check_spelling("b.", "b").is_err());
    }
}
