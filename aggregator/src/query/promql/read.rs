//! Reads series into panes: the tasks into which a fetch is split, each on whichever query thread is free.

use std::sync::Arc;

use catchment_partial::{Timestamp, Window};
use catchment_promql::{FetchedSeries, Panes};

use super::{
    super::{
        completeness::GAPS_MAX,
        error::QueryError,
        task::{Memory, Task},
    },
    cuts::Cuts,
    fold::{Fold, PaneList, RowError, Wanted},
    select::{Group, Member},
};
use crate::store::{Merged, QueryStore, RowRequest, SeriesId, Steps};

/// What the tasks of a fetch share.
pub(super) struct Reading {
    pub(super) store: Arc<dyn QueryStore>,
    pub(super) cuts: Cuts,
    /// Of series of numbers; those of windows give windows.
    pub(super) wanted: Wanted,
    pub(super) wanted_of_windows: Wanted,
}

/// What was met on the way.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Rows that could not be read.
    pub(super) damaged: Vec<(SeriesId, (Timestamp, Timestamp))>,
    /// Two gateways delivered readings of a counter at the same time.
    pub(super) overlap: bool,
    /// Windows of many readings of a counter do not hold their order.
    pub(super) is_order_unknown: bool,
    /// Some readings are states.
    pub(super) has_states: bool,
}

/// Panes of some series of a group.
pub(super) struct ReadMembers {
    /// `None`: there are none.
    pub(super) panes: Option<PaneList>,
    pub(super) met: Met,
    /// Holds the panes.
    pub(super) memory: Memory,
}

/// Several groups.
pub(super) struct ReadGroups {
    pub(super) series: Vec<FetchedSeries>,
    pub(super) met: Met,
    /// Holds the panes.
    pub(super) _memory: Memory,
}

impl Reading {
    /// What is read of a group.
    pub(super) fn wanted(&self, is_windows: bool) -> Wanted {
        if is_windows { self.wanted_of_windows } else { self.wanted }
    }
}

/// Reads groups, one after the other.
///
/// # Errors
/// What ends the query.
pub(super) async fn read_groups(
    reading: Arc<Reading>,
    task: Task,
    groups: Vec<Group>,
) -> Result<ReadGroups, QueryError> {
    let memory = task.memory();
    let (mut series, mut met, mut bytes) = (Vec::new(), Met::default(), 0);
    for group in groups {
        let Group { labels, is_windows, members } = group;
        let wanted = reading.wanted(is_windows);
        let at_hand = AtHand { reading: &reading, task: &task, memory: &memory, bytes };
        let Some(list) = at_hand.members(&members, wanted, &mut met).await? else { continue };
        bytes += labels.bytes() + list.bytes();
        memory.set(bytes)?;
        series.push(FetchedSeries { labels, is_windows, panes: panes_of(list) });
    }
    Ok(ReadGroups { series, met, _memory: memory })
}

/// Reads some members of a group.
///
/// # Errors
/// What ends the query.
pub(super) async fn read_members(
    reading: Arc<Reading>,
    task: Task,
    members: Vec<Member>,
    wanted: Wanted,
) -> Result<ReadMembers, QueryError> {
    let (memory, mut met) = (task.memory(), Met::default());
    let at_hand = AtHand { reading: &reading, task: &task, memory: &memory, bytes: 0 };
    let panes = at_hand.members(&members, wanted, &mut met).await?;
    memory.set(panes.as_ref().map_or(0, PaneList::bytes))?;
    Ok(ReadMembers { panes, met, memory })
}

/// The panes as the evaluator takes them.
pub(super) fn panes_of(list: PaneList) -> Panes {
    match list {
        PaneList::Figures(panes) => {
            Panes::Figures(panes.into_iter().map(|pane| (pane.start_ms, pane.of)).collect())
        }
        PaneList::Windows(panes) => {
            let mut windows: Vec<_> = panes.into_iter().map(|pane| (pane.start_ms, pane.of)).collect();
            // The only window of a segment is the first and the last one.
            windows.dedup_by_key(|(start_ms, _)| *start_ms);
            Panes::Windows(windows)
        }
    }
}

/// A task that reads.
struct AtHand<'a> {
    reading: &'a Reading,
    task: &'a Task,
    memory: &'a Memory,
    /// Bytes that it holds already.
    bytes: usize,
}

impl AtHand<'_> {
    /// The panes of several series, merged; `None`: they have none.
    async fn members(
        &self,
        members: &[Member],
        wanted: Wanted,
        met: &mut Met,
    ) -> Result<Option<PaneList>, QueryError> {
        let mut merged: Option<PaneList> = None;
        for member in members {
            let held = self.bytes + merged.as_ref().map_or(0, PaneList::bytes);
            let (panes, bytes) = self.member(member, wanted, held, met).await?;
            self.memory.set(held + bytes)?;
            match &mut merged {
                _ if panes.len() == 0 => {}
                Some(merged) => met.overlap |= merged.add(panes, wanted),
                none => *none = Some(panes),
            }
        }
        Ok(merged)
    }

    /// The panes of one series, and their memory in bytes.
    async fn member(
        &self,
        member: &Member,
        wanted: Wanted,
        held: usize,
        met: &mut Met,
    ) -> Result<(PaneList, usize), QueryError> {
        let Reading { store, cuts, .. } = self.reading;
        let mut fold = Fold::new(cuts, wanted);
        // Even if nothing is found.
        self.task.yield_point().await?;
        let (first, last) = member.rows;
        let before = cuts.spans.partition_point(|(_, to)| *to <= first.as_millis());
        for (from_ms, to_ms) in cuts.spans.get(before..).unwrap_or_default() {
            if *from_ms > last.as_millis() {
                break;
            }
            let request = request(member.id, (*from_ms, *to_ms), wanted, &cuts.steps);
            let mut rows = store.rows(&request)?;
            loop {
                let mut across = None;
                let mut visit = |window: Window, body: &[u8]| match fold.push(window, body) {
                    Ok(()) => {}
                    Err(RowError::Across(width)) => across = Some(width),
                    Err(RowError::Damaged(_)) => met.add_damaged(member.id, (window.start(), window.end())),
                };
                let more = rows.advance(&mut visit)?;
                if let Some(width) = across {
                    return Err(QueryError::WiderWindows(width.as_millis()));
                }
                self.memory.set(held + fold.bytes() + rows.memory())?;
                self.task.yield_point().await?;
                if !more {
                    break;
                }
            }
            for (from, to) in rows.damaged() {
                let span = (request.from.max(*from), request.to.min(*to));
                if span.0 < span.1 {
                    met.add_damaged(member.id, span);
                }
            }
        }
        fold.end();
        met.is_order_unknown |= fold.is_order_unknown;
        met.has_states |= fold.has_states;
        Ok(fold.finish())
    }
}

/// The rows of a series that start in a span.
pub(super) fn request(series: SeriesId, span_ms: (i64, i64), wanted: Wanted, steps: &Steps) -> RowRequest {
    let (resolution, steps) = match wanted {
        // Where windows are no longer stored, the finest rows that are left stand for them.
        Wanted::LastWindow | Wanted::EndWindows => (Merged::OnlyWithoutWindows, Steps::Every(1)),
        _ if wanted.needs_windows() => (Merged::OnlyWithoutWindows, steps.clone()),
        _ => (Merged::Allowed, steps.clone()),
    };
    RowRequest { series, from: time(span_ms.0), to: time(span_ms.1), steps, resolution }
}

fn time(ms: i64) -> Timestamp {
    let end = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millis(ms).unwrap_or(end)
}

impl Met {
    /// Adds a span; joins those that follow one another. Beyond [`GAPS_MAX`], the last one grows.
    fn add_damaged(&mut self, series: SeriesId, span: (Timestamp, Timestamp)) {
        let full = self.damaged.len() >= GAPS_MAX;
        match self.damaged.last_mut() {
            Some((known, last)) if full || (*known == series && last.1 >= span.0) => {
                *last = (last.0.min(span.0), last.1.max(span.1));
            }
            _ => self.damaged.push((series, span)),
        }
    }
}
