//! Which optional parts the windows of a metric carry.

use std::collections::BTreeMap;

use catchment_partial::Parts;

use super::entry::MetricEntry;

/// Optional parts by metric: rules for a name, or for all names with a prefix. A name wins over a prefix, a longer
/// prefix over a shorter one; without a rule a metric carries none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricParts {
    names: BTreeMap<Box<str>, Parts>,
    /// Without the `*` at their end.
    prefixes: BTreeMap<Box<str>, Parts>,
}

impl MetricParts {
    /// Adds a rule: a name, or a prefix and `*`. Returns whether there was none for the same.
    pub fn insert(&mut self, pattern: &str, parts: Parts) -> bool {
        let previous = match pattern.strip_suffix('*') {
            Some(prefix) => self.prefixes.insert(prefix.into(), parts),
            None => self.names.insert(pattern.into(), parts),
        };
        previous.is_none()
    }

    /// The parts of a metric.
    pub fn of(&self, metric: &str) -> Parts {
        if let Some(parts) = self.names.get(metric) {
            return *parts;
        }
        if self.prefixes.is_empty() {
            return Parts::NONE;
        }
        let prefixes = (0..=metric.len()).rev().filter_map(|length| metric.get(..length));
        prefixes.filter_map(|prefix| self.prefixes.get(prefix)).next().copied().unwrap_or_default()
    }

    /// The rules as an entry has them.
    pub(super) fn entries(&self) -> Vec<MetricEntry> {
        let entry = |pattern: String, parts: &Parts| MetricEntry { pattern, parts: parts.bits().into() };
        let names = self.names.iter().map(|(name, parts)| entry(name.to_string(), parts));
        names.chain(self.prefixes.iter().map(|(prefix, parts)| entry(format!("{prefix}*"), parts))).collect()
    }

    /// The rules of an entry. Parts that this version does not know are left out.
    pub(super) fn of_entries(entries: &[MetricEntry]) -> Self {
        let mut rules = Self::default();
        for entry in entries {
            rules.insert(&entry.pattern, parts_of_bits(entry.parts));
        }
        rules
    }
}

/// The known ones of parts as bits.
pub(super) fn parts_of_bits(bits: u32) -> Parts {
    let known = (0..8_u32).filter_map(|bit| Parts::from_bits(u8::try_from(bits & (1 << bit)).ok()?));
    known.fold(Parts::NONE, Parts::with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_rule_holds() {
        let mut rules = MetricParts::default();
        let both = Parts::ORDER.with(Parts::MOMENTS);
        assert!(rules.insert("*", Parts::DISTINCT) && rules.insert("net_*", Parts::ORDER));
        assert!(rules.insert("net_in_*", both) && rules.insert("net_in_total", Parts::NONE));
        assert!(rules.insert("net_", Parts::MOMENTS) && !rules.insert("net_*", Parts::ORDER));
        for (metric, parts) in [
            ("a", Parts::DISTINCT),
            ("net", Parts::DISTINCT),
            ("net_", Parts::MOMENTS),
            ("net_out", Parts::ORDER),
            ("net_in_", both),
            ("net_in_rate", both),
            ("net_in_total", Parts::NONE),
        ] {
            assert_eq!(rules.of(metric), parts, "{metric}");
        }
        assert_eq!(MetricParts::of_entries(&rules.entries()), rules);
        assert_eq!(MetricParts::default().of("a"), Parts::NONE);
        assert_eq!(parts_of_bits(0b1111_0011), both);
    }
}
