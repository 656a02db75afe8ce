//! After catalog and tables are mended: how far the journal is read again, and whose windows are missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use catchment_journal::{Position, ReadEvent, ReadOnlyLog, RealDisk};
use catchment_partial::Timestamp;

use super::RepairReport;
use crate::store::{
    catalog::{catalog_store::Loaded, gaps::ShardGap},
    tree::{
        WriteBatch,
        records::{self, Stored},
    },
    wal::{
        entry::{self, JournalEntry},
        open::{JOURNAL, journal_start},
    },
};

/// Replays whatever the journal still holds from before the last flush, even if nothing seems to be lost: if a file
/// was truncated within a write batch, the record of how far the tables reach may have survived without others. Windows
/// that the tables hold are known by their names; those whose names are removed or lost would count twice, so nothing is
/// replayed up to the last of them. A catalog that knows no gateway, since everything was given up, begins where the
/// journal begins: what was before is reported as lost, and nothing waits for it.
pub(super) fn from_journal(
    data: &Path,
    loaded: &mut Loaded,
    report: &mut RepairReport,
) -> Result<(), String> {
    let journal = journal_start(&Arc::new(RealDisk), data).map_err(|e| e.to_string())?;
    let Some(start) = journal else { return Ok(()) };
    if loaded.catalog.gateways.is_empty() {
        loaded.meta.flushed_to = loaded.meta.flushed_to.max(start);
    }
    if start >= loaded.meta.flushed_to || !loaded.lost_windows.is_empty() {
        return Ok(());
    }
    let start = behind_nameless(data, loaded)?.unwrap_or(start).max(start);
    loaded.meta.flushed_to = start;
    let again = format!("journal: the next start replays it from position {start} and restores its windows");
    report.done.push(again);
    Ok(())
}

/// Position behind the last flushed entry of the journal with a window that is older than the windows of any series.
fn behind_nameless(data: &Path, loaded: &Loaded) -> Result<Option<Position>, String> {
    let applied = &loaded.applied;
    let [windows, ..] = applied.greatest();
    let Some(floor) = Some(windows).filter(|floor| *floor > Timestamp::MIN) else { return Ok(None) };
    let folder = data.join(JOURNAL);
    let journal = ReadOnlyLog::open(Arc::new(RealDisk), &folder).map_err(|e| e.to_string())?;
    let Some(journal) = journal else { return Ok(None) };
    let (mut reader, mut buffer, mut behind) = (journal.read(Position::ZERO), Vec::new(), None);
    loop {
        match reader.next(&mut buffer).map_err(|e| e.to_string())? {
            ReadEvent::End => return Ok(behind),
            ReadEvent::Record(position) if position >= loaded.meta.flushed_to => return Ok(behind),
            ReadEvent::Record(position) => {
                let entry = entry::decode(std::mem::take(&mut buffer).into());
                let nameless = |entry: &JournalEntry| {
                    entry.batch.entries.iter().any(|partial| partial.window.start() < floor)
                };
                if entry.is_ok_and(|entry| nameless(&entry)) {
                    behind = Some(position.next());
                }
            }
            ReadEvent::Damage(_) => {}
        }
    }
}

/// Records losses of flushed windows with each affected gateway, so that no answer over them claims to be complete: the
/// times of the lost windows, or everything up to now where these are not known. `ends_known`: the records of series
/// are not older than their rows. Must be in the same commit as the tables that lack the windows.
pub(super) fn record_losses(
    writes: &mut WriteBatch,
    loaded: &mut Loaded,
    report: &RepairReport,
    ends_known: bool,
) {
    let catalog = &mut loaded.catalog;
    // A journal from its very beginning holds everything.
    if loaded.meta.flushed_to == Position::ZERO {
        return;
    }
    let lossy = report.lost.lossy_groups.iter().filter_map(|group| catalog.series.group(*group));
    let unknown: BTreeSet<u32> = match report.names_lost {
        true => (0..catalog.gateways.len() as u32).collect(),
        false => lossy.flat_map(|group| group.series()).map(|(_, series)| series.gateway).collect(),
    };
    let mut lost: BTreeMap<u32, Vec<ShardGap>> = BTreeMap::new();
    for gateway in unknown {
        lost.entry(gateway).or_default().push(catalog.unknown_gap(gateway));
    }
    for span in report.lost.lossy_spans.spans() {
        let gap = catalog.gap_of(span, ends_known);
        for gateway in catalog.gateways_of(span) {
            lost.entry(gateway).or_default().push(gap);
        }
    }
    for (gateway, gaps) in lost {
        if let Some(number) = catalog.note_lost_windows(gateway, &gaps)
            && let Some(epoch) = catalog.epoch(number)
        {
            writes.record(records::numbered(records::SHARDS, number), &epoch.shards.record());
        }
    }
}
