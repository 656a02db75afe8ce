//! Selects the series of a fetch, and merges those with the same labels: of one device at two gateways, or those that a
//! sum is of.

use std::{
    collections::{BTreeMap, HashMap},
    iter::Peekable,
    sync::Arc,
};

use catchment_partial::Timestamp;
use catchment_promql::{Fetch, Grouping, Labels, METRIC_NAME, Matcher};
use catchment_proto::GatewayId;
use hashbrown::HashSet;

use super::{
    super::{completeness::Holders, error::QueryError, task::Memory},
    source::StoreSource,
    views::{self, View},
};
use crate::store::{SeriesEntry, SeriesId};

/// Entries between two yield points.
const CHECK_EVERY: usize = 16;
/// Most output series of a fetch.
const SERIES_MAX: usize = 500_000;
/// Most values of a fetch: series times steps.
const VALUES_MAX: usize = 50_000_000;
const DAY_MS: i64 = 86_400_000;
/// Approximate memory of a group and of a label without its text.
const GROUP_BYTES: usize = 160;
const LABEL_BYTES: usize = 40;
/// Gateways of which a series is remembered.
const SAMPLES_MAX: usize = 64;

/// A stored series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) id: SeriesId,
    /// None of its rows starts before the first time, nor after the second.
    pub(super) rows: (Timestamp, Timestamp),
}

/// Series with the same labels.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) labels: Labels,
    pub(super) is_windows: bool,
    pub(super) members: Vec<Member>,
}

/// Groups in order of their labels, each freed when it is dropped.
pub(super) type GroupsLeft = Peekable<Box<dyn Iterator<Item = Group> + Send + Sync>>;

/// The series of a fetch.
pub(super) struct Selected {
    /// In order of their labels.
    pub(super) groups: GroupsLeft,
    pub(super) holders: Holders,
    /// A series of each gateway, as far as they are few.
    pub(super) samples: Vec<Member>,
    /// The widest intervals that stand for removed windows in the range.
    pub(super) merged_ms: Option<i64>,
    /// Holds them: so many bytes.
    pub(super) memory: Memory,
    pub(super) bytes: usize,
}

/// Selects series with rows in `[from_ms, to_ms)`, or up to a day before: times may be rounded. `group`: labels over which they are summed.
///
/// # Errors
/// [`QueryError::Execution`] where there are too many; what ends the query.
pub(super) async fn select(
    source: &StoreSource<'_>,
    fetch: &Fetch,
    group: Option<&Grouping>,
    (from_ms, to_ms): (i64, i64),
    mut holders: Holders,
) -> Result<Selected, QueryError> {
    let views = views::views(&fetch.matchers)?;
    let mut groups = Groups::new(Naming::new(&fetch.matchers, group));
    let (mut samples, mut merged_ms) = (HashMap::<GatewayId, Member>::new(), None);
    let memory = source.sink.task.memory();
    let from = Timestamp::from_millis(from_ms).unwrap_or(Timestamp::MIN);
    let least_ms = from_ms.saturating_sub(DAY_MS);
    for view in &views {
        let mut selection = source.store.select(&view.selector);
        loop {
            source.sink.yield_point().await?;
            let Some(page) = selection.next_page() else { break };
            for (number, entry) in page.into_iter().enumerate() {
                if number % CHECK_EVERY == CHECK_EVERY - 1 {
                    source.sink.yield_point().await?;
                }
                if !view.admits(entry.key.metric.as_str()) {
                    continue;
                }
                holders.push(&entry);
                if entry.rows_from.as_millis() >= to_ms || entry.windows.1.as_millis() < least_ms {
                    continue;
                }
                let width = source.store.merged_width(entry.id, from);
                merged_ms = merged_ms.max(width.map(|width| i64::from(width.as_millis())));
                let member = Member { id: entry.id, rows: (entry.rows_from, entry.windows.1) };
                if samples.len() < SAMPLES_MAX && !samples.contains_key(&entry.gateway) {
                    samples.insert(entry.gateway.clone(), member);
                }
                groups.push(view, &entry, member);
            }
            memory.set(groups.bytes + holders.bytes() + selection.memory())?;
            groups.check(fetch.grid.count)?;
        }
    }
    memory.set(groups.bytes)?;
    let bytes = groups.bytes;
    Ok(Selected {
        groups: groups.finish(),
        holders,
        samples: samples.into_values().collect(),
        merged_ms,
        memory,
        bytes,
    })
}

/// Which labels a series has in an answer.
pub(super) struct Naming<'a> {
    /// A condition names the gateway, so it is a label too.
    with_gateway: bool,
    group: Option<&'a Grouping>,
    /// Texts of labels, shared.
    texts: HashSet<Arc<str>>,
}

impl<'a> Naming<'a> {
    pub(super) fn new(matchers: &[Matcher], group: Option<&'a Grouping>) -> Self {
        let with_gateway = matchers.iter().any(|matcher| &*matcher.label == "gateway");
        Self { with_gateway, group, texts: HashSet::new() }
    }

    /// Name and value of each label of a series. They may be of no order, and values may be empty.
    pub(super) fn each<'e>(
        &self,
        entry: &'e SeriesEntry,
        metric: &'e str,
    ) -> impl Iterator<Item = (&'e str, &'e str)> {
        let gateway = if self.with_gateway { entry.gateway.name.as_str() } else { "" };
        let given = [
            (METRIC_NAME, metric),
            ("site", entry.gateway.site.as_str()),
            ("gateway", gateway),
            ("device", entry.key.device.as_str()),
        ];
        given.into_iter().chain(entry.key.labels.iter())
    }

    /// The labels of a series, and how much memory they take that others do not share.
    pub(super) fn labels(&mut self, view: &View, entry: &SeriesEntry) -> (Labels, usize) {
        let metric = views::name_of(entry.key.metric.as_str(), view.is_windows);
        let (mut labels, mut bytes) = (Vec::new(), 0);
        for (name, value) in self.each(entry, &metric) {
            let stays = match self.group {
                None => true,
                // The name goes with every function below a sum.
                Some(_) if name == METRIC_NAME => false,
                Some(Grouping::By(by)) => by.iter().any(|label| **label == *name),
                Some(Grouping::Without(without)) => !without.iter().any(|label| **label == *name),
            };
            if stays && !value.is_empty() {
                labels.push((name, value));
            }
        }
        let mut share = |text: &str| match self.texts.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = text.into();
                bytes += text.len() + LABEL_BYTES;
                self.texts.insert(Arc::clone(&new));
                new
            }
        };
        let labels: Labels = labels.into_iter().map(|(name, value)| (share(name), share(value))).collect();
        let bytes = bytes + labels.len() * LABEL_BYTES;
        (labels, bytes)
    }
}

/// Collects series into groups.
struct Groups<'a> {
    naming: Naming<'a>,
    groups: BTreeMap<(Labels, bool), Vec<Member>>,
    /// Number of stored series.
    series: usize,
    bytes: usize,
}

impl<'a> Groups<'a> {
    fn new(naming: Naming<'a>) -> Self {
        Self { naming, groups: BTreeMap::new(), series: 0, bytes: 0 }
    }

    fn push(&mut self, view: &View, entry: &SeriesEntry, member: Member) {
        let (labels, bytes) = self.naming.labels(view, entry);
        self.series += 1;
        // Twice: vectors grow by doubling.
        self.bytes += 2 * size_of::<Member>();
        let members = self.groups.entry((labels, view.is_windows)).or_default();
        if members.is_empty() {
            self.bytes += bytes + GROUP_BYTES;
        }
        members.push(member);
    }

    /// Refuses what would be too much, in words.
    fn check(&self, steps: usize) -> Result<(), QueryError> {
        let groups = self.groups.len();
        if groups > SERIES_MAX {
            return Err(QueryError::Execution(format!(
                "the expression selects more than {SERIES_MAX} series: select fewer, or sum them by fewer labels",
            )));
        }
        let series = self.series;
        if series.saturating_mul(steps) > VALUES_MAX {
            return Err(QueryError::Execution(format!(
                "{series} series or more at {steps} steps are more than {VALUES_MAX} values: select fewer series, or use a wider step or a shorter range",
            )));
        }
        Ok(())
    }

    fn finish(self) -> GroupsLeft {
        let groups = self.groups.into_iter().map(|((labels, is_windows), mut members)| {
            // A gateway that took over comes after the one before.
            members.sort_by_key(|member| (member.rows, member.id));
            Group { labels, is_windows, members }
        });
        let groups: Box<dyn Iterator<Item = Group> + Send + Sync> = Box::new(groups);
        groups.peekable()
    }
}
