//! What the series indexes mean that a device has chosen for its connection.
//!
//! Bounded: indexes are 1 to `series_max`. Those that were given one after the other lie in a row; others are looked
//! up.
//!
//! A definition holds as long as its connection, the session's table of names does not: it starts anew when a device
//! uses many names. So a definition keeps its name, and is looked up again in a table that has started anew since.

use hashbrown::HashMap;

use catchment_proto::{Labels, MetricName};

use crate::intake::Reason;

/// How far beyond twice the row an index may be and still lengthen it.
const SLACK: usize = 16;

/// A series that an index means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defined {
    pub(super) metric: MetricName,
    pub(super) labels: Labels,
    /// The session's index of it, in a table of this generation.
    pub(super) series: u32,
    pub(super) generation: u64,
}

/// A series, or why its definition was refused.
type Alias = Result<Defined, Reason>;

/// What a connection's own series indexes stand for.
#[derive(Debug)]
pub struct SeriesAliases {
    row: Vec<Option<Alias>>,
    /// Those that are not in the row.
    others: HashMap<u32, Alias>,
    series_max: u32,
}

impl SeriesAliases {
    /// No definitions yet; indexes 1 to `series_max` may be used.
    pub fn new(series_max: u32) -> Self {
        Self { row: Vec::new(), others: HashMap::new(), series_max }
    }

    pub(super) const fn series_max(&self) -> u32 {
        self.series_max
    }

    /// What an index means, if it was defined.
    #[inline]
    pub(super) fn meaning(&self, index: u32) -> Option<&Alias> {
        match self.row.get(index as usize) {
            Some(Some(meaning)) => Some(meaning),
            _ if self.others.is_empty() => None,
            _ => self.others.get(&index),
        }
    }

    /// The session's index of the series that an index means, if its table is still of the generation.
    #[inline]
    pub(super) fn series(&self, index: u32, generation: u64) -> Option<u32> {
        let defined = self.meaning(index)?.as_ref().ok()?;
        (defined.generation == generation).then_some(defined.series)
    }

    /// Gives an index within the bound its meaning.
    pub(super) fn define(&mut self, index: u32, meaning: Alias) {
        let at = index as usize;
        if at >= self.row.len() && at <= 2 * self.row.len() + SLACK {
            self.row.resize(at + 1, None);
        }
        match self.row.get_mut(at) {
            Some(place) => {
                *place = Some(meaning);
                self.others.remove(&index);
            }
            None => {
                self.others.insert(index, meaning);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defined(series: u32) -> Alias {
        let (metric, labels) = (MetricName::new("m").unwrap(), Labels::none());
        Ok(Defined { metric, labels, series, generation: 0 })
    }

    #[test]
    fn an_index_means_what_it_meant_last() {
        let mut aliases = SeriesAliases::new(10_000);
        assert_eq!(aliases.meaning(1), None);
        for (at, index) in [1, 5_000, 2, 40, 9_999, 17, 5_000, 100].into_iter().enumerate() {
            aliases.define(index, defined(at as u32));
        }
        aliases.define(2, Err(Reason::BadMetric));
        for at in 100..10_000 {
            if at % 3 == 0 {
                aliases.define(at, defined(at));
            }
        }
        aliases.define(5_000, defined(77));
        assert_eq!(aliases.series(1, 0), Some(0));
        assert_eq!(aliases.series(1, 1), None, "the session's table has started anew");
        assert_eq!(aliases.meaning(2), Some(&Err(Reason::BadMetric)));
        assert_eq!(aliases.series(40, 0), Some(3));
        assert_eq!(aliases.series(17, 0), Some(5));
        assert_eq!(aliases.series(5_000, 0), Some(77));
        assert_eq!(aliases.series(9_999, 0), Some(9_999));
        assert_eq!(aliases.meaning(3), None);
        assert_eq!(aliases.meaning(9_998), None);
        assert!(aliases.row.len() + aliases.others.len() <= 10_001);
    }

    #[test]
    fn one_high_index_takes_no_row() {
        let mut aliases = SeriesAliases::new(1_000_000);
        aliases.define(1_000_000, defined(1));
        assert_eq!((aliases.row.len(), aliases.series(1_000_000, 0)), (0, Some(1)));
    }
}
