//! One reading.

use catchment_partial::Timestamp;

/// The value of a reading that has no number.
pub(crate) const NO_NUMBER: f64 = f64::NAN;

/// One reading of one series.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Index of its series: the session's own (see [`super::SeriesTable`]) until the device's sessions put
    /// the device's in place.
    pub series: u32,
    /// Event time.
    pub time: Timestamp,
    /// Finite; NaN of a reading that is a state alone, which stands in [`super::Intake::states`].
    pub value: f64,
}

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        let bits = |reading: &Self| (reading.series, reading.time, reading.value.to_bits());
        bits(self) == bits(other)
    }
}

impl Reading {
    /// Its number; `None` of a state alone.
    pub fn number(&self) -> Option<f64> {
        (!self.value.is_nan()).then_some(self.value)
    }
}
