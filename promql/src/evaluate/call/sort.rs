//! `sort` and its kin, which order the answer of an instant query; a range query orders series by their labels.

use std::cmp::Ordering;

use super::{argument, natural, text};
use crate::{
    error::{PromqlError, Span},
    evaluate::Context,
    grid::Grid,
    plan::Node,
    value::{Samples, Series, Value},
};

/// By value, NaN last. Windows are left out.
pub(super) async fn by_value(
    context: &Context<'_>,
    of: &Node,
    span: Span,
    grid: Grid,
    descending: bool,
) -> Result<Value, PromqlError> {
    warn_of_range(context, span);
    let mut series = context.vector(of, grid).await?;
    series.retain(|one| matches!(one.samples, Samples::Floats(_)));
    if grid.count == 1 {
        let value = |one: &Series| match &one.samples {
            Samples::Floats(column) => column.get(0).unwrap_or(f64::NAN),
            Samples::Windows(_) => f64::NAN,
        };
        series.sort_by(|a, b| {
            let (a, b) = (value(a), value(b));
            let order = if descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
            order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        });
    }
    Ok(Value::Vector(series))
}

/// By the values of labels in natural order, then by all labels.
pub(super) async fn by_label(
    context: &Context<'_>,
    arguments: &[Node],
    span: Span,
    grid: Grid,
    descending: bool,
) -> Result<Value, PromqlError> {
    warn_of_range(context, span);
    let names: Vec<_> = (1..arguments.len()).map(|place| text(arguments, place)).collect::<Result<_, _>>()?;
    let mut series = context.vector(argument(arguments, 0)?, grid).await?;
    if grid.count == 1 {
        series.sort_by(|a, b| {
            let by_names = names
                .iter()
                .map(|name| natural::compare(a.labels.get(name), b.labels.get(name)))
                .find(|order| order.is_ne());
            let order = by_names.unwrap_or(Ordering::Equal).then_with(|| a.labels.cmp(&b.labels));
            if descending { order.reverse() } else { order }
        });
    }
    Ok(Value::Vector(series))
}

fn warn_of_range(context: &Context<'_>, span: Span) {
    if context.plan.grid.count > 1 {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        context.warn(text, span);
    }
}
