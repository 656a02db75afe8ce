//! The first entries of a run, which follow from what the recovery found.

use std::path::Path;

use catchment_journal::{AppendError, Disk, Log, Position};
use catchment_partial::Timestamp;
use catchment_proto::{Span, wire};

use super::error::RecoveryError;
use crate::{
    batch_encoder::batch_span,
    fold::{ConfigureEntry, Entry, NumbersEntry, State},
    shard::{Backpressure, definitions::DefinitionsLog},
};

/// Writes the first entries of a run, before the journal is shared.
pub(super) struct StartupEntries<'a, D: Disk> {
    folder: &'a Path,
    journal: &'a mut Log<D>,
    definitions_log: &'a mut DefinitionsLog<D>,
    state: &'a mut State,
}

impl<'a, D: Disk> StartupEntries<'a, D> {
    pub(super) fn new(
        folder: &'a Path,
        journal: &'a mut Log<D>,
        definitions_log: &'a mut DefinitionsLog<D>,
        state: &'a mut State,
    ) -> Self {
        Self { folder, journal, definitions_log, state }
    }

    /// Continues batch numbers after `next` and the numbers of the batches that are made again, if that is beyond
    /// what the journal says. Returns the position of the entry.
    pub(super) fn number(
        &mut self,
        next: u64,
        left_out_to: Option<Timestamp>,
        renumbered: &[wire::Batch],
    ) -> Result<Position, RecoveryError> {
        if next <= self.state.next_batch() && renumbered.is_empty() {
            return Ok(Position::ZERO);
        }
        let count = renumbered.len() as u64;
        let mut entry = NumbersEntry { next_batch: next.saturating_add(count), ..NumbersEntry::default() };
        entry.left_out_to_ns = left_out_to.map(Timestamp::as_nanos);
        if let Some(span) = renumbered.iter().filter_map(batch_span).reduce(Span::join) {
            (entry.again, entry.from_ns, entry.to_ns) = (count, span.from.as_nanos(), span.to.as_nanos());
        }
        self.record(Entry::Numbers(entry))
    }

    /// Writes how windows are made if it is new or has changed.
    pub(super) fn configure(&mut self, configuration: ConfigureEntry) -> Result<(), RecoveryError> {
        if self.state.configuration().as_ref() == Some(&configuration) {
            return Ok(());
        }
        self.record(Entry::Configure(configuration)).map(drop)
    }

    /// Appends an entry and folds it in. A crash may have left a segment without room for it, so earlier entries may
    /// have to be committed first.
    fn record(&mut self, entry: Entry) -> Result<Position, RecoveryError> {
        let mut bytes = Vec::new();
        let entry = entry.encode_into(&mut bytes);
        let position = match self.journal.append(&bytes) {
            Err(AppendError::BufferFull) => {
                self.journal.commit().map_err(|error| RecoveryError::write(self.folder, error))?;
                self.journal.append(&bytes)
            }
            other => other,
        };
        let position = position.map_err(Backpressure::from)?;
        self.definitions_log.record(position, &entry, &bytes);
        if let Err(error) = self.state.apply(position.get(), &entry) {
            tracing::error!(%position, %error, "an entry does not fit the state");
        }
        Ok(position)
    }
}
