//! Vectors whose labels have changed: the order of their series, and series that became equal.

use hashbrown::HashSet;

use crate::{
    error::PromqlError,
    labels::Labels,
    steps::Steps,
    value::{Column, Samples, Series},
};

/// Whether series are in the order of their labels, and not in one by `sort` or `topk`.
pub(super) fn is_ordered(series: &[Series]) -> bool {
    series.is_sorted_by(|a, b| a.labels <= b.labels)
}

/// Series after a change of their labels, in the order of their labels, or, of one step, in another order that they had
/// before. Those with equal labels become one.
///
/// # Errors
/// Two of them have something at the same step.
pub(super) fn unique(mut series: Vec<Series>, was_ordered: bool) -> Result<Vec<Series>, PromqlError> {
    series.retain(|of| !of.samples.is_absent());
    if !was_ordered {
        let different = series.iter().map(|of| &of.labels).collect::<HashSet<_>>().len();
        return if different == series.len() { Ok(series) } else { Err(same()) };
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    if !series.windows(2).any(|two| matches!(two, [a, b] if a.labels == b.labels)) {
        return Ok(series);
    }
    let mut merged = Vec::with_capacity(series.len());
    let mut rest = series.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut equal = vec![first];
        while let Some(next) = rest.next_if(|next| equal.first().is_some_and(|one| one.labels == next.labels))
        {
            equal.push(next);
        }
        merge_equal(equal, &mut merged)?;
    }
    Ok(merged)
}

/// The error for two samples with the same labels at one step.
fn same() -> PromqlError {
    PromqlError::execution("vector cannot contain metrics with the same labelset")
}

/// Merges series with the same labels: their numbers and their windows stay apart, as one series each.
fn merge_equal(equal: Vec<Series>, merged: &mut Vec<Series>) -> Result<(), PromqlError> {
    let mut floats: Option<(Labels, Column)> = None;
    let mut windows: Option<(Labels, Vec<Option<_>>)> = None;
    let mut taken: Option<Steps> = None;
    for series in equal {
        let steps = series.samples.steps();
        match &mut taken {
            Some(taken) if taken.meets(&steps) => return Err(same()),
            Some(taken) => taken.add(&steps),
            None => taken = Some(steps),
        }
        match (series.samples, &mut floats, &mut windows) {
            (Samples::Floats(column), None, _) => floats = Some((series.labels, column)),
            (Samples::Floats(column), Some((_, all)), _) => {
                column.iter().for_each(|(step, value)| all.set(step, value));
            }
            (Samples::Windows(some), _, None) => windows = Some((series.labels, some)),
            (Samples::Windows(some), _, Some((_, all))) => {
                let present = all.iter_mut().zip(some).filter(|(_, window)| window.is_some());
                present.for_each(|(place, window)| *place = window);
            }
        }
    }
    merged.extend(floats.map(|(labels, column)| Series::floats(labels, column)));
    merged.extend(windows.map(|(labels, all)| Series { labels, samples: Samples::Windows(all) }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: &str, values: &[Option<f64>]) -> Series {
        let mut column = Column::absent(values.len());
        let present = values.iter().enumerate().filter_map(|(step, value)| value.map(|value| (step, value)));
        present.for_each(|(step, value)| column.set(step, value));
        Series::floats(Labels::new(vec![("a".into(), label.into())]), column)
    }

    #[test]
    fn equal_series_become_one_where_they_do_not_overlap() {
        let (none, one, two) = (None, Some(1.0), Some(2.0));
        let merged = unique(
            vec![series("y", &[one, none]), series("x", &[one, none]), series("x", &[none, two])],
            true,
        )
        .unwrap();
        assert_eq!(merged, [series("x", &[one, two]), series("y", &[one, none])]);
        let error = unique(vec![series("x", &[one, none]), series("x", &[two, none])], true).unwrap_err();
        assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
    }

    #[test]
    fn another_order_stays() {
        let sorted = vec![series("y", &[Some(1.0)]), series("x", &[Some(2.0)])];
        assert!(!is_ordered(&sorted));
        assert_eq!(unique(sorted.clone(), false).unwrap(), sorted);
        assert!(unique(vec![series("y", &[Some(1.0)]), series("y", &[Some(2.0)])], false).is_err());
    }
}
