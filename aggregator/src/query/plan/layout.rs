//! The columns of an answer as Arrow.

use catchment_columns::{LabelColumns, Layout};
use catchment_proto::wire::AggregateRequest;

use super::{Grouping, PlanError, columns, labels};
use crate::calendar::Zone;

/// The columns of the answer to a request. Of what does not shape them, such as the range, nothing is checked: that takes
/// longer, and is the work's part.
///
/// # Errors
/// The aggregates, the labels or the time zone are wrong.
pub(crate) fn layout(request: AggregateRequest) -> Result<Layout, PlanError> {
    let AggregateRequest { by, without, aggregates, more_selectors, calendar_step, time_zone, .. } = request;
    let zone = Zone::named(&time_zone)?;
    let zone = zone.time_zone().iana_name().filter(|_| calendar_step.is_some());
    let labels = match labels::grouping(by, without)? {
        Grouping::By(labels) => LabelColumns::Each(labels),
        Grouping::Without(_) => LabelColumns::Map,
    };
    let aggregates = columns::named(aggregates)?.into_iter().map(|(name, of)| (name, of.kind())).collect();
    Ok(Layout::new(labels, !more_selectors.is_empty(), zone.unwrap_or_default(), aggregates))
}
