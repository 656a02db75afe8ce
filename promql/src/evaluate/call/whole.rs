//! Functions between scalars and vectors.

use crate::{
    error::PromqlError,
    evaluate::Context,
    grid::Grid,
    labels::Labels,
    plan::Node,
    steps::Steps,
    value::{Column, Samples, Series, Value},
};

/// `scalar`: the number of the only series that has one at a step; NaN if none or several have.
pub(super) async fn scalar(context: &Context<'_>, of: &Node, grid: Grid) -> Result<Value, PromqlError> {
    let mut numbers = vec![f64::NAN; grid.count];
    let mut found = Steps::none(grid.count);
    context
        .each_batch(of, grid, &mut |batch| {
            for series in batch {
                let Samples::Floats(column) = series.samples else { continue };
                for (step, value) in column.iter() {
                    if let Some(number) = numbers.get_mut(step) {
                        *number = if found.contains(step) { f64::NAN } else { value };
                        found.insert(step);
                    }
                }
            }
            Ok(())
        })
        .await?;
    Ok(Value::Scalar(numbers))
}

/// `vector`: a series without labels.
pub(super) async fn vector(context: &Context<'_>, of: &Node, grid: Grid) -> Result<Value, PromqlError> {
    let numbers = context.scalar(of, grid).await?;
    Ok(Value::Vector(vec![Series::floats(Labels::default(), Column::full(numbers))]))
}

/// A series without labels of a function of each time, Unix milliseconds.
pub(super) fn of_times(grid: Grid, of: impl Fn(i64) -> f64) -> Value {
    let numbers = grid.times().map(of).collect();
    Value::Vector(vec![Series::floats(Labels::default(), Column::full(numbers))])
}
