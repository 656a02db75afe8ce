//! What the store knows beside the partials: gateways, their origins with delivered numbers and watermarks, and
//! the series.
//!
//! Part of the fold of the journal, kept in memory whole and in sled record by record: what changed since it was
//! last written is marked. Numbers of gateways and origins are dense and for good, because blocks refer to them;
//! numbers of series are never used again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::{AtomicU32, Ordering},
};

use catchment_partial::{Timestamp, Window};
use catchment_proto::{GatewayId, History, SeriesKey, SharedSeries, batch::SHARDS_MAX};

use super::{
    Origin, Report,
    gaps::{self, ShardGap, gaps_max},
    groups::{AllSeries, group_of},
    runs::DeliveredRuns,
};

mod forget;
mod places;
mod runs;
mod visitors;

use visitors::Visitors;

/// A gateway.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gateway {
    /// Its identity.
    pub(super) id: GatewayId,
    /// The watermark of its present origin; of the one before, until the present one has one.
    pub(super) watermark: Option<Timestamp>,
    /// The newest created of its origins.
    pub(super) present: Option<u32>,
}

/// How far one shard of an origin has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shard {
    /// Highest batch number applied; 0: none.
    pub(super) number: u64,
    /// Its windows are closed and delivered up to here.
    pub(super) watermark: Option<Timestamp>,
    /// Up to here what it delivered is in this store, or lies in one of the gaps. The watermark may be ahead of it: an older
    /// gateway does not say how many batches stand behind it.
    pub(super) whole_to: Option<Timestamp>,
    /// Batches that it made and this store lacks, in order of time.
    pub(super) gaps: Vec<ShardGap>,
    /// Who delivered the newest of its batches.
    pub(super) runs: DeliveredRuns,
}

/// One life of a gateway's data folder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OriginState {
    /// Number of its gateway.
    pub(super) gateway: u32,
    /// Its identity.
    pub(super) origin: Origin,
    /// Its shards that were heard of; may be fewer or more than the origin says.
    pub(super) shards: Vec<Shard>,
    /// Its delivered numbers were lost by damage: what it has delivered before is not known.
    pub(super) unknown: bool,
    /// It has a stream now.
    pub(super) open: bool,
    /// Series that it delivered and that were removed here: its data folder may still have them.
    pub(super) forgotten: u64,
    /// It had a stream while there was a newer epoch of its gateway.
    pub(super) beside: bool,
}

/// A series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Number of its gateway.
    pub(super) gateway: u32,
    /// Device, metric and labels.
    pub(super) key: SharedSeries,
    /// Start of its first window.
    pub(super) first: Timestamp,
    /// Start of its last window.
    pub(super) last: Timestamp,
    /// Latest end of a window.
    pub(super) end: Timestamp,
    /// Event time of its newest reading.
    pub(super) newest: Timestamp,
    /// The origin that delivered it last; `None`: written by a version that did not note it.
    pub(super) origin: Option<u32>,
}

/// Records that differ from what is in sled.
#[derive(Clone, Debug, Default)]
pub(super) struct Dirty {
    pub(super) gateways: BTreeSet<u32>,
    /// Identities of origins.
    pub(super) origins: BTreeSet<u32>,
    /// Delivered numbers and watermarks of origins.
    pub(super) shards: BTreeSet<u32>,
    /// Groups of series: as many as have their mark.
    pub(super) groups: BTreeSet<u32>,
    /// Groups whose record is to go.
    pub(super) removed: BTreeSet<u32>,
}

/// Distinguishes the catalogs of a process, so that a series' note tells whose number it is.
#[derive(Debug)]
struct Token(u32);

impl Default for Token {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Gateways, origins and series.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) gateways: Vec<Gateway>,
    pub(super) origins: Vec<OriginState>,
    pub(super) series: AllSeries,
    pub(super) next_series: u32,
    pub(super) dirty: Dirty,
    /// Batches in gaps, of all origins.
    pub(super) lost_batches: u64,
    /// Origins that have gaps, by gateway.
    pub(super) gapped: BTreeMap<u32, BTreeSet<u32>>,
    /// Gateways of which flushed windows are damaged or missing, and how far they were when that was found. Not stored: each
    /// start finds it again.
    pub(super) damaged: BTreeMap<u32, Option<Timestamp>>,
    token: Token,
    /// Series of each gateway, by its number.
    held: HashMap<u32, u64>,
    /// Epochs that have delivered nothing yet. Not stored.
    visitors: Visitors,
    /// Epochs of each gateway, by its number.
    epochs: HashMap<u32, u64>,
    gateway_numbers: HashMap<GatewayId, u32>,
    origin_numbers: HashMap<(u32, u64), u32>,
    series_numbers: HashMap<(u32, SeriesKey), u32>,
}

impl Catalog {
    /// A catalog of what was stored; gateways and origins in the order of their numbers.
    pub(super) fn restore(
        gateways: Vec<Gateway>,
        origins: Vec<OriginState>,
        series: AllSeries,
        next_series: u32,
    ) -> Self {
        let after_last = series.iter().last().map_or(0, |(id, _)| id.saturating_add(1));
        let mut catalog = Self { next_series: next_series.max(after_last), ..Self::default() };
        catalog.gateway_numbers =
            gateways.iter().zip(0..).map(|(g, number)| (g.id.clone(), number)).collect();
        catalog.origin_numbers =
            origins.iter().zip(0..).map(|(o, number)| ((o.gateway, o.origin.epoch), number)).collect();
        catalog.series_numbers =
            series.iter().map(|(id, s)| ((s.gateway, s.key.key().clone()), id)).collect();
        series.iter().for_each(|(_, s)| catalog.count_held(s.gateway, 1));
        origins.iter().for_each(|origin| *catalog.epochs.entry(origin.gateway).or_default() += 1);
        (catalog.gateways, catalog.origins, catalog.series) = (gateways, origins, series);
        for number in 0..catalog.origins.len() as u32 {
            catalog.refresh_gateway(number);
        }
        for (origin, number) in catalog.origins.iter().zip(0..) {
            for shard in origin.shards.iter().filter(|shard| !shard.gaps.is_empty()) {
                let lost = gaps::batches(&shard.gaps);
                catalog.lost_batches = catalog.lost_batches.saturating_add(lost);
                catalog.gapped.entry(origin.gateway).or_default().insert(number);
            }
        }
        catalog.dirty = Dirty::default();
        catalog
    }

    /// Number of an origin that is known.
    pub(super) fn find_origin(&self, gateway: &GatewayId, epoch: u64) -> Option<u32> {
        let gateway = *self.gateway_numbers.get(gateway)?;
        self.origin_numbers.get(&(gateway, epoch)).copied()
    }

    /// What is known of an origin.
    pub(super) fn origin(&self, number: u32) -> Option<&OriginState> {
        self.origins.get(number as usize)
    }

    /// Number of an origin, taken in if it is new; its number of shards may change from one start to the next.
    pub(super) fn take_origin(&mut self, origin: &Origin) -> u32 {
        let gateway = match self.gateway_numbers.get(&origin.gateway) {
            Some(number) => *number,
            None => {
                let number = self.gateways.len() as u32;
                self.gateways.push(Gateway { id: origin.gateway.clone(), watermark: None, present: None });
                self.gateway_numbers.insert(origin.gateway.clone(), number);
                self.dirty.gateways.insert(number);
                number
            }
        };
        if let Some(&number) = self.origin_numbers.get(&(gateway, origin.epoch)) {
            let of_names = |known: &OriginState| known.origin.epoch_created_ms == i64::MIN;
            let mut created_ms = origin.epoch_created_ms;
            if self.origin(number).is_some_and(of_names) {
                created_ms = self.created_first(gateway, origin);
            }
            if let Some(known) = self.origins.get_mut(number as usize) {
                let known = &mut known.origin;
                let seen = (created_ms.max(known.epoch_created_ms), origin.shards);
                if seen != (known.epoch_created_ms, known.shards) {
                    (known.epoch_created_ms, known.shards) = seen;
                    self.dirty.origins.insert(number);
                    self.refresh_gateway(number);
                }
            }
            return number;
        }
        self.add_origin(gateway, origin)
    }

    /// Takes an origin in. What it said before it delivered anything goes along.
    fn add_origin(&mut self, gateway: u32, origin: &Origin) -> u32 {
        let number = self.origins.len() as u32;
        let before = self.gateways.get(gateway as usize).and_then(|gateway| gateway.present);
        let epoch_created_ms = self.created_first(gateway, origin);
        let visitor = self.visitors.take(&origin.gateway, origin.epoch);
        self.origins.push(OriginState {
            gateway,
            origin: Origin { epoch_created_ms, ..runs::of_any_run(origin) },
            shards: Vec::new(),
            unknown: false,
            open: visitor.as_ref().is_some_and(|visitor| visitor.open),
            forgotten: 0,
            beside: false,
        });
        self.origin_numbers.insert((gateway, origin.epoch), number);
        *self.epochs.entry(gateway).or_default() += 1;
        self.dirty.origins.insert(number);
        self.refresh_gateway(number);
        if let Some(before) = before.filter(|before| self.origin(*before).is_some_and(|before| before.open)) {
            self.note_beside(before);
        }
        for (shard, said) in visitor.into_iter().flat_map(|visitor| visitor.shards).zip(0..) {
            self.change_shard(number, said, |known, _| *known = shard);
        }
        number
    }

    /// How many epochs there are of some gateways.
    pub(super) fn epochs_of(&self, wanted: impl Fn(&GatewayId) -> bool) -> u64 {
        let gateways = self.gateways.iter().zip(0_u32..).filter(|(gateway, _)| wanted(&gateway.id));
        gateways.filter_map(|(_, number)| self.epochs.get(&number)).sum()
    }

    /// The most epochs that one gateway has.
    pub(super) fn epochs_most(&self) -> u64 {
        self.epochs.values().copied().max().unwrap_or(0)
    }

    /// Highest batch number applied of a shard; 0: none.
    pub(super) fn delivered(&self, number: u32, shard: u32) -> u64 {
        self.origin(number).and_then(|o| o.shards.get(shard as usize)).map_or(0, |shard| shard.number)
    }

    /// A batch of a shard is applied, which says of those before what its history holds.
    pub(super) fn advance(
        &mut self,
        number: u32,
        shard: u32,
        batch: u64,
        watermark: Option<Timestamp>,
        history: &History,
    ) {
        self.note_beside(number);
        self.change_shard(number, shard, |known, gaps_max| known.take(batch, watermark, history, gaps_max));
    }

    /// A shard reports that it has closed and delivered everything up to a watermark.
    pub(super) fn progress(&mut self, number: u32, report: &Report) {
        self.note_beside(number);
        self.change_shard(number, report.shard, |known, gaps_max| known.progress(report, gaps_max));
    }

    /// What a shard had delivered is not known; it goes on behind this batch.
    pub(super) fn assume(&mut self, number: u32, shard: u32, batch: u64) {
        self.change_shard(number, shard, |known, _| known.number = known.number.max(batch));
    }

    pub(super) fn change_shard(&mut self, number: u32, shard: u32, change: impl FnOnce(&mut Shard, usize)) {
        let Some(origin) = self.origins.get_mut(number as usize) else { return };
        let shards = origin.shards.len().max(shard as usize + 1).max(origin.origin.shards as usize);
        let gateway = origin.gateway;
        let Some(known) = origin.shard_mut(shard) else { return };
        let before = known.clone();
        change(known, gaps_max(shards));
        if *known == before {
            return;
        }
        let (lost, lost_before) = (gaps::batches(&known.gaps), gaps::batches(&before.gaps));
        self.lost_batches = self.lost_batches.saturating_sub(lost_before).saturating_add(lost);
        if !known.gaps.is_empty() {
            self.gapped.entry(gateway).or_default().insert(number);
        }
        self.dirty.shards.insert(number);
        self.refresh_gateway(number);
    }

    /// Brings a gateway in line with a change of one of its origins.
    fn refresh_gateway(&mut self, number: u32) {
        let Some(changed) = self.origins.get(number as usize) else { return };
        let Some(gateway) = self.gateways.get_mut(changed.gateway as usize) else { return };
        let present = gateway.present.and_then(|present| self.origins.get(present as usize));
        if present.is_none_or(|present| age(present) < age(changed)) {
            gateway.present = Some(number);
            self.dirty.gateways.insert(changed.gateway);
        }
        if gateway.present == Some(number) {
            // An epoch that follows a folder's going back may be behind the one before: what it has not closed is not complete.
            let watermark = watermark_of(changed).or(gateway.watermark);
            if gateway.watermark != watermark {
                gateway.watermark = watermark;
                self.dirty.gateways.insert(changed.gateway);
            }
        }
    }

    /// Number of a series, taken in if it is new and there is `room`; else `None`. A series that was looked up here before carries
    /// a note of its number.
    pub(super) fn take_series(
        &mut self,
        gateway: u32,
        key: &SharedSeries,
        window: Window,
        room: bool,
    ) -> Option<u32> {
        let note = key.note();
        let noted = note as u32;
        if note >> 32 == u64::from(self.token.0)
            && self.series.get(noted).is_some_and(|s| s.gateway == gateway)
        {
            return Some(noted);
        }
        let id = self.find_series(gateway, key, window, room)?;
        key.set_note(u64::from(self.token.0) << 32 | u64::from(id));
        Some(id)
    }

    /// The record of a series' group is to be written.
    fn mark(&mut self, id: u32) {
        if let Some((_, dirty)) = self.series.get_mut(id)
            && !std::mem::replace(dirty, true)
        {
            self.dirty.groups.insert(group_of(id));
        }
    }

    /// A series has this window, and a reading of this time; an origin delivered it.
    pub(super) fn seen(&mut self, id: u32, origin: u32, window: Window, newest: Timestamp) {
        let Some((series, dirty)) = self.series.get_mut(id) else { return };
        let before = (series.first, series.last, series.end, series.newest, series.origin);
        series.first = series.first.min(window.start());
        series.last = series.last.max(window.start());
        series.end = series.end.max(window.end());
        series.newest = series.newest.max(newest);
        series.origin = Some(origin);
        let changed = before != (series.first, series.last, series.end, series.newest, series.origin);
        if changed && !std::mem::replace(dirty, true) {
            self.dirty.groups.insert(group_of(id));
        }
    }

    /// A group of series, for a person.
    pub(super) fn group_name(&self, group: u32) -> String {
        let Some(known) = self.series.group(group) else { return "not known".to_owned() };
        let Some((_, first)) = known.series().next() else { return "none".to_owned() };
        let gateway = self.gateways.get(first.gateway as usize).map(|gateway| gateway.id.to_string());
        let gateway = gateway.unwrap_or_default();
        match known.len() {
            1 => format!("{} of {gateway}", first.key.key()),
            count => format!("{} of {gateway}, and {} more", first.key.key(), count - 1),
        }
    }
}

/// The newest of a gateway's origins is the present one.
pub(super) fn age(origin: &OriginState) -> (i64, u64) {
    (origin.origin.epoch_created_ms, origin.origin.epoch)
}

/// Up to where all shards of an origin have closed and delivered; `None` until each of them has.
pub(super) fn watermark_of(origin: &OriginState) -> Option<Timestamp> {
    let shards =
        (0..origin.origin.shards.min(SHARDS_MAX) as usize).map(|index| origin.shards.get(index)?.watermark);
    shards.min().flatten()
}

#[cfg(test)]
mod tests;
