//! Which group a series belongs to.

use hashbrown::HashMap;

use crate::{
    labels::{Labels, METRIC_NAME},
    plan::Grouping,
};

/// The labels of the group of a series.
pub(super) fn labels_of(grouping: &Grouping, labels: &Labels) -> Labels {
    match grouping {
        Grouping::By(kept) if kept.is_empty() => Labels::default(),
        Grouping::By(kept) => labels.filtered(|name| kept.iter().any(|label| **label == *name)),
        Grouping::Without(dropped) => {
            labels.filtered(|name| name != METRIC_NAME && !dropped.iter().any(|label| **label == *name))
        }
    }
}

/// Groups, numbered in the order in which their first series came.
#[derive(Default)]
pub(super) struct Groups {
    places: HashMap<Labels, usize>,
}

impl Groups {
    /// The group of these labels, and whether it is new.
    pub(super) fn place(&mut self, labels: &Labels) -> (usize, bool) {
        if let Some(place) = self.places.get(labels) {
            return (*place, false);
        }
        let place = self.places.len();
        self.places.insert(labels.clone(), place);
        (place, true)
    }
}
