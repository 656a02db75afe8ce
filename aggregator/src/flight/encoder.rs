//! Record batches as Flight's messages: a schema, then for each batch the dictionaries that changed and the batch.

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, error::FlightError};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, Schema};
use tonic::Status;

/// The state of a stream: which dictionaries its reader has.
pub(super) struct Encoder {
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            generator: IpcDataGenerator::default(),
            // A batch replaces the dictionaries of the one before.
            dictionaries: DictionaryTracker::new(false),
            options: IpcWriteOptions::default(),
            context: IpcWriteContext::default(),
        }
    }

    /// The first message.
    pub(super) fn schema(&mut self, schema: &Schema) -> FlightData {
        let Self { generator, dictionaries, options, .. } = self;
        generator.schema_to_bytes_with_dictionary_tracker(schema, dictionaries, options).into()
    }

    /// The messages of a batch, itself last.
    ///
    /// # Errors
    /// Never but for a defect.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, Status> {
        let Self { generator, dictionaries, options, context } = self;
        let (changed, batch) = generator.encode(batch, dictionaries, options, context).map_err(status)?;
        Ok(changed.into_iter().chain([batch]).map(FlightData::from).collect())
    }
}

/// A defect, to the caller.
pub(super) fn status(error: ArrowError) -> Status {
    FlightError::from(error).into()
}
