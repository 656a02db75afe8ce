//! The series of a fetch, read in tasks a few ahead of what the evaluator takes.

use std::{collections::VecDeque, sync::Arc, vec};

use catchment_promql::{Alignment, Batches, Fetch, FetchedSeries, Labels, PromqlError};
use catchment_settings::ByteSize;
use futures_util::future::BoxFuture;

use super::{
    super::{
        error::QueryError,
        pieces::SERIES_A_TASK,
        task::{Memory, Part},
    },
    fold::{Pane, PaneList, Wanted},
    notes::Times,
    read::{self, Met, ReadGroups, ReadMembers, Reading},
    select::{Group, GroupsLeft, Member, Selected},
    source::StoreSource,
};

/// Memory of a batch, about.
const BATCH_BYTES: usize = 4 << 20;
/// Memory of a pane of windows, about.
const WINDOW_BYTES: usize = 1_024;
/// Why readings of a selected series are absent.
const STATES: &str = "states (readings that are texts) are no numbers and count as absent here: ask for them with `catchment query`, for example with --agg last_state";

const UNKNOWN_ORDER: &str = "windows of more than 32 readings do not hold their order, so increases, resets and changes over them are NaN: give the metric `parts = [\"order\"]` in the gateway's configuration";

/// A fetch that is being read.
pub(super) struct StoreBatches<'f, 's> {
    source: &'f StoreSource<'s>,
    fetch: &'f Fetch,
    times: Times,
    reading: Arc<Reading>,
    groups: GroupsLeft,
    /// Groups of a task.
    groups_a_task: usize,
    /// The rest of a group of many series.
    large: Option<Large>,
    ahead: VecDeque<Ahead>,
    /// What is merged so far of a group of many series.
    merged: Option<PaneList>,
    merged_memory: Memory,
    /// Holds the groups.
    _memory: Memory,
}

/// A group of many series, some of which are still to be read.
struct Large {
    labels: Labels,
    is_windows: bool,
    members: vec::IntoIter<Member>,
}

/// Work of a task.
enum Ahead {
    Groups(Part<ReadGroups>),
    Members { part: Part<ReadMembers>, wanted: Wanted, last: Option<(Labels, bool)> },
}

impl<'f, 's> StoreBatches<'f, 's> {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// A single series does not fit into memory.
    pub(super) fn new(
        source: &'f StoreSource<'s>,
        fetch: &'f Fetch,
        times: Times,
        reading: Arc<Reading>,
        selected: Selected,
    ) -> Result<Self, QueryError> {
        let Selected { mut groups, memory, bytes, .. } = selected;
        memory.set(bytes + reading.cuts.bytes())?;
        let windows = !matches!(reading.wanted, Wanted::Figures(_))
            || groups.peek().is_some_and(|group| group.is_windows);
        let pane_bytes = match windows {
            true => WINDOW_BYTES,
            false => size_of::<Pane<catchment_promql::Figures>>(),
        };
        let segments = reading.cuts.segments.len();
        let (series_bytes, most) = (segments * pane_bytes, source.sink.task.workers.limits.memory / 2);
        if series_bytes > most && groups.peek().is_some() {
            return Err(QueryError::Execution(format!(
                "each series takes up to {} at {segments} stretches of time, and {} are allowed: use a wider step or a shorter range, or raise query_memory",
                ByteSize(series_bytes as u64),
                ByteSize(most as u64),
            )));
        }
        Ok(Self {
            source,
            fetch,
            times,
            reading,
            groups,
            groups_a_task: (BATCH_BYTES / series_bytes.max(1)).clamp(1, SERIES_A_TASK),
            large: None,
            ahead: VecDeque::new(),
            merged: None,
            merged_memory: source.sink.task.memory(),
            _memory: memory,
        })
    }

    /// Splits off tasks until enough are at work.
    async fn fill(&mut self) -> Result<(), QueryError> {
        let task = &self.source.sink.task;
        while self.ahead.len() < task.ahead() {
            task.yield_point().await?;
            if let Some(large) = self.large.take() {
                self.split_members(large);
                continue;
            }
            let (mut groups, mut series) = (Vec::new(), 0);
            while let Some(next) = self.groups.peek() {
                let full = groups.len() >= self.groups_a_task || series + next.members.len() > SERIES_A_TASK;
                if full && !groups.is_empty() {
                    break;
                }
                let Some(group) = self.groups.next() else { break };
                if group.members.len() > SERIES_A_TASK {
                    let Group { labels, is_windows, members } = group;
                    self.large = Some(Large { labels, is_windows, members: members.into_iter() });
                    break;
                }
                series += group.members.len();
                groups.push(group);
            }
            if !groups.is_empty() {
                let reading = Arc::clone(&self.reading);
                let part = task.split(|task| read::read_groups(reading, task, groups));
                self.ahead.push_back(Ahead::Groups(part));
            } else if self.large.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Splits off a task that reads some series of a group of many.
    fn split_members(&mut self, mut large: Large) {
        let wanted = self.reading.wanted(large.is_windows);
        let members: Vec<Member> = large.members.by_ref().take(SERIES_A_TASK).collect();
        let mut last = None;
        match large.members.as_slice().is_empty() {
            true => last = Some((large.labels, large.is_windows)),
            false => self.large = Some(large),
        }
        let reading = Arc::clone(&self.reading);
        let part = self.source.sink.task.split(|task| read::read_members(reading, task, members, wanted));
        self.ahead.push_back(Ahead::Members { part, wanted, last });
    }

    async fn advance(&mut self) -> Result<Option<Vec<FetchedSeries>>, QueryError> {
        self.merged_memory.set(self.merged.as_ref().map_or(0, PaneList::bytes))?;
        loop {
            self.fill().await?;
            match self.ahead.pop_front() {
                None => return Ok(None),
                Some(Ahead::Groups(part)) => {
                    let ReadGroups { series, met, .. } = part.join().await?;
                    self.note(met).await?;
                    if !series.is_empty() {
                        return Ok(Some(series));
                    }
                }
                Some(Ahead::Members { part, wanted, last }) => {
                    let ReadMembers { panes, met, memory } = part.join().await?;
                    self.note(met).await?;
                    self.merge(panes, wanted)?;
                    drop(memory);
                    if let Some((labels, is_windows)) = last
                        && let Some(panes) = self.merged.take()
                    {
                        let panes = read::panes_of(panes);
                        return Ok(Some(vec![FetchedSeries { labels, is_windows, panes }]));
                    }
                }
            }
        }
    }

    fn merge(&mut self, panes: Option<PaneList>, wanted: Wanted) -> Result<(), QueryError> {
        match (&mut self.merged, panes) {
            (_, None) => {}
            (Some(merged), Some(panes)) => _ = merged.add(panes, wanted),
            (none, panes) => *none = panes,
        }
        self.merged_memory.set(self.merged.as_ref().map_or(0, PaneList::bytes))
    }

    async fn note(&self, met: Met) -> Result<(), QueryError> {
        let Met { damaged, overlap, is_order_unknown, has_states } = met;
        if is_order_unknown {
            self.source.note(|notes| notes.warn(UNKNOWN_ORDER.to_owned()));
        }
        if has_states {
            self.source.note(|notes| notes.warn(STATES.to_owned()));
        }
        if overlap {
            self.source.note(|notes| {
                notes.inform(
                    "two gateways delivered readings of one series at the same time: increases were added up",
                );
            });
        }
        for (series, (from, to)) in damaged {
            self.source.sink.yield_point().await?;
            // Otherwise it was removed meanwhile.
            if let Some(entry) = self.source.store.series(series) {
                let span = (from.as_millis(), to.as_millis());
                self.source.note(|notes| notes.add_damaged(&entry.gateway, span, self.times));
            }
        }
        Ok(())
    }
}

impl Batches for StoreBatches<'_, '_> {
    fn alignment(&self) -> Alignment {
        self.reading.cuts.alignment
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<FetchedSeries>>, PromqlError>> {
        Box::pin(async move {
            let result = self.advance().await;
            if let Err(QueryError::WiderWindows(width_ms)) = &result {
                self.source.learn_width(self.fetch, self.times.width_ms, *width_ms)?;
            }
            Ok(result?)
        })
    }
}
