//! Losses of gateways as a catalog knows them, and resetting of stored times in the future.

use std::collections::BTreeSet;

use catchment_partial::{Timestamp, Width};

use crate::store::{
    Gap,
    catalog::{
        Catalog, Shard, creation_order,
        gaps::{self, ShardGap},
        groups::{first_of, group_of},
        listing::GAPS_MAX,
    },
    salvage::tables::loss::Span,
};

impl Catalog {
    /// Gaps of a gateway, over all its epochs and shards, in order of time.
    pub(in crate::store) fn gaps_of(&self, gateway: u32) -> Vec<Gap> {
        let epochs = self.gapped.get(&gateway).into_iter().flatten();
        let provisional = self
            .gateways
            .get(gateway as usize)
            .into_iter()
            .flat_map(|known| self.provisional_epochs(&known.id));
        let epochs = epochs.filter_map(|number| self.epoch(*number)).chain(provisional);
        let shards = epochs.flat_map(|epoch| &epoch.shards);
        let damaged = self.damaged.get(&gateway).into_iter().flatten().copied();
        let all: Vec<ShardGap> = shards.flat_map(|shard| &shard.gaps).copied().chain(damaged).collect();
        gaps::merge(all, GAPS_MAX).into_iter().map(ShardGap::to_gap).collect()
    }

    /// Marks the gateways of a group of series whose flushed windows are damaged or missing.
    pub(in crate::store) fn mark_group_damaged(&mut self, group: u32) {
        let Some(known) = self.series.group(group) else { return };
        let gateways: Vec<u32> = known.series().map(|(_, series)| series.gateway).collect();
        gateways.into_iter().for_each(|gateway| self.mark_damaged(gateway));
    }

    /// Marks all gateways: flushed windows are missing, and it is unknown whose.
    pub(in crate::store) fn mark_all_damaged(&mut self) {
        (0..self.gateways.len() as u32).for_each(|gateway| self.mark_damaged(gateway));
    }

    fn mark_damaged(&mut self, gateway: u32) {
        // Of several findings, the first tells how far it reaches.
        let gap = self.unknown_gap(gateway);
        let known = self.damaged.entry(gateway).or_default();
        if known.iter().all(|known| known.gap.from.is_some()) {
            self.add_damaged(gateway, gap);
        }
    }

    /// Marks the gateways of a span of rows that are damaged or missing, for the time of the span.
    pub(in crate::store) fn mark_span_damaged(&mut self, span: &Span) {
        let gap = self.gap_of(span, !self.incomplete);
        for gateway in self.gateways_of(span) {
            self.add_damaged(gateway, gap);
        }
    }

    fn add_damaged(&mut self, gateway: u32, gap: ShardGap) {
        let known = self.damaged.entry(gateway).or_default();
        known.push(gap);
        *known = gaps::merge(std::mem::take(known), GAPS_MAX);
    }

    /// The gap of flushed windows of a gateway of which nobody knows when they were.
    pub(in crate::store) fn unknown_gap(&self, gateway: u32) -> ShardGap {
        ShardGap::unknown(self.gateways.get(gateway as usize).and_then(|known| known.watermark))
    }

    /// The gap of a span of rows: from the first start to the last end that there may be. `ends_known`: the records of
    /// the series are not older than their rows.
    pub(in crate::store) fn gap_of(&self, span: &Span, ends_known: bool) -> ShardGap {
        let (first, last) = span.starts;
        let longest = last.saturating_add_nanos(i64::from(Width::MAX.as_millis()) * 1_000_000);
        let ends = self.series_of(span).map(|(.., end)| end).max();
        let end = ends.filter(|end| ends_known && *end > last).map_or(longest, |end| end.min(longest));
        ShardGap::between(first, end)
    }

    /// Numbers of the gateways of the known series of a span.
    pub(in crate::store) fn gateways_of(&self, span: &Span) -> BTreeSet<u32> {
        self.series_of(span).map(|(_, gateway, _)| gateway).collect()
    }

    /// The known series of a span: number, gateway, latest end of a window.
    fn series_of(&self, span: &Span) -> impl Iterator<Item = (u32, u32, Timestamp)> {
        let (first, last) = span.series;
        let groups = self.series.groups_from(group_of(first)).take_while(move |(n, _)| *n <= group_of(last));
        let groups = groups.filter_map(|(number, group)| Some((number, group?)));
        let all = groups.flat_map(|(number, group)| {
            group.series().map(move |(place, known)| (first_of(number) + place, known.gateway, known.end))
        });
        all.filter(move |(id, ..)| (first..=last).contains(id))
    }

    /// Records that flushed windows of a gateway are lost for good, as gaps of the gateway's present epoch; returns
    /// the number of that epoch.
    pub(in crate::store) fn note_lost_windows(&mut self, gateway: u32, lost: &[ShardGap]) -> Option<u32> {
        let number = self.gateways.get(gateway as usize)?.present?;
        self.change_shard(number, 0, |shard, gaps_max| {
            shard.gaps.extend_from_slice(lost);
            shard.gaps = gaps::merge(std::mem::take(&mut shard.gaps), gaps_max);
        });
        Some(number)
    }

    /// Extends a series to rows that start, and end, at these times.
    pub(in crate::store) fn extend_series(
        &mut self,
        id: u32,
        (first, last): (Timestamp, Timestamp),
        end: Timestamp,
    ) {
        let Some((series, dirty)) = self.series.get_mut(id) else { return };
        let before = (series.first, series.last, series.end);
        (series.first, series.last) = (series.first.min(first), series.last.max(last));
        series.end = series.end.max(end);
        if before != (series.first, series.last, series.end) && !std::mem::replace(dirty, true) {
            self.dirty.groups.insert(group_of(id));
        }
    }

    /// Finds the present epoch of each gateway again, after creation times have changed.
    pub(in crate::store) fn refresh_present(&mut self) {
        self.gateways.iter_mut().for_each(|gateway| gateway.present = None);
        self.changed_usages.note_all(self.gateways.len());
        for (epoch, number) in self.epochs.iter().zip(0..) {
            let Some(gateway) = self.gateways.get_mut(epoch.gateway as usize) else { continue };
            let present = gateway.present.and_then(|present| self.epochs.get(present as usize));
            if present.is_none_or(|present| creation_order(present) < creation_order(epoch)) {
                gateway.present = Some(number);
            }
        }
    }

    /// Resets stored times beyond `latest`, which an earlier version or a wrong clock stored: watermarks to unknown, until
    /// the gateway reports one that is believed, others to `now`. Returns the number of changes.
    pub(in crate::store) fn cap_future_times(&mut self, latest: Timestamp, now: Timestamp) -> u64 {
        let reset = |time: &mut Option<Timestamp>, to: Option<Timestamp>| {
            let ahead = time.is_some_and(|time| time > latest);
            if ahead {
                *time = to;
            }
            u64::from(ahead)
        };
        let mut changed = 0;
        for (epoch, number) in self.epochs.iter_mut().zip(0_u32..) {
            let shard = |shard: &mut Shard| {
                let gaps = shard
                    .gaps
                    .iter_mut()
                    .flat_map(|gap| [&mut gap.gap.from, &mut gap.gap.to, &mut gap.noticed, &mut gap.end]);
                let of_gaps = gaps.map(|time| reset(time, Some(now))).sum::<u64>();
                of_gaps + reset(&mut shard.watermark, None) + reset(&mut shard.whole_to, None)
            };
            let of_shards: u64 = epoch.shards.iter_mut().map(shard).sum();
            if of_shards > 0 {
                self.dirty.shards.insert(number);
            }
            let created = &mut epoch.epoch.created_ms;
            if *created > latest.as_millis() {
                *created = now.as_millis();
                self.dirty.epochs.insert(number);
                changed += 1;
            }
            changed += of_shards;
        }
        for (gateway, number) in self.gateways.iter_mut().zip(0_u32..) {
            if reset(&mut gateway.watermark, None) > 0 {
                self.dirty.gateways.insert(number);
                changed += 1;
            }
        }
        if changed > 0 {
            self.refresh_present();
        }
        changed
    }
}
