//! `and`, `or` and `unless`: which series have something at a step, whatever it is.

use super::{operands, sides};
use crate::{
    error::PromqlError,
    evaluate::{Context, pace::Pace, unique},
    grid::Grid,
    plan::{Binary, BinaryOperator},
    steps::Steps,
    value::{Series, Value},
};

/// Samples of the left side, and for `or` those of the right side with other signatures.
pub(super) async fn value(context: &Context<'_>, of: &Binary, grid: Grid) -> Result<Value, PromqlError> {
    let (left, right, mut held, bytes) = operands(context, of, grid).await?;
    let was_ordered = unique::is_ordered(&left);
    let (mut left, mut right) = (sides::Side::new(left), sides::Side::new(right));
    held.set(bytes + left.bytes() + right.bytes())?;
    let words = grid.count.div_ceil(64);
    let mut pace = Pace::new(context);
    for group in sides::groups(&of.matching, &left, &right, &mut pace).await? {
        let (filter, kept) = match of.operator {
            BinaryOperator::Or => (&group.left, &group.right),
            _ => (&group.right, &group.left),
        };
        let (source, target) = match of.operator {
            BinaryOperator::Or => (&left, &mut right),
            _ => (&right, &mut left),
        };
        let mut present = Steps::none(grid.count);
        filter.iter().filter_map(|place| source.steps.get(*place)).for_each(|steps| present.add(steps));
        for place in kept {
            let (Some(series), Some(steps)) = (target.series.get_mut(*place), target.steps.get_mut(*place))
            else {
                continue;
            };
            match of.operator {
                BinaryOperator::And => steps.keep(&present),
                _ => steps.remove(&present),
            }
            series.samples.keep(steps);
        }
        pace.did((filter.len() + kept.len()) * words).await?;
    }
    let mut series: Vec<Series> = left.series;
    // Another order than that of labels stays only where nothing is appended.
    let was_ordered = was_ordered || of.operator == BinaryOperator::Or;
    if of.operator == BinaryOperator::Or {
        series.extend(right.series);
    }
    unique::unique(series, was_ordered).map(Value::Vector)
}
