//! Lists: series, names and values of labels, metrics.

use std::sync::Arc;

use catchment_promql::METRIC_NAME;

use super::{
    failure::ApiError,
    json,
    parameters::{self, Parameters},
    service::Asked,
};
use crate::query::{
    are_quick,
    promql::{Chunks, ListRequest, Listing},
};

/// What a list is of.
async fn request(asked: &Asked<'_>, parameters: &Parameters) -> Result<ListRequest, ApiError> {
    let (from_ms, to_ms) = parameters.range()?;
    let (limit, timeout) = (parameters.limit("limit")?, parameters.timeout()?);
    let texts = parameters.matches()?;
    let matches = match are_quick(texts.iter().map(String::as_str)) {
        true => parameters::parsed(&texts)?,
        false => asked.api.promql.compute(&asked.caller, move || parameters::parsed(&texts)).await??,
    };
    Ok(ListRequest { matches, from_ms, to_ms, limit, timeout })
}

/// Labels of series; there must be a `match[]`.
///
/// # Errors
/// There is no answer.
pub(super) async fn series(asked: &Asked<'_>, parameters: &Parameters) -> Result<Chunks, ApiError> {
    let request = request(asked, parameters).await?;
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
    let request = request(asked, parameters).await?;
    Ok(asked.api.promql.label_names(&asked.caller, request, write).await?)
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
    let request = request(asked, parameters).await?;
    Ok(asked.api.promql.label_values(&asked.caller, label.into(), request, write).await?)
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
    let request = ListRequest { limit: limit.filter(|_| metric.is_none()), ..request(asked, &all).await? };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        metrics::Metrics,
        prometheus::service::Api,
        query::promql::Promql,
        testing::{MemoryStore, TakenSlot, caller, one_slot_runner},
    };

    #[tokio::test]
    async fn long_selectors_are_parsed_in_a_slot_of_the_operator() {
        let (metrics, ada) = (Metrics::new(), caller("ada"));
        let runner = one_slot_runner(&metrics);
        let store = Arc::new(MemoryStore::default());
        let (streams, clock_tolerance) = (Arc::default(), Duration::ZERO);
        let promql =
            Promql { store, runner: runner.clone(), streams, clock_tolerance, metrics: Arc::clone(&metrics) };
        let api = Api { promql, body_timeout: Duration::from_secs(1), metrics };
        let asked = Asked { api: &api, caller: ada.clone() };
        let of = |matches: usize| Parameters::decode(b"", Some(&"match[]=a_metric&".repeat(matches)));
        assert_eq!(request(&asked, &of(64)).await.unwrap().matches.len(), 64);
        let long = Parameters::decode(b"", Some(&format!("match[]={}", "a".repeat(2_000))));
        let regex = Parameters::decode(b"", Some("match[]={a=~%22b.*%22}"));
        for slow in [&long, &regex] {
            assert_eq!(request(&asked, slow).await.unwrap().matches.len(), 1);
        }
        let taken = TakenSlot::take(&runner, &ada).await;
        assert_eq!(request(&asked, &of(2)).await.unwrap().matches.len(), 2, "short ones need none");
        for slow in [&long, &regex] {
            let refused = request(&asked, slow).await.unwrap_err();
            assert_eq!(refused.status, http::StatusCode::UNPROCESSABLE_ENTITY);
        }
        taken.free().await;
    }
}
