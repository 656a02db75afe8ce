//! Lists of a catalog, in pages: a page is copied while the state is locked, so it is short, and no other work
//! happens there.

use std::sync::Arc;

use crate::store::{
    GatewayEntry, Page, SeriesEntry, SeriesId,
    catalog::{
        Catalog, EpochState, Gateway, Series, creation_order, gaps,
        groups::{first_of, group_of},
        watermark_of,
    },
    tables::resolution::Resolution,
};

/// Series copied at once, about: some 50 µs.
const SERIES_A_PAGE: usize = 512;
/// Most groups examined for a page; most of them may be gone.
const GROUPS_A_PAGE: u32 = 4_096;
/// Most gaps listed per gateway.
pub(in crate::store) const GAPS_MAX: usize = 64;
/// Gateways copied at once, each with its gaps.
const GATEWAYS_A_PAGE: usize = 64;

/// The number of a series in the catalog; `u32::MAX`, which no series has, if the id is of no series of this store.
pub(in crate::store) fn number_of(id: SeriesId) -> u32 {
    u32::try_from(id.number()).unwrap_or(u32::MAX)
}

impl Catalog {
    /// A page of the series from a number on.
    pub(in crate::store) fn entries_from(&self, from: u32) -> Page<SeriesEntry, u32> {
        let groups = self.series.groups_from(group_of(from));
        let mut next = None;
        let mut entries = Vec::new();
        for (number, group) in groups {
            if number - group_of(from) >= GROUPS_A_PAGE || entries.len() >= SERIES_A_PAGE {
                next = Some(first_of(number));
                break;
            }
            let known = group.into_iter().flat_map(|group| group.series());
            let known = known.map(|(place, series)| (first_of(number) + place, series));
            entries.extend(known.filter(|(id, _)| *id >= from).filter_map(|(id, s)| self.entry(id, s)));
        }
        Page { entries, next }
    }

    /// The series with some ids; those that are removed are left out. The caller bounds their number.
    pub(in crate::store) fn entries_of(&self, ids: &[u32]) -> Vec<SeriesEntry> {
        ids.iter().filter_map(|id| self.entry_of(*id)).collect()
    }

    /// The series with a number.
    pub(in crate::store) fn entry_of(&self, number: u32) -> Option<SeriesEntry> {
        self.entry(number, self.series.get(number)?)
    }

    fn entry(&self, id: u32, series: &Series) -> Option<SeriesEntry> {
        Some(SeriesEntry {
            id: SeriesId::new(id.into()),
            gateway: self.gateways.get(series.gateway as usize)?.id.clone(),
            key: series.key.key().clone(),
            windows: (series.first, series.last),
            // A row of a day, the longest interval, starts with the day.
            rows_from: Resolution::Day.start_of(series.first),
            last_reading: series.newest,
        })
    }

    /// A page of the gateways from a number on, with their present epochs.
    pub(in crate::store) fn gateway_entries_from(&self, from: u32) -> Page<GatewayEntry, u32> {
        let from = from as usize;
        let end = from.saturating_add(GATEWAYS_A_PAGE).min(self.gateways.len());
        // If epochs of a gateway deliver concurrently, all of them must be complete.
        let others = |gateway: u32, present: Option<u32>| {
            let open = self.open.range((gateway, 0)..=(gateway, u32::MAX));
            let others = open.filter(move |(_, number)| present != Some(*number));
            others.filter_map(|(_, number)| self.epochs.get(*number as usize))
        };
        let entry = |gateway: &Gateway| {
            let present = self.epoch(gateway.present?)?;
            let (number, mut shown) = (present.gateway, present);
            let mut also: Vec<&EpochState> = others(number, gateway.present).collect();
            let mut watermark = gateway.watermark;
            for known in self.provisional_epochs(&gateway.id).filter(|known| known.open) {
                let other = if creation_order(known) > creation_order(shown) {
                    std::mem::replace(&mut shown, known)
                } else {
                    known
                };
                also.extend(Some(other).filter(|other| other.open));
            }
            if !std::ptr::eq(shown, present) {
                watermark = watermark_of(shown).or(watermark);
            }
            Some(GatewayEntry {
                epoch: shown.epoch.clone(),
                watermark: also.into_iter().fold(watermark, |least, other| least.min(watermark_of(other))),
                gaps: self.gaps_of(number),
                series: self.series_count(number),
                series_max: None,
                retired: gateway.retired,
                hours: Arc::clone(&gateway.hours),
            })
        };
        let page = self.gateways.get(from..end).unwrap_or_default();
        let mut entries: Vec<GatewayEntry> = page.iter().filter_map(entry).collect();
        let mut next = Some(end);
        if end == self.gateways.len() {
            // After the others, as if they had numbers.
            let listed = from.saturating_sub(end);
            let mut new_gateways = self.new_gateways().skip(listed);
            entries.extend(new_gateways.by_ref().take(GATEWAYS_A_PAGE).map(new_gateway_entry));
            next = new_gateways.next().map(|_| from.max(end) + GATEWAYS_A_PAGE);
        }
        Page { entries, next: next.and_then(|next| u32::try_from(next).ok()) }
    }
}

/// A gateway that has delivered nothing yet.
fn new_gateway_entry(state: &EpochState) -> GatewayEntry {
    let all = state.shards.iter().flat_map(|shard| &shard.gaps).copied().collect();
    GatewayEntry {
        epoch: state.epoch.clone(),
        watermark: watermark_of(state),
        gaps: gaps::merge(all, GAPS_MAX).into_iter().map(gaps::ShardGap::to_gap).collect(),
        series: 0,
        series_max: None,
        retired: false,
        hours: Arc::default(),
    }
}

#[cfg(test)]
mod tests;
