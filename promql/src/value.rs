//! Values of nodes of a plan on a grid.

use std::sync::Arc;

use catchment_partial::Partial;

use crate::{labels::Labels, steps::Steps};

/// A number, or none, for each step. Absence is a bit, never a NaN.
#[derive(Clone, Debug, Default)]
pub struct Column {
    values: Vec<f64>,
    present: Vec<u64>,
}

const BITS: usize = u64::BITS as usize;

impl Column {
    /// No number at so many steps.
    #[must_use]
    pub fn absent(steps: usize) -> Self {
        Self { values: vec![0.0; steps], present: vec![0; steps.div_ceil(BITS)] }
    }

    /// A number at each step.
    #[must_use]
    pub fn full(values: Vec<f64>) -> Self {
        let mut column = Self { present: vec![0; values.len().div_ceil(BITS)], values };
        (0..column.values.len()).for_each(|step| column.mark(step));
        column
    }

    /// Number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of a step.
    #[inline]
    #[must_use]
    pub fn get(&self, step: usize) -> Option<f64> {
        let word = self.present.get(step / BITS)?;
        if word >> (step % BITS) & 1 == 1 { self.values.get(step).copied() } else { None }
    }

    /// Sets the number of a step; beyond the last step, nothing happens.
    #[inline]
    pub fn set(&mut self, step: usize, value: f64) {
        if let Some(place) = self.values.get_mut(step) {
            *place = value;
            self.mark(step);
        }
    }

    /// Removes the number of a step.
    pub fn remove(&mut self, step: usize) {
        if let Some(word) = self.present.get_mut(step / BITS) {
            *word &= !(1 << (step % BITS));
        }
    }

    fn mark(&mut self, step: usize) {
        if let Some(word) = self.present.get_mut(step / BITS) {
            *word |= 1 << (step % BITS);
        }
    }

    /// Whether no step has a number.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.present.iter().all(|word| *word == 0)
    }

    /// Steps with their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        (0..self.len()).filter_map(|step| self.get(step).map(|value| (step, value)))
    }

    /// Replaces each number.
    pub fn map(&mut self, mut of: impl FnMut(f64) -> f64) {
        self.values.iter_mut().for_each(|value| *value = of(*value));
    }

    /// Numbers at some steps; those of the others are never looked at.
    pub(crate) fn at(values: Vec<f64>, steps: Steps) -> Self {
        debug_assert_eq!(steps.words().len(), values.len().div_ceil(BITS));
        Self { values, present: steps.into_words() }
    }

    /// A value for each step, of which those of the absent mean nothing.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// A bit for each step that has a number.
    pub(crate) fn words(&self) -> &[u64] {
        &self.present
    }

    /// Removes the numbers of all other steps.
    pub(crate) fn keep(&mut self, steps: &Steps) {
        self.present.iter_mut().zip(steps.words()).for_each(|(word, kept)| *word &= kept);
    }

    /// Calls with each number and the cell of its step.
    #[inline]
    pub(crate) fn zip_each<T>(&self, cells: &mut [T], mut each: impl FnMut(&mut T, f64)) {
        let chunks = self.values.chunks(BITS).zip(cells.chunks_mut(BITS));
        for (word, (values, cells)) in self.present.iter().zip(chunks) {
            if word.count_ones() as usize == values.len() {
                cells.iter_mut().zip(values).for_each(|(cell, value)| each(cell, *value));
                continue;
            }
            let mut left = *word;
            while left != 0 {
                let place = left.trailing_zeros() as usize;
                if let (Some(cell), Some(value)) = (cells.get_mut(place), values.get(place)) {
                    each(cell, *value);
                }
                left &= left - 1;
            }
        }
    }

    /// Memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.values.capacity() + self.present.capacity()) * 8
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        let bits = |column: &Self, step| column.get(step).map(f64::to_bits);
        self.len() == other.len() && (0..self.len()).all(|step| bits(self, step) == bits(other, step))
    }
}

/// What a series has at each step.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Numbers.
    Floats(Column),
    /// Partials, as native histograms; `None`: absent.
    Windows(Vec<Option<Arc<Partial>>>),
}

impl Samples {
    /// The steps that have something.
    pub(crate) fn steps(&self) -> Steps {
        match self {
            Self::Floats(column) => Steps::from_words(column.words().to_vec()),
            Self::Windows(windows) => {
                let mut steps = Steps::none(windows.len());
                let present = windows.iter().enumerate().filter(|(_, window)| window.is_some());
                present.for_each(|(step, _)| steps.insert(step));
                steps
            }
        }
    }

    /// Removes what other steps have.
    pub(crate) fn keep(&mut self, steps: &Steps) {
        match self {
            Self::Floats(column) => column.keep(steps),
            Self::Windows(windows) => {
                let others = windows.iter_mut().enumerate().filter(|(step, _)| !steps.contains(*step));
                others.for_each(|(_, window)| *window = None);
            }
        }
    }

    /// Whether no step has anything.
    pub(crate) fn is_absent(&self) -> bool {
        match self {
            Self::Floats(column) => column.is_absent(),
            Self::Windows(windows) => windows.iter().all(Option::is_none),
        }
    }
}

/// A series of a vector on a grid; it has something at one step at least.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// What it has at each step.
    pub samples: Samples,
}

impl Series {
    /// A series of numbers.
    #[must_use]
    pub fn floats(labels: Labels, column: Column) -> Self {
        Self { labels, samples: Samples::Floats(column) }
    }

    /// Approximate memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let samples = match &self.samples {
            Samples::Floats(column) => column.bytes(),
            Samples::Windows(windows) => {
                windows.iter().map(|window| 8 + window.as_ref().map_or(0, |partial| partial.memory())).sum()
            }
        };
        size_of::<Self>() + self.labels.bytes() + samples
    }
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number at each step.
    Scalar(Vec<f64>),
    /// Series. In the order of their labels, unless the node says otherwise (`sort`, `topk`).
    Vector(Vec<Series>),
    /// A text.
    Text(Arc<str>),
}
