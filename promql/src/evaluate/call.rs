//! Functions of values.

pub(super) mod absent;
mod dates;
mod elements;
mod join;
mod math;
mod natural;
mod replace;
mod sort;
mod template;
mod whole;

use std::sync::Arc;

use super::{Context, selector};
use crate::{
    error::{PromqlError, Span},
    function::Function,
    grid::Grid,
    plan::{Node, Operation},
    value::{Samples, Series, Value},
};

/// Most bytes of the value of a label that a function makes.
const LABEL_BYTES_MAX: usize = 65_536;

/// The value of a function on a grid.
pub(super) async fn value(
    context: &Context<'_>,
    function: Function,
    arguments: &[Node],
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    if let Some(of) = math::simple(function) {
        return elements::mapped(context, argument(arguments, 0)?, grid, of).await;
    }
    if let Some(of) = dates::part(function) {
        return match arguments.first() {
            Some(times) => {
                elements::mapped(context, times, grid, move |time| dates::of_value(time, of)).await
            }
            None => Ok(whole::of_times(grid, move |ms| of(ms.div_euclid(1000)))),
        };
    }
    match function {
        Function::Clamp | Function::ClampMax | Function::ClampMin => {
            elements::clamped(context, function, arguments, grid).await
        }
        Function::Round => elements::rounded(context, arguments, grid).await,
        Function::Timestamp => timestamp(context, argument(arguments, 0)?, grid).await,
        Function::Absent => absent::value(context, argument(arguments, 0)?, grid).await,
        Function::LabelJoin => join::value(context, arguments, grid).await,
        Function::LabelReplace => replace::value(context, arguments, grid).await,
        Function::Sort => sort::by_value(context, argument(arguments, 0)?, span, grid, false).await,
        Function::SortDesc => sort::by_value(context, argument(arguments, 0)?, span, grid, true).await,
        Function::SortByLabel => sort::by_label(context, arguments, span, grid, false).await,
        Function::SortByLabelDesc => sort::by_label(context, arguments, span, grid, true).await,
        Function::Scalar => whole::scalar(context, argument(arguments, 0)?, grid).await,
        Function::Vector => whole::vector(context, argument(arguments, 0)?, grid).await,
        Function::Pi => Ok(Value::Scalar(vec![std::f64::consts::PI; grid.count])),
        Function::Time => Ok(Value::Scalar(grid.times().map(seconds).collect())),
        Function::HistogramAvg
        | Function::HistogramCount
        | Function::HistogramFraction
        | Function::HistogramQuantile
        | Function::HistogramStddev
        | Function::HistogramStdvar
        | Function::HistogramSum => super::histogram::value(context, function, arguments, span, grid).await,
        _ => Err(PromqlError::execution(format!("{function:?} is not a function of values"))),
    }
}

/// The negated operand; series get another meaning, so the name goes.
pub(super) async fn negate(context: &Context<'_>, operand: &Node, grid: Grid) -> Result<Value, PromqlError> {
    match context.value(operand, grid).await? {
        Value::Scalar(mut numbers) => {
            numbers.iter_mut().for_each(|number| *number = -*number);
            Ok(Value::Scalar(numbers))
        }
        Value::Vector(series) => {
            if series.iter().any(|of| matches!(of.samples, Samples::Windows(_))) {
                context.inform("ignored histogram in unary minus: windows are not scaled", operand.span);
            }
            elements::mapped_series(context, series, grid, |value| -value).await
        }
        Value::Text(text) => Ok(Value::Text(text)),
    }
}

/// The times of the last readings of a selector; of other vectors, the time of the step.
async fn timestamp(context: &Context<'_>, of: &Node, grid: Grid) -> Result<Value, PromqlError> {
    if let Operation::Selector(selector) = &of.operation {
        let once = of.invariant && grid.count > 1;
        let asked = if once { Grid::instant(grid.start_ms) } else { grid };
        let times = selector::timestamps(context, selector, of.span, asked).await?;
        let times = if once { super::repeated(times, grid.count) } else { times };
        let Value::Vector(series) = times else { return Ok(times) };
        return elements::mapped_series(context, series, grid, |seconds| seconds).await;
    }
    let mut series = context.vector(of, grid).await?;
    let times: Vec<f64> = grid.times().map(seconds).collect();
    for one in &mut series {
        let column = crate::value::Column::at(times.clone(), one.samples.steps());
        one.samples = Samples::Floats(column);
    }
    elements::mapped_series(context, series, grid, |seconds| seconds).await
}

/// Unix milliseconds as seconds.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// An argument that the plan has checked to be there.
fn argument(arguments: &[Node], place: usize) -> Result<&Node, PromqlError> {
    arguments.get(place).ok_or_else(|| PromqlError::execution(format!("argument {} is missing", place + 1)))
}

/// An argument that is a text.
fn text(arguments: &[Node], place: usize) -> Result<&Arc<str>, PromqlError> {
    match &argument(arguments, place)?.operation {
        Operation::Text(text) => Ok(text),
        _ => Err(PromqlError::execution(format!("argument {} is no string", place + 1))),
    }
}

/// Series with another value of one label. Those that become equal are one, where they do not overlap.
async fn relabelled(
    context: &Context<'_>,
    of: &Node,
    grid: Grid,
    label: &str,
    mut value_of: impl FnMut(&Series) -> Result<Option<String>, PromqlError> + Send,
) -> Result<Value, PromqlError> {
    let mut series = context.vector(of, grid).await?;
    let was_ordered = super::unique::is_ordered(&series);
    let mut held = context.hold();
    let mut bytes: usize = series.iter().map(Series::bytes).sum();
    let mut pace = super::pace::Pace::new(context);
    for one in &mut series {
        let Some(value) = value_of(one)? else { continue };
        if value.len() > LABEL_BYTES_MAX {
            return Err(PromqlError::execution(format!(
                "the value of label {label:?} would have {} bytes, more than {LABEL_BYTES_MAX}",
                value.len()
            )));
        }
        bytes += value.len();
        held.set(bytes)?;
        pace.did(value.len()).await?;
        one.labels = one.labels.with(label, &value);
    }
    super::unique::unique(series, was_ordered).map(Value::Vector)
}
