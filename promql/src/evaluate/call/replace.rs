//! `label_replace`.

use super::{LABEL_BYTES_MAX, argument, relabelled, template, text};
use crate::{
    error::PromqlError,
    evaluate::Context,
    grid::Grid,
    plan::{Node, whole_regex},
    value::Value,
};

/// Most bytes of a compiled expression.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// A label from a template that is filled with parts of another label's value, where that matches as a whole.
pub(super) async fn value(
    context: &Context<'_>,
    arguments: &[Node],
    grid: Grid,
) -> Result<Value, PromqlError> {
    let (target, replacement) = (text(arguments, 1)?, text(arguments, 2)?);
    let (source, pattern) = (text(arguments, 3)?, text(arguments, 4)?);
    if target.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_replace(): "));
    }
    let regex = whole_regex(pattern, REGEX_BYTES_MAX).map_err(|reason| {
        let text = format!("invalid regular expression in label_replace(): {pattern}: {reason}");
        PromqlError::execution(text)
    })?;
    relabelled(context, argument(arguments, 0)?, grid, target, |series| {
        let captures = regex.captures(series.labels.get(source));
        Ok(captures.map(|captures| template::expanded(replacement, &regex, &captures, LABEL_BYTES_MAX)))
    })
    .await
}
