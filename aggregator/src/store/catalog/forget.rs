//! Removal from the catalog: forgotten series and windows.

use catchment_partial::Timestamp;

use super::{Catalog, Token};
use crate::store::{catalog::groups::group_of, tree::records::BlockManifest};

impl Catalog {
    /// Removes a series that has no windows any more.
    pub(in crate::store) fn remove_series(&mut self, id: u32) {
        let Some((series, group)) = self.series.remove(id) else { return };
        // Cached identifiers must refer to existing series.
        self.token = Token::default();
        self.adjust_series_count(series.gateway, -1);
        self.index.note_removed();
        self.count_forgotten(&series);
        self.series_numbers.remove(&(series.gateway, series.key.key().clone()));
        let number = group_of(id);
        if let Some(group) = group {
            self.dirty.groups.remove(&number);
            if group.stored {
                self.dirty.removed.insert(number);
            }
        } else if let Some(group) = self.series.group_mut(number)
            && !std::mem::replace(&mut group.dirty, true)
        {
            self.dirty.groups.insert(number);
        }
    }

    /// Moves the start of a series forward: its rows before this time are gone.
    pub(in crate::store) fn raise_first(&mut self, id: u32, first: Timestamp) {
        if let Some((series, _)) = self.series.get_mut(id)
            && series.first < first
        {
            series.first = first.min(series.last);
            self.mark_dirty(id);
        }
    }

    /// No group has blocks of an earlier version any more.
    pub(in crate::store) fn reset_manifests(&mut self) {
        let numbers: Vec<u32> = self.series.groups().map(|(number, _)| number).collect();
        for number in numbers {
            if let Some(group) = self.series.group_mut(number)
                && group.manifest != BlockManifest::default()
            {
                group.manifest = BlockManifest::default();
                if !std::mem::replace(&mut group.dirty, true) {
                    self.dirty.groups.insert(number);
                }
            }
        }
    }
}
