//! `limitk` and `limit_ratio`: some series of each group, whatever their values.

use twox_hash::XxHash64;

use super::{
    counts,
    groups::{self, Groups},
    parameter,
};
use crate::{
    error::PromqlError,
    evaluate::{Context, text, unique},
    grid::Grid,
    labels::Labels,
    plan::Aggregation,
    steps::Steps,
    value::Series,
};

/// At each step the first series of each group, in the order of labels.
pub(super) async fn first(
    context: &Context<'_>,
    of: &Aggregation,
    grid: Grid,
) -> Result<Vec<Series>, PromqlError> {
    let Some(counts) = counts(&parameter(context, of, grid).await?)? else { return Ok(Vec::new()) };
    let mut groups = Groups::default();
    let mut taken: Vec<Vec<usize>> = Vec::new();
    let mut group_bytes = 0;
    kept(context, of, grid, |series| {
        let labels = groups::labels_of(&of.grouping, &series.labels);
        let (place, is_new) = groups.place(&labels);
        if is_new {
            group_bytes += grid.count * size_of::<usize>() + labels.bytes();
            taken.push(vec![0; grid.count]);
        }
        let mut steps = series.samples.steps();
        if let Some(taken) = taken.get_mut(place) {
            steps.retain(|step| match (taken.get_mut(step), counts.get(step)) {
                (Some(taken), Some(count)) if *taken < *count => {
                    *taken += 1;
                    true
                }
                _ => false,
            });
        }
        (steps, group_bytes)
    })
    .await
}

/// At each step the series whose hash is within the ratio, from below, or, if it is negative, from above.
pub(super) async fn ratio(
    context: &Context<'_>,
    of: &Aggregation,
    grid: Grid,
) -> Result<Vec<Series>, PromqlError> {
    let ratios = parameter(context, of, grid).await?;
    if ratios.iter().all(|ratio| *ratio == 0.0) {
        return Ok(Vec::new());
    }
    if ratios.iter().any(|ratio| ratio.is_nan()) {
        return Err(PromqlError::execution("Ratio value is NaN"));
    }
    let span = of.parameter.as_ref().map_or(of.operand.span, |node| node.span);
    let greatest = ratios.iter().copied().fold(f64::MIN, f64::max);
    let least = ratios.iter().copied().fold(f64::MAX, f64::min);
    for (beyond, bound, is_beyond) in [(greatest, "1", greatest > 1.0), (least, "-1", least < -1.0)] {
        if is_beyond {
            let text = format!(
                "ratio value should be between -1 and 1, got {}, capping to {bound}",
                text::short(beyond)
            );
            context.warn(&text, span);
        }
    }
    kept(context, of, grid, |series| {
        let place = sampling_offset(&series.labels);
        let mut steps = series.samples.steps();
        steps.retain(|step| {
            let ratio = ratios.get(step).map_or(0.0, |ratio| ratio.clamp(-1.0, 1.0));
            if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
        });
        (steps, 0)
    })
    .await
}

/// The series at those steps that a function says; beside them it says how many bytes it holds.
async fn kept(
    context: &Context<'_>,
    of: &Aggregation,
    grid: Grid,
    mut steps_of: impl FnMut(&Series) -> (Steps, usize) + Send,
) -> Result<Vec<Series>, PromqlError> {
    let mut held = context.hold();
    let (mut all, mut bytes) = (Vec::new(), 0);
    context
        .each_batch(&of.operand, grid, &mut |batch| {
            for mut series in batch {
                let (steps, others) = steps_of(&series);
                if !steps.is_empty() {
                    series.samples.keep(&steps);
                    bytes += series.bytes();
                    all.push(series);
                }
                held.set(bytes + others)?;
            }
            Ok(())
        })
        .await?;
    let was_ordered = unique::is_ordered(&all);
    unique::unique(all, was_ordered)
}

/// A number in `[0, 1]` that depends only on the labels: as in Prometheus, whose hash is that of its encoding of labels.
fn sampling_offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.bytes());
    let mut append = |text: &str| {
        match u8::try_from(text.len()) {
            Ok(length) if length < u8::MAX => bytes.push(length),
            _ => bytes
                .extend([[255].as_slice(), text.len().to_le_bytes().get(..3).unwrap_or_default()].concat()),
        }
        bytes.extend(text.as_bytes());
    };
    labels.iter().for_each(|(name, value)| {
        append(name);
        append(value);
    });
    XxHash64::oneshot(0, &bytes) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_prometheus_encoding() {
        let labels = Labels::new(vec![("a".into(), "1".into())]);
        let expected = XxHash64::oneshot(0, b"\x01a\x011") as f64 / u64::MAX as f64;
        assert_eq!(sampling_offset(&labels), expected);
        let long = "x".repeat(300);
        let labels = Labels::new(vec![("a".into(), long.as_str().into())]);
        let bytes = [b"\x01a\xff\x2c\x01\x00".as_slice(), long.as_bytes()].concat();
        assert_eq!(sampling_offset(&labels), XxHash64::oneshot(0, &bytes) as f64 / u64::MAX as f64);
    }
}
