//! Reads every table that the catalog names.

use std::{collections::HashSet, path::Path, sync::Arc};

use catchment_journal::{Disk, RealDisk};

use crate::store::{
    OpenError, VerifyReport,
    catalog::catalog_store::Loaded,
    memtable::row::PartialName,
    salvage::tables::{extents::Extents, known::Known, loss::Span},
    tables::{
        error::TableError,
        resolution::Resolution,
        scan::{ScanStep, TableScan},
        version::{self, TableEntry},
    },
};

/// What is left of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Condition {
    /// Everything.
    Whole,
    /// Rows of these spans cannot be read.
    Partly(Vec<Span>),
    /// Nothing: its file is missing, is another one, or its frame is damaged.
    Unusable(TableError),
    /// The system refuses to open or read it now: nothing is known of it.
    Refused(TableError),
}

/// The tables that the catalog names, and other files of tables.
#[derive(Debug, Default)]
pub(in crate::store) struct Survey {
    pub(in crate::store) tables: Vec<(TableEntry, Condition)>,
    /// Names of files that no record names.
    pub(in crate::store) unnamed: Vec<String>,
    /// The times of rows.
    pub(in crate::store) extents: Extents,
}

impl Survey {
    /// Reads all tables; reports what is damaged, and what cannot be opened.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(in crate::store) fn of(
        disk: &Arc<RealDisk>,
        data: &Path,
        loaded: &Loaded,
        report: &mut VerifyReport,
    ) -> Result<Self, OpenError> {
        let known = Known::of(loaded);
        let mut survey = Self { unnamed: unnamed(disk, data, loaded)?, ..Self::default() };
        for entry in &loaded.tables {
            let condition = examine(disk, data, *entry, &known, &mut survey.extents, report);
            survey.tables.push((*entry, condition));
        }
        Ok(survey)
    }

    /// The first table that the system refuses to open.
    pub(in crate::store) fn refusal(&self) -> Option<&TableError> {
        self.tables.iter().find_map(|(_, condition)| match condition {
            Condition::Refused(error) => Some(error),
            _ => None,
        })
    }

    /// Whether files of tables are missing.
    pub(in crate::store) fn misses_files(&self) -> bool {
        let missing = |condition: &_| matches!(condition, Condition::Unusable(TableError::Missing { .. }));
        self.tables.iter().any(|(_, condition)| missing(condition))
    }

    /// Whether all tables of a resolution that begin in some partitions are whole.
    pub(in crate::store) fn is_whole_in(
        &self,
        resolution: Resolution,
        partitions: &std::ops::RangeInclusive<i32>,
    ) -> bool {
        let inside =
            |entry: &TableEntry| entry.resolution == resolution && partitions.contains(&entry.partition);
        self.tables.iter().all(|(entry, condition)| !inside(entry) || *condition == Condition::Whole)
    }
}

/// Names of files of tables that no record names: left by a round or a merge that did not end.
fn unnamed(disk: &Arc<RealDisk>, data: &Path, loaded: &Loaded) -> Result<Vec<String>, OpenError> {
    let folder = data.join(version::FOLDER);
    let named: HashSet<_> = loaded.tables.iter().map(|entry| entry.path(data)).collect();
    let names = match disk.list(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed
            .map_err(|source| OpenError::Io { what: format!("cannot read {}", folder.display()), source })?,
    };
    let mut unnamed: Vec<String> = names
        .into_iter()
        .filter(|name| version::id_of(name).is_some() && !named.contains(&folder.join(name)))
        .collect();
    unnamed.sort();
    Ok(unnamed)
}

/// Reads a table; notes what is damaged.
pub(in crate::store) fn examine(
    disk: &Arc<RealDisk>,
    data: &Path,
    entry: TableEntry,
    known: &Known<'_>,
    extents: &mut Extents,
    report: &mut VerifyReport,
) -> Condition {
    let stored = entry.open(disk, data);
    let mut scan = match TableScan::new(Arc::clone(&stored.table)) {
        Ok(scan) => scan,
        Err(error) if error.is_refusal() => return refused(report, error),
        Err(error) => {
            report.damaged_tables += 1;
            note(report, known, &Span::of_table(&entry.summary), &error.to_string());
            return Condition::Unusable(error);
        }
    };
    let mut lost: Vec<Span> = Vec::new();
    let mut faulty: Option<(Span, u64, &'static str)> = None;
    let (mut before, mut rows): (Option<(u32, PartialName)>, u64) = (None, 0);
    let mut damaged_blocks = 0;
    loop {
        match scan.advance() {
            ScanStep::End => break,
            ScanStep::Unread(block) if block.error.is_refusal() => return refused(report, block.error),
            ScanStep::Unread(block) => {
                damaged_blocks += 1;
                let span = Span::of_block(&block.range, &entry.summary);
                note(report, known, &span, &block.error.to_string());
                lost.push(span);
            }
            ScanStep::Row => {
                let Some(row) = scan.row() else { continue };
                let place = (row.series, row.name);
                let disordered = before.is_some_and(|before| before >= place);
                let fault = disordered.then_some("it is not in order");
                let Some(fault) = fault.or_else(|| known.fault(&row, entry.resolution, entry.partition))
                else {
                    before = Some(place);
                    rows += 1;
                    if entry.resolution == Resolution::Windows || known.is_earlier(&row, entry.resolution) {
                        extents.add(&row);
                    }
                    continue;
                };
                let starts = (row.name.start, row.name.start);
                let span = Span { series: (row.series, row.series), starts };
                faulty = Some(match faulty {
                    Some((all, count, first)) => (all.joined(&span), count + 1, first),
                    None => (span, 1, fault),
                });
            }
        }
    }
    if let Some((span, count, fault)) = faulty {
        note(
            report,
            known,
            &span,
            &format!("{}: {count} rows are no rows, one because {fault}", stored.table.path().display()),
        );
        lost.push(span);
    }
    count(report, &entry, (rows, damaged_blocks), lost.is_empty());
    if lost.is_empty() { Condition::Whole } else { Condition::Partly(lost) }
}

fn count(report: &mut VerifyReport, entry: &TableEntry, (rows, damaged_blocks): (u64, u64), whole: bool) {
    report.tables += u64::from(whole);
    report.damaged_tables += u64::from(!whole);
    report.damaged_blocks += damaged_blocks;
    report.blocks += u64::from(entry.summary.blocks).saturating_sub(damaged_blocks);
    match entry.resolution {
        Resolution::Windows => report.partials += rows,
        _ => report.merged_rows += rows,
    }
}

fn refused(report: &mut VerifyReport, error: TableError) -> Condition {
    report.note_unopened(error.to_string());
    Condition::Refused(error)
}

fn note(report: &mut VerifyReport, known: &Known<'_>, span: &Span, what: &str) {
    report.lossy_spans.add(*span);
    report.note(format!("{what}: {}", span.text(known.catalog)));
}
