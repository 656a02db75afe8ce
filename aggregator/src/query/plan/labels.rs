//! The labels of a request.

use super::{Grouping, PlanError};
use crate::selector::METRIC_LABEL;

/// Most labels of `by` or `without`.
const BY_MAX: usize = 32;
/// Longest label name, in bytes.
const LABEL_BYTES_MAX: usize = 200;

/// Checks by which labels series are grouped.
///
/// # Errors
/// The first error found.
pub(super) fn grouping(by: Vec<String>, without: Vec<String>) -> Result<Grouping, PlanError> {
    match (by.is_empty(), without.is_empty()) {
        (false, false) => Err(PlanError::ByAndWithout),
        (_, true) => Ok(Grouping::By(labels(by, "by", "labels in by")?)),
        (true, false) => Ok(Grouping::Without(labels(without, "without", "labels in without")?)),
    }
}

fn labels(given: Vec<String>, list: &'static str, what: &'static str) -> Result<Vec<String>, PlanError> {
    if given.len() > BY_MAX {
        return Err(PlanError::TooMany { what, count: given.len(), max: BY_MAX });
    }
    let mut labels: Vec<String> = Vec::with_capacity(given.len());
    for label in given {
        let identifier = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let known = !label.starts_with("__") || label == METRIC_LABEL;
        if !identifier || !known || label.len() > LABEL_BYTES_MAX {
            return Err(PlanError::Label { list, label: label.chars().take(40).collect() });
        }
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}
