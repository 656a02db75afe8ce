//! Readings of one device at one event time: sent by simulated devices and by this machine.

/// A value as a device measures it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// A state; `true` counts as 1, `false` as 0.
    Bool(bool),
}

impl Value {
    /// The value as the gateway counts it.
    pub fn number(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Bool(state) => f64::from(u8::from(state)),
        }
    }
}

/// Readings that share their event time and labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// Event time, Unix milliseconds.
    pub time_ms: i64,
    /// Labels of every series of the message.
    pub labels: Vec<(String, String)>,
    /// Metric and value; each metric once.
    pub readings: Vec<(String, Value)>,
}
