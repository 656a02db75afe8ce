//! The columns of labels. Each batch has dictionaries of its own, which hold only its values: what a reader has to keep
//! does not grow with the answer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, StringArray,
    builder::{MapBuilder, MapFieldNames, StringBuilder},
    types::Int32Type,
};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Field};

use crate::layout::LabelColumns;

/// Approximate memory of a new value of a dictionary, without its text.
const VALUE_BYTES: usize = 64;

/// The labels of the rows.
#[derive(Debug)]
pub(super) enum Labels {
    /// A dictionary for each name.
    Each(Vec<(String, Dictionary)>),
    Map(Box<MapBuilder<StringBuilder, StringBuilder>>),
}

impl Labels {
    pub(super) fn new(columns: &LabelColumns) -> Self {
        match columns {
            LabelColumns::Each(names) => {
                Self::Each(names.iter().map(|name| (name.clone(), Dictionary::new())).collect())
            }
            LabelColumns::Map => {
                let value = Field::new("value", DataType::Utf8, false);
                Self::Map(Box::new(map_builder(StringBuilder::new()).with_values_field(value)))
            }
        }
    }

    /// Adds rows of one series; returns their approximate memory.
    pub(super) fn push(&mut self, labels: BTreeMap<String, String>, rows: usize) -> usize {
        match self {
            Self::Each(columns) => {
                columns.iter_mut().map(|(name, dictionary)| dictionary.push(labels.get(name), rows)).sum()
            }
            Self::Map(builder) => {
                for _ in 0..rows {
                    for (name, value) in &labels {
                        builder.keys().append_value(name);
                        builder.values().append_value(value);
                    }
                    // Keys and values have one length.
                    let _ = builder.append(true);
                }
                let texts: usize = labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
                rows * (texts + size_of::<i32>())
            }
        }
    }

    /// Takes the columns.
    ///
    /// # Errors
    /// Never but for a defect.
    pub(super) fn take(&mut self, columns: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        match self {
            Self::Each(dictionaries) => {
                for (_, dictionary) in dictionaries {
                    columns.push(dictionary.take()?);
                }
            }
            Self::Map(builder) => columns.push(Arc::new(builder.finish())),
        }
        Ok(())
    }
}

/// A builder of maps from texts, with the names of Arrow's specification.
pub(super) fn map_builder<V: arrow_array::builder::ArrayBuilder>(values: V) -> MapBuilder<StringBuilder, V> {
    let names =
        MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), values)
}

/// The values of one label.
#[derive(Debug)]
pub(super) struct Dictionary {
    known: HashMap<String, i32>,
    values: Vec<String>,
    /// Of each row.
    keys: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Dictionary {
    fn new() -> Self {
        Self { known: HashMap::new(), values: Vec::new(), keys: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    fn push(&mut self, value: Option<&String>, rows: usize) -> usize {
        let (mut bytes, mut key) = (rows * size_of::<i32>(), 0);
        match value {
            None => self.nulls.append_n_nulls(rows),
            Some(value) => {
                self.nulls.append_n_non_nulls(rows);
                key = match self.known.get(value) {
                    Some(key) => *key,
                    None => {
                        // Fewer than the rows of a batch.
                        let key = i32::try_from(self.values.len()).unwrap_or(i32::MAX);
                        bytes += VALUE_BYTES + 2 * value.len();
                        self.values.push(value.clone());
                        self.known.insert(value.clone(), key);
                        key
                    }
                };
            }
        }
        self.keys.resize(self.keys.len() + rows, key);
        bytes
    }

    fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let Self { values, keys, mut nulls, .. } = std::mem::replace(self, Self::new());
        let keys = Int32Array::try_new(keys.into(), nulls.finish())?;
        let values = Arc::new(StringArray::from(values));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
    }
}
