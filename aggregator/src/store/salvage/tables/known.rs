//! What the catalog says of rows: which series and epochs there are, and what retention removed.

use catchment_partial::{Partial, Timestamp, Window};

use crate::store::{
    catalog::{Catalog, catalog_store::Loaded},
    memtable::row::RowRef,
    salvage::tables::loss::LostWindows,
    tables::{applied::Applied, pieces::Floors, resolution::Resolution},
};

/// What is known of rows.
#[derive(Clone, Copy)]
pub(in crate::store) struct Known<'a> {
    pub(in crate::store) catalog: &'a Catalog,
    pub(in crate::store) applied: &'a Applied,
    pub(in crate::store) lost: &'a LostWindows,
}

impl<'a> Known<'a> {
    pub(in crate::store) fn of(loaded: &'a Loaded) -> Self {
        Self { catalog: &loaded.catalog, applied: &loaded.applied, lost: &loaded.lost_windows }
    }

    /// From when on the resolutions of a series are complete; `None`: there is no such series.
    pub(in crate::store) fn floors(&self, series: u32) -> Option<Floors> {
        let known = self.catalog.series.get(series)?;
        let gateway = self.catalog.gateways.get(known.gateway as usize)?;
        Some(self.applied.floors_of(&gateway.id, known.key.key()))
    }

    /// From when on the windows of a series are stored; `None`: there is no such series.
    pub(in crate::store) fn windows_from(&self, series: u32) -> Option<Timestamp> {
        let [windows, ..] = self.floors(series)?;
        Some(windows)
    }

    /// Whether the windows of an interval, beginning here for a series, are all stored: `windows_from` is of the series.
    pub(in crate::store) fn has_windows(
        &self,
        series: u32,
        windows_from: Timestamp,
        interval: Window,
    ) -> bool {
        interval.start() >= windows_from && !self.lost.meets(series, interval)
    }

    /// Whether a merged row that is kept ends before its series begins.
    pub(in crate::store) fn is_earlier(&self, row: &RowRef<'_>, resolution: Resolution) -> bool {
        let first = self.catalog.series.get(row.series).map(|series| series.first);
        let floor =
            self.floors(row.series).and_then(|all| all.get(usize::from(resolution.number())).copied());
        first.is_some_and(|first| row.name.window().end() <= first)
            && floor.is_some_and(|floor| floor <= row.name.start)
    }

    /// What is wrong with a row of a table.
    pub(in crate::store) fn fault(
        &self,
        row: &RowRef<'_>,
        resolution: Resolution,
        partition: i32,
    ) -> Option<&'static str> {
        if resolution.partition_of(row.name.start) != partition {
            return Some("it is of another time");
        }
        if row.series >= self.catalog.next_series {
            return Some("its series was never named");
        }
        if resolution == Resolution::Windows && self.catalog.epoch(row.name.epoch).is_none() {
            return Some("its epoch is not known");
        }
        Partial::check(row.body, row.name.start).is_err().then_some("its content is malformed")
    }
}
