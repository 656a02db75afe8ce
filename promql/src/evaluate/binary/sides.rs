//! The series of two vectors by the labels in which they match.

use hashbrown::HashMap;

use crate::{
    error::PromqlError,
    evaluate::pace::{Pace, SERIES_VALUES},
    labels::{Labels, METRIC_NAME},
    plan::Matching,
    steps::Steps,
    value::Series,
};

/// One operand: its series, and where each has something.
pub(super) struct Side {
    pub(super) series: Vec<Series>,
    pub(super) steps: Vec<Steps>,
}

impl Side {
    pub(super) fn new(series: Vec<Series>) -> Self {
        let steps = series.iter().map(|of| of.samples.steps()).collect();
        Self { series, steps }
    }

    /// A series and where it has something.
    pub(super) fn get(&self, place: usize) -> Option<(&Series, &Steps)> {
        Some((self.series.get(place)?, self.steps.get(place)?))
    }

    /// Where any series has something.
    pub(super) fn any(&self, count: usize) -> Steps {
        let mut any = Steps::none(count);
        self.steps.iter().for_each(|steps| any.add(steps));
        any
    }

    /// Memory beside the series, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.steps.iter().map(Steps::bytes).sum()
    }
}

/// The series of both sides that have the same signature, by their places.
#[derive(Default)]
pub(super) struct Group {
    /// The labels in which they match.
    pub(super) signature: Labels,
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
}

/// All series by their signatures.
pub(super) async fn groups(
    matching: &Matching,
    left: &Side,
    right: &Side,
    pace: &mut Pace<'_, '_>,
) -> Result<Vec<Group>, PromqlError> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (is_left, side) in [(true, left), (false, right)] {
        for (number, series) in side.series.iter().enumerate() {
            pace.did(SERIES_VALUES).await?;
            let signature = signature(matching, &series.labels);
            let place = places.get(&signature).copied().unwrap_or_else(|| {
                places.insert(signature.clone(), groups.len());
                groups.push(Group { signature, ..Group::default() });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(place) {
                if is_left { &mut group.left } else { &mut group.right }.push(number);
            }
        }
    }
    Ok(groups)
}

/// The labels in which a series must be equal to one of the other side.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    labels.filtered(|name| {
        let named = is_named(matching, name);
        if matching.on { named } else { !named && name != METRIC_NAME }
    })
}

/// Whether a label is one of `on` or `ignoring`.
pub(super) fn is_named(matching: &Matching, name: &str) -> bool {
    matching.labels.iter().any(|label| **label == *name)
}
