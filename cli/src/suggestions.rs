//! Suggestions for a selector that selects nothing: metric names similar to the one in it.

use std::collections::BTreeSet;

use catchment_settings::text::{distance, one_line};

use crate::{
    aggregator_client::AggregatorClient,
    query_result::{QueryRequest, QueryResult},
};

/// Most names suggested.
const NAMES_MAX: usize = 3;
/// Longest name compared, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most names compared.
const COMPARED_MAX: usize = 10_000;

/// Notes in a result without series, gaps and completeness that the selector selects nothing at all. If the series
/// cannot be listed, the result stays as it is.
pub(crate) async fn explain_empty(
    client: &mut AggregatorClient,
    request: &QueryRequest,
    result: &mut QueryResult,
) {
    let expected = result.completeness.as_ref().is_some_and(|completeness| completeness.expected > 0);
    let complete = result.complete_until_ms.is_some() || expected;
    let known = !result.series.is_empty() || complete || !result.gaps.is_empty();
    if known || !matches!(client.selects(&request.selector).await, Ok(false)) {
        return;
    }
    for selector in request.selectors() {
        if !matches!(client.selects(selector).await, Ok(false)) {
            return;
        }
    }
    let names = client.metrics().await.unwrap_or_default();
    result.nothing_selected = Some(advice(&request.selector, &names));
}

/// The message that nothing is selected, with similar names.
fn advice(selector: &str, names: &BTreeSet<String>) -> String {
    let shown = one_line(selector);
    let Some(metric) = metric_of(selector) else {
        return format!("no series matches {shown}; `catchment series` lists all");
    };
    if names.contains(metric) {
        return format!("no series matches {shown}: metric {metric} exists, but none with these labels");
    }
    let near = nearest_names(metric, names);
    let metric = one_line(metric);
    match near.is_empty() {
        true => format!("no series matches: there is no metric {metric}; `catchment series` lists all"),
        false => {
            format!("no series matches: there is no metric {metric}; did you mean {}?", near.join(", "))
        }
    }
}

/// The most similar names, nearest first; none that differ in more than a third of their letters.
fn nearest_names<'a>(metric: &str, names: &'a BTreeSet<String>) -> Vec<&'a str> {
    if metric.len() > NAME_BYTES_MAX {
        return Vec::new();
    }
    let compared = names.iter().filter(|name| name.len() <= NAME_BYTES_MAX).take(COMPARED_MAX);
    let mut near: Vec<(usize, &str)> = compared
        .map(|name| (distance(&metric.to_lowercase(), &name.to_lowercase()), name.as_str()))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(metric.chars().count()) / 3)
        .collect();
    near.sort_unstable();
    near.into_iter().take(NAMES_MAX).map(|(_, name)| name).collect()
}

/// The metric that a selector names, before its braces or as `__name__="…"`.
fn metric_of(selector: &str) -> Option<&str> {
    let text = selector.trim();
    let name = text.split('{').next().unwrap_or_default().trim();
    if !name.is_empty() {
        return Some(name);
    }
    let (_, value) = text.split_once("__name__")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| "\"'`".contains(*c))?;
    value.get(1..)?.split(quote).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_suggested_and_others_are_not() {
        let names: BTreeSet<String> =
            ["temperature", "temperature_max", "humidity", "on"].map(str::to_owned).into();
        assert!(advice("temprature{site=\"a\"}", &names).ends_with("did you mean temperature?"));
        assert!(advice("{__name__=\"humidty\"}", &names).ends_with("did you mean humidity?"));
        assert!(advice("Temperature", &names).contains("did you mean temperature"));
        assert!(!advice("pressure", &names).contains("did you mean"));
        assert!(advice("temperature{site=\"x\"}", &names).contains("none with these labels"));
        assert!(advice("{site=\"x\"}", &names).contains("lists all"));
        assert!(!advice(&"t".repeat(4_000), &names).contains("did you mean"));
    }
}
