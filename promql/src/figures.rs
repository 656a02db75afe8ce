//! What the float functions need to know of readings, as a monoid in order of time.

/// A value and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// The value; may be infinite or NaN in a subquery.
    pub value: f64,
    /// Time of the sample, Unix milliseconds: for a reading, one millisecond after its time.
    pub sample_ms: i64,
}

/// Figures of one series' readings in a stretch of time; at least one reading.
///
/// Which fields are set is decided by the columns of the fetch; the others hold any value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Number of readings.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// What a compensated addition to `sum` has lost so far; 0 for the exact, once rounded sum of a partial.
    pub lost: f64,
    /// Sum of the squared deviations from their mean.
    pub deviations: f64,
    /// The least reading; of several, the last in time.
    pub min: Stamp,
    /// The greatest reading; of several, the last in time.
    pub max: Stamp,
    /// The earliest reading.
    pub first: Stamp,
    /// The latest reading.
    pub last: Stamp,
    /// Sum of the values before each reset of a counter.
    pub correction: f64,
    /// Readings less than their predecessor.
    pub resets: f64,
    /// Readings different from their predecessor.
    pub changes: f64,
}
