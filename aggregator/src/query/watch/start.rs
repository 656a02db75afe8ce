//! A subscription's first piece of work: selects its series, and finds out what it has to be sent first.

use std::{collections::HashMap, sync::Arc};

use catchment_proto::wire::{Header, watch_response::Kind};

use super::{
    changes::Overrun,
    dispatch::OVERRUN,
    error::WatchError,
    hub::Hub,
    request::{FROM_MS, TO_MS},
    subscription::{Span, Subscription},
    token::Token,
    watched::{self, Phase, Watched},
};
use crate::{
    clock,
    query::{error::QueryError, scan, task::Task},
    store::SeriesId,
};

/// Approximate memory of a series and the number of its gateway while series are selected.
const SELECTED_BYTES: usize = 32;

/// Why everything is sent again.
const RESTARTED: &str = "the aggregator was started anew since the token was sent";

/// Resets the phase if the selection does not end.
struct Selecting<'a>(&'a Watched);

impl Drop for Selecting<'_> {
    fn drop(&mut self) {
        let mut selected = self.0.selected();
        if selected.phase == Phase::Selecting {
            selected.phase = Phase::New;
        }
    }
}

/// Starts a subscription; false if another one is selecting the series now.
///
/// # Errors
/// What ends it.
pub(super) async fn start(
    hub: &Arc<Hub>,
    subscription: &Arc<Subscription>,
    resume: Option<Token>,
    task: &Task,
) -> Result<bool, WatchError> {
    let watched = &subscription.watched;
    if !select(hub, watched, task).await? {
        return Ok(false);
    }
    let held = subscription.share.reserve(Hub::bytes(watched));
    let held = held.ok_or(WatchError::Memory(hub.limits.memory_max))?;
    // From now on it is told of changes; those before must be in what it is sent first.
    let cursor = hub.follow(subscription)?;
    match resume {
        None => {
            let span = Span { from_ms: subscription.from_ms, to_ms: TO_MS, reason: None };
            subscription.pending().reset(span);
        }
        Some(token) => resume_from(hub, subscription, token, cursor, task).await?,
    }
    hub.watermarks.refresh(&*hub.store, &hub.log, task).await?;
    subscription.outbox.put([Kind::Header(header(hub, subscription, cursor))], None);
    let mut pending = subscription.pending();
    (pending.start, pending.held) = (None, Some(held));
    Ok(true)
}

/// Selects the series of a query, unless they are known; false if another subscription does it now.
async fn select(hub: &Arc<Hub>, watched: &Arc<Watched>, task: &Task) -> Result<bool, WatchError> {
    let phase = {
        let mut selected = watched.selected();
        match selected.phase {
            Phase::New => std::mem::replace(&mut selected.phase, Phase::Selecting),
            phase => phase,
        }
    };
    match phase {
        Phase::Ready => return Ok(true),
        Phase::Selecting => return Ok(false),
        Phase::New => {}
    }
    let _selecting = Selecting(watched);
    let memory = task.memory();
    let mut groups = watched.grouping();
    let mut gateways: HashMap<SeriesId, u32> = HashMap::new();
    let mut series = 0;
    for (number, selector) in watched.query.plan.selectors.iter().enumerate() {
        let mut selection = hub.store.select(selector);
        loop {
            task.yield_point().await?;
            let Some(page) = selection.next_page() else { break };
            let now_ms = clock::now_ms();
            for entry in page {
                series += 1;
                if series > hub.limits.series_max {
                    return Err(WatchError::Series { max: hub.limits.series_max });
                }
                let windows = (entry.windows.0.as_millis(), entry.windows.1.as_millis());
                gateways.insert(entry.id, watched.selected().gateways.add(&entry.gateway, windows, now_ms));
                groups.push(number as u32, &entry);
            }
            let selected = groups.bytes() + gateways.len() * SELECTED_BYTES;
            memory.set(selected.saturating_add(selection.memory()))?;
        }
    }
    hub.register(watched, groups, &gateways)?;
    Ok(true)
}

/// Finds what has changed since a token.
async fn resume_from(
    hub: &Hub,
    subscription: &Subscription,
    token: Token,
    cursor: u64,
    task: &Task,
) -> Result<(), WatchError> {
    let from_ms = subscription.from_ms;
    let reason = match token.run == hub.run {
        false => Some(RESTARTED),
        true => replay(hub, subscription, (token.cursor, cursor), task).await?.err().map(|Overrun| OVERRUN),
    };
    if let Some(reason) = reason {
        subscription.reset_all(reason);
        return Ok(());
    }
    let mut pending = subscription.pending();
    if from_ms < token.from_ms {
        pending.reset(Span { from_ms, to_ms: token.from_ms, reason: None });
    }
    if subscription.open_windows {
        // Changes of open windows are not logged.
        let open_ms = watched_point(subscription, token.open_from_ms);
        pending.reset(Span { from_ms: open_ms.max(from_ms), to_ms: TO_MS, reason: None });
    }
    Ok(())
}

/// Start of the point that contains a time.
fn watched_point(subscription: &Subscription, ms: i64) -> i64 {
    let ms = ms.clamp(FROM_MS, TO_MS);
    subscription.watched.points(ms, ms.saturating_add(1)).0
}

/// Marks the points that have changed between two places in the log.
async fn replay(
    hub: &Hub,
    subscription: &Subscription,
    (mut from, to): (u64, u64),
    task: &Task,
) -> Result<Result<(), Overrun>, QueryError> {
    let watched = &subscription.watched;
    // Sorted without the lock: who passes on changes needs it, and holds the hub's meanwhile.
    let groups = watched.selected().groups.clone();
    let (by_series, groups) = (watched::by_series(&groups), groups.len());
    if from > to {
        return Ok(Err(Overrun));
    }
    while from < to {
        task.yield_point().await?;
        let changes = match hub.log.read(from) {
            Ok(changes) => changes,
            Err(overrun) => return Ok(Err(overrun)),
        };
        let left = usize::try_from(to - from).unwrap_or(usize::MAX);
        for change in changes.iter().take(left) {
            for group in members(&by_series, change.series) {
                subscription.mark(group, watched.points(change.from_ms, change.to_ms), groups);
            }
        }
        from = from.saturating_add(changes.len().max(1) as u64);
    }
    Ok(Ok(()))
}

/// The groups of a series, in pairs of both that are sorted.
fn members(by_series: &[(SeriesId, u32)], series: SeriesId) -> impl Iterator<Item = u32> {
    let first = by_series.partition_point(|(known, _)| *known < series);
    let from = by_series.get(first..).unwrap_or_default().iter();
    from.take_while(move |(known, _)| *known == series).map(|(_, group)| *group)
}

/// The first message.
fn header(hub: &Hub, subscription: &Subscription, cursor: u64) -> Header {
    let watched = &subscription.watched;
    let known = hub.watermarks.at(cursor);
    let sent = known.is_some();
    let progress = known.or_else(|| hub.watermarks.latest());
    let completeness =
        progress.map(|progress| progress.completeness(hub, watched, subscription.from_ms, clock::now_ms()));
    let mut completeness = completeness.unwrap_or_default();
    if !sent {
        // What is known by now is not sent yet: the first progress says up to when.
        completeness.until_ms = None;
    }
    scan::header(&watched.query.plan, completeness)
}
