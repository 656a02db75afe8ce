//! How many series each gateway has, and which series of a batch are new.

use catchment_partial::{Timestamp, Window};
use catchment_proto::{GatewayId, SeriesKey, SharedSeries};

use super::{Catalog, Series};
use crate::store::catalog::groups::group_of;

impl Catalog {
    /// Number of a series by its name; added if it is new and there is `room`.
    pub(super) fn find_or_add_series(
        &mut self,
        gateway: u32,
        key: &SharedSeries,
        window: Window,
        room: bool,
    ) -> Option<u32> {
        let name = (gateway, key.key().clone());
        if let Some(id) = self.series_numbers.get(&name) {
            return Some(*id);
        }
        if !room {
            return None;
        }
        let id = self.next_series;
        self.next_series = id.checked_add(1)?;
        let (start, end) = (window.start(), window.end());
        let (newest, flushed) = (Timestamp::MIN, Timestamp::MIN);
        let series = Series {
            gateway,
            key: key.clone(),
            first: start,
            last: start,
            end,
            newest,
            epoch: None,
            flushed,
        };
        self.series.insert(id, series);
        self.adjust_series_count(gateway, 1);
        self.series_numbers.insert(name, id);
        self.index.note_added(id);
        let group = group_of(id);
        if self.dirty.removed.remove(&group)
            && let Some(known) = self.series.group_mut(group)
        {
            known.stored = true;
        }
        self.mark_dirty(id);
        Some(id)
    }

    /// Number of series of a gateway.
    pub(in crate::store) fn series_count(&self, gateway: u32) -> u64 {
        self.series_counts.get(&gateway).copied().unwrap_or(0)
    }

    pub(super) fn adjust_series_count(&mut self, gateway: u32, change: i64) {
        let count = self.series_counts.entry(gateway).or_default();
        *count = count.saturating_add_signed(change);
        self.changed_usages.note(gateway);
    }

    /// Number of a gateway's series that its present data folder delivered and that were forgotten since.
    pub(in crate::store) fn forgotten(&self, gateway: &GatewayId) -> u64 {
        let number = self.gateway_numbers.get(gateway);
        let present = number.and_then(|number| self.gateways.get(*number as usize)?.present);
        present.and_then(|present| self.epoch(present)).map_or(0, |epoch| epoch.forgotten)
    }

    /// Counts a forgotten series: the data folder that delivered it last still holds its name, if it is the present
    /// one.
    pub(super) fn count_forgotten(&mut self, series: &Series) {
        let Some(present) = self.gateways.get(series.gateway as usize).and_then(|known| known.present) else {
            return;
        };
        if series.epoch.is_none_or(|epoch| epoch == present)
            && let Some(epoch) = self.epochs.get_mut(present as usize)
        {
            epoch.forgotten = epoch.forgotten.saturating_add(1);
            self.changed_usages.note(series.gateway);
            self.dirty.epochs.insert(present);
        }
    }

    /// The unknown series of a batch, each once. A series whose cached identifier belongs to this catalog is not
    /// looked up: the names of a stream belong to one gateway, and no cached identifier outlives a removal. A series
    /// that is found gets its identifier cached, so that applying the batch finds it at once.
    pub(in crate::store) fn unknown_series<'a>(
        &self,
        gateway: &GatewayId,
        series: &'a [SharedSeries],
    ) -> Vec<&'a SeriesKey> {
        let mut unknown = Vec::new();
        let number = self.gateway_numbers.get(gateway).copied();
        let token = u64::from(self.token.0);
        for shared in series.iter().filter(|shared| shared.cached_id() >> 32 != token) {
            let name = number.map(|number| (number, shared.key().clone()));
            match name.and_then(|name| self.series_numbers.get(&name)) {
                Some(id) => shared.set_cached_id(token << 32 | u64::from(*id)),
                None => unknown.push(shared.key()),
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// A known series by its name.
    pub(in crate::store) fn known_series(
        &self,
        gateway: &GatewayId,
        key: &SeriesKey,
    ) -> Option<SharedSeries> {
        let gateway = *self.gateway_numbers.get(gateway)?;
        let id = *self.series_numbers.get(&(gateway, key.clone()))?;
        self.series.get(id).map(|series| series.key.clone())
    }

    /// Numbers left for new series.
    pub(in crate::store) fn series_ids_left(&self) -> u64 {
        u64::from(u32::MAX - self.next_series)
    }
}
