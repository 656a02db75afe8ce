//! Repairs tables: puts exchanged files in their places, leaves out what cannot be read, adopts files whose records are
//! lost, and writes minutes, hours and days again where the windows are stored.
//!
//! Files are only added. What counts changes with the one write batch that results, and holds also what is lost: a repair
//! that is cut off before has changed nothing, and none leaves rows out without a record of that. Files that count no
//! more are set aside afterwards.

use std::{collections::HashMap, io, path::Path, sync::Arc};

use catchment_journal::{Disk, RealDisk};

use crate::store::{
    OpenError, VerifyReport,
    catalog::catalog_store::Loaded,
    salvage::{
        repair::{
            RepairReport, Step,
            attempt::{Attempt, remove_leftovers},
        },
        tables::{
            compare::{Part, compare, merged_parts, part_name},
            known::Known,
            loss::Span,
            places::{self, Stray},
            recompute::{Recomputed, recompute, source_of},
            survey::{Condition, Survey},
            windows,
        },
        verify::newer_from,
    },
    tables::{
        error::TableError,
        resolution::Resolution,
        version::{self, TableEntry},
        writer::TableSummary,
    },
    tree::{
        WriteBatch,
        records::{self, Stored},
    },
};

/// The steps of a repair of tables.
pub(super) struct Mender<'a> {
    disk: Arc<RealDisk>,
    pub(super) data: &'a Path,
    pub(super) loaded: &'a mut Loaded,
    pub(super) report: &'a mut RepairReport,
    /// Number of tables that must exist, if records may be lost or may have come back.
    pub(super) must: Option<u64>,
    next_id: u64,
    /// What cannot be read of the tables that still count, by number.
    bad: HashMap<u64, Vec<Span>>,
    /// Files whose rows were adopted.
    pub(super) adopted: u64,
    /// The catalog is older than the tables from this number on: it cannot name them.
    pub(super) newer_from: Option<u64>,
    writes: WriteBatch,
    step: Step<'a>,
}

/// Mends the tables of a catalog; returns the write batch from which on that counts. `must`: the number of tables that
/// must exist, if the catalog was rebuilt.
///
/// # Errors
/// Of the file system: the catalog is as it was.
pub(in crate::store) fn mend(
    data: &Path,
    loaded: &mut Loaded,
    report: &mut RepairReport,
    must: Option<u64>,
    step: Step<'_>,
) -> Result<WriteBatch, OpenError> {
    let disk = Arc::new(RealDisk);
    let failed = |source| OpenError::Io { what: "cannot repair the tables".to_owned(), source };
    disk.create_dir_all(&data.join(version::FOLDER)).map_err(failed)?;
    remove_leftovers(&*disk, data, loaded).map_err(failed)?;
    let mut survey = Survey::of(&disk, data, loaded, &mut VerifyReport::default())?;
    if let Some(error) = survey.refusal() {
        let what = "a table cannot be opened: nothing was changed".to_owned();
        return Err(OpenError::Io { what, source: error.to_io() });
    }
    let newer_from = newer_from(data, loaded, &survey);
    let mut strays = places::strays(&disk, data, &survey).map_err(failed)?;
    let ids = loaded.tables.iter().map(|entry| entry.id.max(entry.age));
    let files = survey.unnamed.iter().filter_map(|name| version::id_of(name));
    let next_id = ids.chain(files).max().map_or(0, |id| id.saturating_add(1)).max(loaded.meta.next_table);
    Attempt::begin(&*disk, data, next_id).and_then(|()| step()).map_err(failed)?;
    let restored = places::restore(&disk, data, &Known::of(loaded), &mut survey, &mut strays, step);
    let restored = restored.map_err(failed)?;
    if restored > 0 {
        report.done.push(format!("tables: {restored} files that had other names are in their places again"));
    }
    let writes = WriteBatch::new(loaded.meta.sequence.saturating_add(1));
    let mut mender = Mender {
        disk,
        data,
        loaded,
        report,
        must,
        next_id,
        bad: HashMap::new(),
        adopted: 0,
        newer_from,
        writes,
        step,
    };
    mender.windows(&survey, &strays)?;
    mender.merged(&survey, &strays)?;
    mender.finish(&survey)
}

impl Mender<'_> {
    fn failed(&self) -> impl Fn(io::Error) -> OpenError + use<> {
        let what = format!("cannot repair the tables in {}", self.data.join(version::FOLDER).display());
        move |source| OpenError::Io { what: what.clone(), source }
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        id
    }

    /// Reports rows that are lost, and whose.
    pub(super) fn lose(&mut self, what: &str, span: &Span) {
        let text = span.text(&self.loaded.catalog);
        self.report.lost.note(format!("{what}: {text}"));
        self.report.lost.lossy_spans.add(*span);
    }

    /// Keeps all windows that can be read, and adopts those of files without a record: their names resolve them.
    fn windows(&mut self, survey: &Survey, strays: &[Stray]) -> Result<(), OpenError> {
        let mut extents = survey.extents.clone();
        let mut lost_any = self.must.is_some();
        for (entry, condition) in &survey.tables {
            let spans = match condition {
                Condition::Whole | Condition::Refused(_) => continue,
                Condition::Partly(spans) => spans.clone(),
                Condition::Unusable(error) if self.is_gone(entry, error, survey) => {
                    self.replace(&[*entry], None);
                    continue;
                }
                Condition::Unusable(_) => vec![Span::of_table(&entry.summary)],
            };
            if entry.resolution != Resolution::Windows {
                self.bad.insert(entry.id, spans);
                continue;
            }
            lost_any = true;
            for span in &spans {
                self.loaded.lost_windows.add(*span);
                self.lose(
                    "windows that cannot be read are left out; minutes, hours and days of them are kept",
                    span,
                );
            }
            let id = self.take_id();
            let path = version::path(self.data, entry.resolution, entry.partition, id);
            let table = Arc::clone(&entry.open(&self.disk, self.data).table);
            let copied = windows::copy(&self.disk, &table, &path, Known::of(self.loaded), &mut extents);
            let copied = self.written(copied)?;
            let added = copied.map(|summary| TableEntry { id, summary, without: 0, ..*entry });
            self.replace(&[*entry], added);
        }
        for stray in strays.iter().filter(|stray| lost_any && stray.table.resolution() == Resolution::Windows)
        {
            let id = self.take_id();
            let partition = stray.table.partition();
            let path = version::path(self.data, Resolution::Windows, partition, id);
            let copied = windows::copy(&self.disk, &stray.table, &path, Known::of(self.loaded), &mut extents);
            let copied = self.written(copied)?;
            self.note_newer(
                stray,
                match copied {
                    Some(_) => "its windows are taken",
                    None => "it holds no windows of known series that are not in others, and is set aside",
                },
            );
            self.adopted += 1;
            if let Some(summary) = copied {
                let age = self.take_id();
                self.replace(&[], Some(entry_of((Resolution::Windows, partition), id, age, summary)));
            }
        }
        extents.extend(&mut self.loaded.catalog);
        Ok(())
    }

    /// Whether a record whose file is missing is one that came back: enough others have their files.
    fn is_gone(&self, entry: &TableEntry, error: &TableError, survey: &Survey) -> bool {
        let Some(must) = self.must else { return false };
        let missing = |error: &_| matches!(error, TableError::Missing { .. });
        let present = survey.tables.iter().filter(|(_, condition)| match condition {
            Condition::Unusable(error) => !missing(error),
            _ => true,
        });
        let (present, made_of_it): (Vec<_>, Vec<_>) =
            present.map(|(other, _)| (1_u64, other.id > entry.id && other.shares_ages(entry))).unzip();
        missing(error) && (present.iter().sum::<u64>() >= must || made_of_it.contains(&true))
    }

    /// Writes minutes, hours and days again that cannot be read, or differ from the windows.
    fn merged(&mut self, survey: &Survey, strays: &[Stray]) -> Result<(), OpenError> {
        let mut extra = self.strays_that_count(survey, strays);
        self.add_newer(survey, strays, &mut extra);
        let mut parts = merged_parts(&self.loaded.tables);
        parts.extend(extra.keys().copied());
        parts.sort_unstable();
        parts.dedup();
        for part in parts {
            let own: Vec<TableEntry> =
                self.loaded.tables.iter().filter(|entry| is_in(entry, part)).copied().collect();
            let damaged = own.iter().any(|entry| self.bad.contains_key(&entry.id));
            let extra = extra.remove(&part).unwrap_or_default();
            let known = Known::of(self.loaded);
            let wrong = damaged
                || self.adopted > 0
                || !extra.is_empty()
                || compare(&self.disk, self.data, &self.loaded.tables, part, known)
                    .map_err(|error| self.failed()(error.to_io()))?
                    .intervals
                    > 0;
            if wrong {
                self.write_again(part, &own, extra)?;
            }
        }
        Ok(())
    }

    fn write_again(
        &mut self,
        part: Part,
        own: &[TableEntry],
        extra: Vec<TableEntry>,
    ) -> Result<(), OpenError> {
        let id = self.take_id();
        let path = version::path(self.data, part.0, part.1, id);
        let mut tables = self.loaded.tables.clone();
        tables.extend(extra);
        let known = Known::of(self.loaded);
        let written = recompute(&self.disk, self.data, &tables, (part, &path), known);
        let Recomputed { summary, without_windows } = self.written(written)?;
        for entry in own {
            for span in self.bad.remove(&entry.id).unwrap_or_default() {
                if !self.is_computed(part, &span) {
                    self.lose(&format!("{} that cannot be read are left out", part_name(part)), &span);
                }
            }
        }
        for span in without_windows.spans() {
            self.loaded.lost_windows.add(*span);
            self.lose(&format!("windows are missing that {} hold, which are kept", part_name(part)), span);
        }
        let fresh = self.take_id();
        let age = own.iter().map(|entry| entry.age).max().unwrap_or(fresh);
        let oldest = own.iter().map(|entry| entry.oldest).min().unwrap_or(age);
        let added = summary.map(|summary| TableEntry { oldest, ..entry_of(part, id, age, summary) });
        self.replace(own, added);
        self.report.done.push(format!("tables: {} were written again", part_name(part)));
        Ok(())
    }

    /// Whether all merged rows of a span were computed from finer ones.
    pub(super) fn is_computed(&self, part: Part, span: &Span) -> bool {
        let known = Known::of(self.loaded);
        let mut series = self.loaded.catalog.series.iter().map(|(id, _)| id);
        let lost = self.loaded.lost_windows.spans();
        let source = usize::from(source_of(part, known).number());
        let floor = |id| known.floors(id).and_then(|floors| floors.get(source).copied());
        let stored = |id| floor(id).is_some_and(|from| from <= span.starts.0);
        series.all(|id| !(span.series.0..=span.series.1).contains(&id) || stored(id))
            && !lost.iter().any(|lost| lost.is_near(span))
    }

    /// A file was written, which counts for nothing yet.
    fn written<T>(&self, result: io::Result<T>) -> Result<T, OpenError> {
        result.and_then(|written| (self.step)().map(|()| written)).map_err(self.failed())
    }

    /// A table will count in the place of others.
    fn replace(&mut self, removed: &[TableEntry], added: Option<TableEntry>) {
        for entry in removed {
            self.writes.remove(entry.key());
            self.loaded.tables.retain(|known| known.id != entry.id);
        }
        if let Some(entry) = added {
            self.writes.record(entry.key(), &entry.record());
            self.loaded.tables.push(entry);
        }
    }

    /// Records what was found out, and reports records that stay lost.
    fn finish(mut self, survey: &Survey) -> Result<WriteBatch, OpenError> {
        let named = survey.tables.len() as u64;
        let missing = self.must.map_or(0, |must| must.saturating_sub(named + self.adopted));
        if missing > 0 {
            self.report
                .lost
                .note(format!("tables: the records of {missing} tables are lost, and no file is theirs"));
            self.report.names_lost = true;
        }
        let [windows, ..] = self.loaded.applied.least();
        self.loaded.lost_windows.drop_before(windows);
        self.writes.record(records::LOST.to_vec(), &self.loaded.lost_windows.record());
        for number in std::mem::take(&mut self.loaded.catalog.dirty.groups) {
            if let Some(group) = self.loaded.catalog.series.group_mut(number) {
                group.dirty = false;
                self.writes.record(records::numbered(records::GROUP, number), &group.record());
            }
        }
        let meta = &mut self.loaded.meta;
        (meta.tables, meta.next_table) = (self.loaded.tables.len() as u64, self.next_id);
        // Before the commit, the names of the files are durable.
        self.disk.sync_dir(&self.data.join(version::FOLDER)).map_err(self.failed())?;
        Ok(self.writes)
    }
}

pub(super) fn is_in(entry: &TableEntry, part: Part) -> bool {
    (entry.resolution, entry.partition) == part
}

pub(super) fn entry_of(
    (resolution, partition): Part,
    id: u64,
    age: u64,
    summary: TableSummary,
) -> TableEntry {
    TableEntry { id, age, oldest: age, resolution, partition, summary, without: 0, purge: false }
}
