//! Merges the series of groups, batch by batch: what is kept are groups × steps.
//!
//! ```text
//! batches → group of each series → fold | quantile | top | limit | count_values
//! ```

mod cells;
mod count_values;
mod fold;
mod groups;
mod heap;
mod limit;
mod quantile;
mod top;

use cells::{Count, Extreme, Mean, Present, Total, Variance};
use fold::Windows;

use super::Context;
use crate::{
    error::{PromqlError, Span},
    grid::Grid,
    plan::{Aggregation, AggregationOperator},
    value::Value,
};

/// Its value on a grid. In the order of the groups' labels; `topk` and `bottomk` at one step: by value.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Aggregation,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    use AggregationOperator::{
        Avg, Bottomk, Count as CountOf, CountValues, Group, LimitK, LimitRatio, Max, Min, Quantile, Stddev,
        Stdvar, Sum, Topk,
    };
    let series = match of.operator {
        Sum => fold::value::<Total>(context, of, grid, Windows::Merged).await,
        Avg => fold::value::<Mean>(context, of, grid, Windows::NotScaled).await,
        CountOf => fold::value::<Count>(context, of, grid, Windows::Counted).await,
        Group => fold::value::<Present>(context, of, grid, Windows::Counted).await,
        Max => fold::value::<Extreme<true>>(context, of, grid, Windows::Ignored).await,
        Min => fold::value::<Extreme<false>>(context, of, grid, Windows::Ignored).await,
        Stddev => fold::value::<Variance<true>>(context, of, grid, Windows::Ignored).await,
        Stdvar => fold::value::<Variance<false>>(context, of, grid, Windows::Ignored).await,
        Quantile => quantile::value(context, of, grid).await,
        Topk => top::value::<true>(context, of, span, grid).await,
        Bottomk => top::value::<false>(context, of, span, grid).await,
        LimitK => limit::first(context, of, grid).await,
        LimitRatio => limit::ratio(context, of, grid).await,
        CountValues => count_values::value(context, of, grid).await,
    };
    series.map(Value::Vector)
}

/// Says that windows were left out.
fn ignored(context: &Context<'_>, of: &Aggregation, span: Span) {
    context.inform(&format!("ignored histogram in {} aggregation", name(of.operator)), span);
}

/// The numbers of the parameter, one for each step.
async fn parameter(context: &Context<'_>, of: &Aggregation, grid: Grid) -> Result<Vec<f64>, PromqlError> {
    match &of.parameter {
        Some(node) => context.scalar(node, grid).await,
        None => Err(missing(of)),
    }
}

/// The plan has no parameter where there must be one.
fn missing(of: &Aggregation) -> PromqlError {
    PromqlError::execution(format!("{} needs a parameter", name(of.operator)))
}

/// The numbers of how many series stay, one for each step; `None`: nowhere any.
fn counts(numbers: &[f64]) -> Result<Option<Vec<usize>>, PromqlError> {
    let any_nan = numbers.iter().any(|number| number.is_nan());
    if !any_nan && numbers.iter().all(|number| *number < 1.0) {
        return Ok(None);
    }
    if any_nan {
        return Err(PromqlError::execution("Parameter value is NaN"));
    }
    let limit = i64::MAX as f64;
    let beyond = |below: bool| numbers.iter().find(|n| if below { **n <= -limit } else { **n >= limit });
    if let Some(number) = beyond(true) {
        return Err(PromqlError::execution(format!(
            "Scalar value {} underflows int64",
            super::text::short(*number)
        )));
    }
    if let Some(number) = beyond(false) {
        return Err(PromqlError::execution(format!(
            "Scalar value {} overflows int64",
            super::text::short(*number)
        )));
    }
    // Truncates, and negative numbers are none.
    Ok(Some(numbers.iter().map(|number| *number as usize).collect()))
}

/// The operator as it is written.
fn name(operator: AggregationOperator) -> &'static str {
    match operator {
        AggregationOperator::Avg => "avg",
        AggregationOperator::Bottomk => "bottomk",
        AggregationOperator::Count => "count",
        AggregationOperator::CountValues => "count_values",
        AggregationOperator::Group => "group",
        AggregationOperator::LimitK => "limitk",
        AggregationOperator::LimitRatio => "limit_ratio",
        AggregationOperator::Max => "max",
        AggregationOperator::Min => "min",
        AggregationOperator::Quantile => "quantile",
        AggregationOperator::Stddev => "stddev",
        AggregationOperator::Stdvar => "stdvar",
        AggregationOperator::Sum => "sum",
        AggregationOperator::Topk => "topk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_truncated_and_bounded() {
        assert_eq!(counts(&[2.9, 0.5, -3.0]).unwrap(), Some(vec![2, 0, 0]));
        assert_eq!(counts(&[0.9, -1e300]).unwrap(), None);
        let error = |numbers: &[f64]| counts(numbers).unwrap_err().to_string();
        assert_eq!(error(&[f64::NAN, 0.0]), "Parameter value is NaN");
        assert_eq!(error(&[1.0, 1e30]), "Scalar value 1e+30 overflows int64");
        assert_eq!(error(&[1.0, -1e30]), "Scalar value -1e+30 underflows int64");
    }
}
