//! A session's series by name.

use catchment_proto::{Labels, MetricName};
use hashbrown::HashMap;

use super::{metric_spellings::MetricSpellings, name_collisions::SeenSpellings, shapes::Shapes};

/// The series that a session has used, by name: each gets an index at its first use.
///
/// Bounded: beyond `max` the table starts anew with higher indexes, so a device that invents labels costs time
/// but no memory. Indexes are never reused within a session. Only indexes of the current table are valid for
/// readings. A caller that keeps an index longer must compare [`SeriesTable::generation`].
#[derive(Debug)]
pub struct SeriesTable {
    plain: HashMap<MetricName, u32>,
    labelled: HashMap<Labels, HashMap<MetricName, u32>>,
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

impl SeriesTable {
    /// A table of at most so many series.
    pub fn new(max: usize) -> Self {
        Self {
            plain: HashMap::new(),
            labelled: HashMap::new(),
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
            self.labelled.get(labels).and_then(|metrics| metrics.get(metric))
        };
        if let Some(index) = known {
            return Ok(*index);
        }
        let metric = MetricName::new(metric).map_err(|e| e.to_string())?;
        if self.known >= self.max {
            self.plain.clear();
            self.labelled.clear();
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
            self.labelled.entry(labels.clone()).or_default().insert(metric.clone(), index);
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

    /// Whether a series of the metric is known.
    fn is_used(&self, metric: &str) -> bool {
        self.plain.contains_key(metric) || self.labelled.values().any(|metrics| metrics.contains_key(metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
