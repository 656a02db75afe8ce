//! Lists: series, names and values of labels, metrics.

use std::sync::Arc;

use catchment_promql::METRIC_NAME;

use super::{failure::ApiError, json, parameters::Parameters, service::Asked};
use crate::query::promql::{Chunks, ListRequest, Listing};

/// What a list is of.
fn request(parameters: &Parameters) -> Result<ListRequest, ApiError> {
    let (from_ms, to_ms) = parameters.range()?;
    Ok(ListRequest {
        matches: parameters.matches()?,
        from_ms,
        to_ms,
        limit: parameters.limit("limit")?,
        timeout: parameters.timeout()?,
    })
}

/// Labels of series; there must be a `match[]`.
///
/// # Errors
/// There is no answer.
pub(super) async fn series(asked: &Asked<'_>, parameters: &Parameters) -> Result<Chunks, ApiError> {
    let request = request(parameters)?;
    if request.matches.is_empty() {
        return Err(ApiError::bad("no match[] parameter provided"));
    }
    let write = |list: Listing<_>| json::label_sets(list.items, list.truncated);
    Ok(asked.api.promql.series(&asked.caller, request, write).await?)
}

/// Names of labels.
///
/// # Errors
/// There is no answer.
pub(super) async fn label_names(asked: &Asked<'_>, parameters: &Parameters) -> Result<Chunks, ApiError> {
    let write = |list: Listing<_>| json::texts(list.items, list.truncated);
    Ok(asked.api.promql.label_names(&asked.caller, request(parameters)?, write).await?)
}

/// Values of a label.
///
/// # Errors
/// There is no answer, or the label has no valid name.
pub(super) async fn label_values(
    asked: &Asked<'_>,
    label: &str,
    parameters: &Parameters,
) -> Result<Chunks, ApiError> {
    if !is_label_name(label) {
        return Err(ApiError::bad(format!("invalid label name: {label:?}")));
    }
    let write = |list: Listing<_>| json::texts(list.items, list.truncated);
    Ok(asked.api.promql.label_values(&asked.caller, label.into(), request(parameters)?, write).await?)
}

/// Types of metrics: devices declare none.
///
/// # Errors
/// There is no answer.
pub(super) async fn metadata(asked: &Asked<'_>, parameters: &Parameters) -> Result<Chunks, ApiError> {
    let metric = parameters.metric().map(str::to_owned);
    let limit = parameters.limit("limit")?;
    let all = Parameters::default();
    // One metric alone is looked for among all.
    let request = ListRequest { limit: limit.filter(|_| metric.is_none()), ..request(&all)? };
    let write = move |list: Listing<Arc<str>>| {
        let mut names = list.items;
        names.retain(|name| metric.as_ref().is_none_or(|metric| **metric == **name));
        json::metadata(names)
    };
    Ok(asked.api.promql.label_values(&asked.caller, METRIC_NAME.into(), request, write).await?)
}

fn is_label_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
