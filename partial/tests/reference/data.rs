//! Reads `readings.csv` and `expected.csv`.

use std::collections::BTreeMap;

use catchment_partial::Timestamp;

const READINGS: &str = include_str!("readings.csv");
const EXPECTED: &str = include_str!("expected.csv");
/// Times of the files count from here, Unix seconds.
pub(crate) const EPOCH: i64 = 1_700_000_000;

/// What a device sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    State(String),
    /// A number, 1 or 0, and a state.
    Boolean(bool),
}

impl Value {
    fn of(text: &str) -> Self {
        match text {
            "true" => Self::Boolean(true),
            "false" => Self::Boolean(false),
            _ => text.parse().map_or_else(|_| Self::State(text.to_owned()), Self::Number),
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Boolean(boolean) => Some(f64::from(u8::from(*boolean))),
            Self::State(_) => None,
        }
    }

    pub(crate) fn state(&self) -> Option<&str> {
        match self {
            Self::Number(_) => None,
            Self::Boolean(true) => Some("true"),
            Self::Boolean(false) => Some("false"),
            Self::State(state) => Some(state),
        }
    }
}

pub(crate) type Reading = (Timestamp, Value);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(EPOCH * 1000 + millis).unwrap()
}

/// The readings of each case, in order of time.
pub(crate) fn readings() -> BTreeMap<&'static str, Vec<Reading>> {
    let mut cases = BTreeMap::<_, Vec<_>>::new();
    let mut case = "";
    for line in READINGS.lines().skip(1) {
        let [name, millis, value] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        case = if name.is_empty() { case } else { name };
        cases.entry(case).or_default().push((at(millis.parse().unwrap()), Value::of(value)));
    }
    cases
}

/// A row of `expected.csv`.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) figure: &'static str,
    pub(crate) argument: &'static str,
    /// `None`: undefined.
    pub(crate) value: Option<&'static str>,
}

impl Expected {
    /// The numbers of a field.
    pub(crate) fn numbers(field: &str) -> Vec<f64> {
        field.split(' ').map(|number| number.parse().unwrap()).collect()
    }

    pub(crate) fn number(&self) -> Option<f64> {
        self.value.map(|value| value.parse().unwrap())
    }
}

/// A case and the ends of a range.
pub(crate) type Range = (&'static str, Timestamp, Timestamp);

/// The expected figures by range.
pub(crate) fn expected() -> BTreeMap<Range, Vec<Expected>> {
    let mut ranges = BTreeMap::<_, Vec<_>>::new();
    for line in EXPECTED.lines().skip(1) {
        let [case, figure, argument, start, end, value] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let time = |seconds: &str| at(seconds.parse::<i64>().unwrap() * 1000);
        let value = (value != "none").then_some(value);
        ranges.entry((case, time(start), time(end))).or_default().push(Expected { figure, argument, value });
    }
    ranges
}
