//! Labels of series.

use std::sync::Arc;

/// The label that holds the name of a metric.
pub const METRIC_NAME: &str = "__name__";

/// Name and value.
type Label = (Arc<str>, Arc<str>);

/// Labels of a series: sorted by name, each once, none with an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// Labels in any order; empty values are left out. Of two with one name, the first counts.
    #[must_use]
    pub fn new(mut labels: Vec<Label>) -> Self {
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort_by(|(a, _), (b, _)| a.cmp(b));
        labels.dedup_by(|(later, _), (earlier, _)| later == earlier);
        Self(labels.into())
    }

    /// The value of a label; empty if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.shared(name).map_or("", |value| &**value)
    }

    /// The shared value of a label.
    #[must_use]
    pub fn shared(&self, name: &str) -> Option<&Arc<str>> {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// All labels, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that pass.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// All but the name of the metric.
    #[must_use]
    pub fn without_name(&self) -> Self {
        self.filtered(|name| name != METRIC_NAME)
    }

    /// With another value of a label; an empty one removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let others = self.0.iter().filter(|(known, _)| **known != *name).cloned();
        Self::new(others.chain([(Arc::from(name), Arc::from(value))]).collect())
    }

    /// Approximate memory, bytes, as if no text were shared.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| size_of::<Label>() + name.len() + value.len() + 32).sum()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self::new(labels.into_iter().collect())
    }
}
