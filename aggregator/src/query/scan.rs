//! A plan carried out: what is complete, then each group in the order of its labels, a slice of its points at a
//! time. Blocks on the store.

use std::ops::ControlFlow;

use catchment_partial::Timestamp;
use catchment_proto::wire::{AggregateResponse, Header, SeriesPoints, aggregate_response::Kind};

use super::{
    merge::{self, Group, Points},
    plan::{Plan, Range},
    runner::{AskError, Outlet},
};
use crate::store::Store;

/// Most points that are merged at once: some ten kilobytes each at worst.
const SLICE_POINTS: u32 = 4_096;
/// Most figures of one message: well below the 4 MiB that a gRPC client takes by default.
const MESSAGE_VALUES: usize = 65_536;
/// Partials between two looks at the deadline.
const CHECK_EVERY: u32 = 1_024;

/// Answers a query that was asked at `now_ms`. Returns the number of points.
///
/// # Errors
/// What ended it early; what was sent before is valid, but not the whole answer.
pub(super) fn answer(
    store: &dyn Store,
    plan: &Plan,
    points_max: u64,
    now_ms: i64,
    outlet: &Outlet<AggregateResponse>,
) -> Result<u64, AskError> {
    // Watermarks first: what they cover is in the store before anything is read.
    let gateways = store.gateways();
    let series = store.series(&|gateway, key| plan.selector.matches(gateway, key));
    let merge::Completeness { until_ms, gaps } = merge::completeness(&series, &gateways, &plan.range, now_ms);
    let groups = merge::groups(series, &plan.by);
    let points = groups.iter().filter_map(|group| group.overlap(&plan.range)).map(|range| range.points());
    let points = points.fold(0, u64::saturating_add);
    if points > points_max {
        return Err(AskError::TooManyPoints { points, max: points_max });
    }
    let aggregates = plan.aggregates.iter().map(|(name, _)| name.clone()).collect();
    let mut header = Some(Header { complete_until_ms: until_ms, aggregates, gaps });
    let mut count = 0;
    for group in &groups {
        let Some(range) = group.overlap(&plan.range) else { continue };
        for slice in range.slices(SLICE_POINTS) {
            // A point starts where the whole range starts, not where this group's windows do.
            let slice = Slice { read: slice, point: Range { from_ms: plan.range.from_ms, ..slice } };
            let points = slice.points(store, group, plan, outlet)?;
            // The first slice is where a step that fits no window is refused: before anything was sent.
            send_header(&mut header, outlet)?;
            let chunk = (MESSAGE_VALUES / plan.aggregates.len().max(1)).max(1);
            for points in points.chunks(chunk) {
                count += points.len() as u64;
                let series = SeriesPoints { labels: group.labels.clone(), points: points.to_vec() };
                outlet.send(AggregateResponse { kind: Some(Kind::Series(series)) })?;
            }
        }
    }
    send_header(&mut header, outlet)?;
    Ok(count)
}

fn send_header(header: &mut Option<Header>, outlet: &Outlet<AggregateResponse>) -> Result<(), AskError> {
    match header.take() {
        Some(header) => outlet.send(AggregateResponse { kind: Some(Kind::Header(header)) }),
        None => Ok(()),
    }
}

/// A part of the range that is read at once.
struct Slice {
    /// What is read.
    read: Range,
    /// How windows become points.
    point: Range,
}

impl Slice {
    fn points(
        &self,
        store: &dyn Store,
        group: &Group,
        plan: &Plan,
        outlet: &Outlet<AggregateResponse>,
    ) -> Result<Vec<catchment_proto::wire::Point>, AskError> {
        let mut points = Points::new(self.point);
        let mut failure = outlet.check().err();
        let mut until_check = CHECK_EVERY;
        // Both ends were checked by the plan, or lie between two that were.
        let [from, to] = [self.read.from_ms, self.read.to_ms]
            .map(|ms| Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX));
        if failure.is_none() {
            store.scan(&group.series, from, to, &mut |_, window, partial| {
                until_check -= 1;
                let going = if until_check == 0 {
                    until_check = CHECK_EVERY;
                    outlet.check()
                } else {
                    Ok(())
                };
                match going.and_then(|()| points.push(window, partial).map_err(AskError::from)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failure = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(points.evaluate(&plan.aggregates)),
        }
    }
}

#[cfg(test)]
mod tests;
