//! Expressions: at one time, in a range, formatted.

use bytes::Bytes;
use catchment_promql::{Expression, Grid, Kind, Plan, PromqlError, format, parse};

use super::{
    failure::ApiError,
    json::{self, Shape},
    parameters::Parameters,
    service::Asked,
};
use crate::{
    clock,
    query::{
        are_quick,
        promql::{Chunks, Failure, FailureKind, Options},
    },
};

/// Evaluates an expression at one time, by default now.
///
/// # Errors
/// There is no answer.
pub(super) async fn instant(asked: &Asked<'_>, parameters: &Parameters) -> Result<Chunks, ApiError> {
    let time = parameters.time("time")?.unwrap_or_else(clock::now_ms);
    evaluate(asked, parameters, Grid::instant(time), Shape::Instant).await
}

/// Evaluates an expression at each step of a range.
///
/// # Errors
/// There is no answer.
pub(super) async fn range(asked: &Asked<'_>, parameters: &Parameters) -> Result<Chunks, ApiError> {
    evaluate(asked, parameters, parameters.grid()?, Shape::Range).await
}

async fn evaluate(
    asked: &Asked<'_>,
    parameters: &Parameters,
    grid: Grid,
    shape: Shape,
) -> Result<Chunks, ApiError> {
    parameters.refuse_lookback()?;
    let options = Options { timeout: parameters.timeout()?, hide_incomplete: parameters.hides_incomplete()? };
    let limit = parameters.limit("limit")?;
    let text = parameters.expression();
    let plan = parsed(asked, text, move |expression| Plan::new(expression, grid)).await?;
    if plan.root.kind == Kind::Text && shape == Shape::Range {
        let text = r#"invalid expression type "string" for range query, must be Scalar or instant Vector"#;
        return Err(ApiError::parameter("query", text));
    }
    let write = move |answer| json::answer(answer, grid, shape, limit);
    Ok(asked.api.promql.evaluate(&asked.caller, plan, options, write).await?)
}

/// Formats an expression.
///
/// # Errors
/// It is none.
pub(super) async fn formatted(asked: &Asked<'_>, parameters: &Parameters) -> Result<Bytes, ApiError> {
    let text = parsed(asked, parameters.expression(), |expression| Ok(format(expression))).await?;
    Ok(json::success(&json::text(&text)))
}

/// Parses an expression and does something with it that takes about as long.
async fn parsed<T: Send + 'static>(
    asked: &Asked<'_>,
    text: &str,
    then: impl FnOnce(&Expression) -> Result<T, PromqlError> + Send + 'static,
) -> Result<T, ApiError> {
    let work = |text: &str| parse(text).and_then(|expression| then(&expression));
    let result = if are_quick([text].into_iter()) {
        work(text)
    } else {
        let text = text.to_owned();
        asked.api.promql.compute(&asked.caller, move || work(&text)).await?
    };
    result.map_err(refused)
}

/// Why an expression is refused before it is evaluated.
fn refused(error: PromqlError) -> ApiError {
    match error {
        PromqlError::Bad(reason) => ApiError::parameter("query", reason),
        PromqlError::Execution(reason) => Failure::new(FailureKind::Execution, reason).into(),
        PromqlError::Source(error) => Failure::new(FailureKind::Internal, error.to_string()).into(),
    }
}
