//! `label_join`.

use super::{argument, relabelled, text};
use crate::{error::PromqlError, evaluate::Context, grid::Grid, plan::Node, value::Value};

/// The values of some labels, joined by a separator, as another label; a missing label is an empty value.
pub(super) async fn value(
    context: &Context<'_>,
    arguments: &[Node],
    grid: Grid,
) -> Result<Value, PromqlError> {
    let target = text(arguments, 1)?;
    let separator = text(arguments, 2)?;
    let sources: Vec<_> =
        (3..arguments.len()).map(|place| text(arguments, place)).collect::<Result<_, _>>()?;
    if target.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_join(): "));
    }
    if sources.iter().any(|source| source.is_empty()) {
        return Err(PromqlError::execution("invalid source label name in label_join(): "));
    }
    relabelled(context, argument(arguments, 0)?, grid, target, |series| {
        let values: Vec<&str> = sources.iter().map(|source| series.labels.get(source)).collect();
        Ok(Some(values.join(separator)))
    })
    .await
}
