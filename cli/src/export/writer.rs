//! Record batches into a format, with bounded memory.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write as _},
};

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use catchment_columns::{ArrowError, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
    schema::types::ColumnPath,
};

use super::{FileFormat, target::Counted};

/// Bytes and rows at which a row group ends: what the writer keeps in memory, and what a reader reads at once.
const GROUP_BYTES: usize = 64 << 20;
const GROUP_ROWS: usize = 1 << 20;

/// A file that is being written.
pub(super) enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<Counted>>>),
    Arrow(Box<StreamWriter<BufWriter<Counted>>>),
}

impl Writer {
    /// Begins a file.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn new(format: FileFormat, schema: &SchemaRef, out: BufWriter<Counted>) -> io::Result<Self> {
        match format {
            FileFormat::Parquet => {
                let time = ColumnPath::from("time");
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    // Steps are regular.
                    .set_column_encoding(time.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_dictionary_enabled(time, false)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(out, SchemaRef::clone(schema), Some(properties));
                Ok(Self::Parquet(Box::new(writer.map_err(of_parquet)?)))
            }
            FileFormat::Arrow => {
                let writer = StreamWriter::try_new(out, schema).map_err(of_arrow)?;
                Ok(Self::Arrow(Box::new(writer)))
            }
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        match self {
            Self::Parquet(writer) => writer.write(batch).map_err(of_parquet),
            Self::Arrow(writer) => writer.write(batch).map_err(of_arrow),
        }
    }

    /// Ends the file, with metadata where the format has a place for it at the end.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn finish(self, metadata: HashMap<String, String>) -> io::Result<()> {
        let mut out = match self {
            Self::Parquet(mut writer) => {
                for (key, value) in metadata {
                    writer.append_key_value_metadata(KeyValue::new(key, value));
                }
                writer.into_inner().map_err(of_parquet)?
            }
            Self::Arrow(writer) => writer.into_inner().map_err(of_arrow)?,
        };
        out.flush()
    }
}

fn of_parquet(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) => *io,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

fn of_arrow(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, io) => io,
        other => io::Error::other(other),
    }
}
