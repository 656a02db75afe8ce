//! The column of an aggregate.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array,
    builder::{Float64Builder, MapBuilder, StringBuilder},
};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Field};
use catchment_proto::wire::{Value, ValueColumn};

use super::labels::map_builder;
use crate::layout::Kind;

/// The values of the rows.
#[derive(Debug)]
pub(super) enum Values {
    Numbers { numbers: Vec<f64>, nulls: NullBufferBuilder },
    Texts(StringBuilder),
    States(Box<MapBuilder<StringBuilder, Float64Builder>>),
}

impl Values {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Number => Self::Numbers { numbers: Vec::new(), nulls: NullBufferBuilder::new(0) },
            Kind::Text => Self::Texts(StringBuilder::new()),
            Kind::States => {
                let value = Field::new("value", DataType::Float64, false);
                Self::States(Box::new(map_builder(Float64Builder::new()).with_values_field(value)))
            }
        }
    }

    /// Adds the values of so many rows; returns their approximate memory.
    pub(super) fn push(&mut self, column: ValueColumn, rows: usize) -> usize {
        let ValueColumn { numbers: given, values } = column;
        match self {
            Self::Numbers { numbers, nulls } if given.len() >= rows => {
                push_numbers(numbers, nulls, given.into_iter().take(rows));
                rows * size_of::<f64>()
            }
            Self::Numbers { numbers, nulls } => {
                // Of points, or too short.
                let single = values.into_iter().map(|value| value.number.unwrap_or(f64::NAN));
                let given = given.into_iter().chain(single).chain(std::iter::repeat(f64::NAN));
                push_numbers(numbers, nulls, given.take(rows));
                rows * size_of::<f64>()
            }
            Self::Texts(texts) => {
                let mut bytes = rows * size_of::<i32>();
                for value in padded(values, rows) {
                    bytes += value.text.as_ref().map_or(0, String::len);
                    texts.append_option(value.text);
                }
                bytes
            }
            Self::States(states) => padded(values, rows).map(|value| push_states(states, value)).sum(),
        }
    }

    /// Takes the column.
    ///
    /// # Errors
    /// Never but for a defect.
    pub(super) fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Numbers { numbers, nulls } => {
                Arc::new(Float64Array::try_new(std::mem::take(numbers).into(), nulls.finish())?)
            }
            Self::Texts(texts) => Arc::new(texts.finish()),
            Self::States(states) => Arc::new(states.finish()),
        })
    }
}

/// NaN stands for a value that is undefined.
fn push_numbers(numbers: &mut Vec<f64>, nulls: &mut NullBufferBuilder, given: impl Iterator<Item = f64>) {
    for number in given {
        nulls.append(!number.is_nan());
        numbers.push(if number.is_nan() { 0.0 } else { number });
    }
}

fn push_states(states: &mut MapBuilder<StringBuilder, Float64Builder>, value: Value) -> usize {
    let known = !value.states.is_empty();
    let mut bytes = size_of::<i32>();
    for of in value.states {
        bytes += of.state.len() + size_of::<i32>() + size_of::<f64>();
        states.keys().append_value(of.state);
        states.values().append_value(of.number);
    }
    // Keys and values have one length.
    let _ = states.append(known);
    bytes
}

/// So many values.
fn padded(values: Vec<Value>, rows: usize) -> impl Iterator<Item = Value> {
    values.into_iter().chain(std::iter::repeat_with(Value::default)).take(rows)
}
