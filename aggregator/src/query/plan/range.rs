//! The range and the steps of a request.

use catchment_partial::Timestamp;
use catchment_proto::wire::{AggregateRequest, CalendarStep as WireStep, calendar_step::Unit as WireUnit};

use super::PlanError;
use crate::{
    calendar::{CalendarStep, TooManySteps, Unit, Zone},
    query::range::Range,
    store::Steps,
};

/// Widest step, milliseconds: 317 years, so that no sum of steps overflows.
pub(super) const STEP_MAX_MS: i64 = 10_000_000_000_000;

/// Checks the range and the steps.
///
/// # Errors
/// The first error found.
pub(super) fn checked(request: &AggregateRequest) -> Result<Range, PlanError> {
    let AggregateRequest { from_ms, to_ms, step_ms, calendar_step, time_zone, .. } = request;
    let (from_ms, to_ms) = (*from_ms, *to_ms);
    if from_ms >= to_ms {
        return Err(PlanError::EmptyRange { from_ms, to_ms });
    }
    for (name, value) in [("from", from_ms), ("to", to_ms)] {
        Timestamp::from_millis(value).ok_or(PlanError::Time { name, value })?;
    }
    let zone = Zone::named(time_zone)?;
    let steps = match (calendar_step, *step_ms) {
        (Some(_), step) if step != 0 => return Err(PlanError::TwoSteps),
        (Some(step), _) => {
            let step = calendar(*step)?;
            let starts = step.starts(&zone, from_ms, to_ms);
            let starts = starts.map_err(|TooManySteps| PlanError::CalendarPoints)?;
            // Empty only if time ends there.
            if starts.is_empty() { Steps::Whole } else { Steps::At(starts.into()) }
        }
        (None, 0) => Steps::Whole,
        (None, step) if (1..=STEP_MAX_MS).contains(&step) => Steps::Every(step),
        (None, step) => return Err(PlanError::Step(step)),
    };
    Ok(Range { from_ms, to_ms, steps })
}

fn calendar(step: WireStep) -> Result<CalendarStep, PlanError> {
    let unit = match step.unit() {
        WireUnit::Unspecified => None,
        WireUnit::Day => Some(Unit::Day),
        WireUnit::Week => Some(Unit::Week),
        WireUnit::Month => Some(Unit::Month),
        WireUnit::Year => Some(Unit::Year),
    };
    let checked = unit.and_then(|unit| CalendarStep::new(step.count, unit));
    checked.ok_or_else(|| PlanError::CalendarStep(format!("unit {}, count {}", step.unit, step.count)))
}
