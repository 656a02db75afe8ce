//! Files of tables that no record names: which of them are adopted, and what becomes of the others.

use std::{collections::BTreeMap, path::PathBuf};

use crate::store::{
    salvage::tables::{
        compare::Part,
        loss::Span,
        mend::{Mender, entry_of, is_in},
        places::Stray,
        survey::{Condition, Survey},
    },
    tables::{resolution::Resolution, version::TableEntry},
};

impl Mender<'_> {
    /// Files of merged rows without a record, if there are exactly as many as records are lost: else one of them may have
    /// been left by a round or a merge, and its rows would count twice.
    pub(super) fn strays_that_count(
        &mut self,
        survey: &Survey,
        strays: &[Stray],
    ) -> BTreeMap<Part, Vec<TableEntry>> {
        let mut extra: BTreeMap<Part, Vec<TableEntry>> = BTreeMap::new();
        let named = survey.tables.len() as u64;
        let missing = self.must.map_or(0, |must| must.saturating_sub(named));
        let merged = |stray: &&Stray| stray.table.resolution() != Resolution::Windows;
        if missing == 0 || strays.len() as u64 != missing {
            return extra;
        }
        for stray in strays.iter().filter(merged) {
            let part = (stray.table.resolution(), stray.table.partition());
            let id = stray.id();
            // Read under the name that it has; as the oldest, it replaces no other's rows.
            let entry = id.map(|id| entry_of(part, id, 0, *stray.table.summary()));
            if let Some(entry) = entry.filter(|entry| entry.path(self.data) == stray.path) {
                extra.entry(part).or_default().push(entry);
                self.adopted += 1;
            }
        }
        extra
    }

    /// Adds files of merged rows that are newer than the catalog where they alone hold the rows of their partition: of
    /// several, or beside a table that counts, nobody knows which were merged into which, and rows would count twice.
    pub(super) fn add_newer(
        &mut self,
        survey: &Survey,
        strays: &[Stray],
        extra: &mut BTreeMap<Part, Vec<TableEntry>>,
    ) {
        let part_of = |stray: &Stray| (stray.table.resolution(), stray.table.partition());
        let usable = |part| {
            let whole = |condition: &_| !matches!(condition, Condition::Unusable(_));
            survey.tables.iter().any(|(entry, condition)| is_in(entry, part) && whole(condition))
        };
        let taken: Vec<PathBuf> = extra.values().flatten().map(|entry| entry.path(self.data)).collect();
        for stray in strays.iter().filter(|stray| !taken.contains(&stray.path)) {
            let part = part_of(stray);
            if !self.is_newer(stray) || part.0 == Resolution::Windows {
                continue;
            }
            if stray.table.summary().least_series >= self.loaded.catalog.next_series {
                self.note_newer(stray, "it holds no rows of known series, and is set aside");
                continue;
            }
            let alone = strays.iter().filter(|other| part_of(other) == part).count() == 1 && !usable(part);
            let entry = stray.id().map(|id| entry_of(part, id, 0, *stray.table.summary()));
            match entry.filter(|entry| alone && entry.path(self.data) == stray.path) {
                Some(entry) => {
                    self.note_newer(stray, "its rows are taken");
                    extra.entry(part).or_default().push(entry);
                }
                None => {
                    self.note_newer(stray, "it is set aside, and its rows are made again from windows");
                    let span = Span::of_table(stray.table.summary());
                    if !self.is_computed(part, &span) {
                        let name = stray.path.display().to_string();
                        self.lose(&format!("{name}: rows whose windows are not stored are left out"), &span);
                    }
                }
            }
        }
    }

    /// Whether the catalog is too old to name a file.
    fn is_newer(&self, stray: &Stray) -> bool {
        self.newer_from.is_some_and(|from| stray.id() >= Some(from))
    }

    /// Reports a file that is newer than the catalog, and rows in it of series that the catalog does not know.
    pub(super) fn note_newer(&mut self, stray: &Stray, done: &str) {
        if !self.is_newer(stray) {
            return;
        }
        let (name, summary) = (stray.path.display(), stray.table.summary());
        self.report.done.push(format!("tables: {name} is newer than the catalog: {done}"));
        let next = self.loaded.catalog.next_series;
        if summary.greatest_series >= next {
            self.report.lost.note(format!(
                "{name}: the names of series {} to {} are lost, and with them their rows",
                next.max(summary.least_series),
                summary.greatest_series
            ));
            self.report.names_lost = true;
        }
    }
}
