//! The aggregates of a request, and what its series are sorted by.

use super::{Order, PlanError};
use crate::query::aggregate::Aggregate;

/// Most aggregates of one query.
const AGGREGATES_MAX: usize = 64;
/// Aggregates when the request names none.
pub(super) const AGGREGATES_DEFAULT: [&str; 4] = ["count", "mean", "min", "max"];

/// The columns of these names.
///
/// # Errors
/// One is not an aggregate, or there are too many.
pub(super) fn named(names: Vec<String>) -> Result<Vec<(String, Aggregate)>, PlanError> {
    if names.len() > AGGREGATES_MAX {
        return Err(PlanError::TooMany { what: "aggregates", count: names.len(), max: AGGREGATES_MAX });
    }
    let names = if names.is_empty() { AGGREGATES_DEFAULT.map(str::to_owned).to_vec() } else { names };
    let mut aggregates: Vec<(String, Aggregate)> = Vec::with_capacity(names.len());
    for name in names {
        for (name, aggregate) in Aggregate::columns(&name)? {
            if !aggregates.iter().any(|(known, _)| *known == name) {
                aggregates.push((name, aggregate));
            }
        }
        // A histogram has a column for each class.
        if aggregates.len() > AGGREGATES_MAX {
            let count = aggregates.len();
            return Err(PlanError::TooMany { what: "aggregates", count, max: AGGREGATES_MAX });
        }
    }
    Ok(aggregates)
}

/// The order of series; `None`: all of them come, in the order of their labels.
///
/// # Errors
/// They cannot be sorted by this.
pub(super) fn order(name: &str, top: u32, ascending: bool) -> Result<Option<Order>, PlanError> {
    let most = (top > 0).then_some(top as usize);
    if name.is_empty() {
        return Ok(most.map(|most| Order { by: None, most: Some(most), ascending }));
    }
    match <[_; 1]>::try_from(Aggregate::columns(name)?) {
        Ok([(_, by)]) if by.is_number() => Ok(Some(Order { by: Some(by), most, ascending })),
        _ => Err(PlanError::Order(name.chars().take(40).collect())),
    }
}
