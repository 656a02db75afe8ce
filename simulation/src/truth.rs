//! The naive truth: every reading in a list by gateway, series and window. It shares no code with the product.

use std::collections::BTreeMap;

/// A reading, as a device takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Index of the device's series.
    pub series: usize,
    /// Event time, Unix nanoseconds.
    pub time: i64,
    /// A multiple of 1/4 of moderate size: sums of them are exact. `None`: it is a state alone.
    pub value: Option<f64>,
    /// A state; beside a value that of a boolean.
    pub state: Option<&'static str>,
}

impl Reading {
    /// How often it counts: as a value, and as a state.
    fn counts(&self) -> u64 {
        u64::from(self.value.is_some() || self.state.is_some())
    }
}

/// How often readings count.
fn counts(readings: &[Reading]) -> u64 {
    readings.iter().map(Reading::counts).sum()
}

/// Key of a window: gateway, series as text, start of the window in nanoseconds.
pub type Key = (String, String, i64);

/// Aggregates of one window of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregates {
    /// Number of readings with a value.
    pub count: u64,
    /// Number of states that stand beside no value. (Of a boolean, an aggregator of the first version takes the value
    /// alone.)
    pub states: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Time and value of the earliest; of several, the least value.
    pub first: (i64, f64),
    /// Time and value of the latest; of several, the greatest value.
    pub last: (i64, f64),
}

/// The readings of one window of one series, by fate.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// Acknowledged to their device: counted exactly once.
    acknowledged: Vec<Reading>,
    /// Given up by their device before it was acknowledged: each is counted once or not at all.
    given_up: Vec<Reading>,
    /// Counts of the readings taken by devices, of any fate.
    taken: u64,
    /// Of `given_up`: acknowledged by a gateway whose disk was then rolled back.
    lost: u64,
    /// Of `lost`: their gateway has started a new epoch since, so it has noticed.
    noticed: u64,
}

/// Number of acknowledged readings of each window at one time.
#[derive(Clone, Debug)]
pub struct TruthSnapshot(BTreeMap<Key, usize>);

/// All readings that devices ever took.
#[derive(Clone, Debug)]
pub struct Truth {
    width: i64,
    cells: BTreeMap<Key, Cell>,
}

/// Most readings of uncertain fate in one window for which all combinations are tried.
const GIVEN_UP_TRIED_MAX: usize = 10;

/// Aggregates of readings; `None` without any.
fn aggregates(readings: &[Reading]) -> Option<Aggregates> {
    let by_time = |a: &(i64, f64), b: &(i64, f64)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
    let points = || readings.iter().filter_map(|reading| Some((reading.time, reading.value?)));
    let values = || points().map(|(_, value)| value);
    (!readings.is_empty()).then(|| Aggregates {
        count: points().count() as u64,
        states: readings.iter().filter(|reading| reading.value.is_none()).count() as u64,
        sum: values().sum::<f64>() + 0.0,
        min: values().min_by(f64::total_cmp).unwrap_or_default(),
        max: values().max_by(f64::total_cmp).unwrap_or_default(),
        first: points().min_by(by_time).unwrap_or_default(),
        last: points().max_by(by_time).unwrap_or_default(),
    })
}

impl Aggregates {
    /// How often readings count in it.
    fn counts(&self) -> u64 {
        self.count + self.states
    }
}

impl Truth {
    /// No readings yet; `width` of windows in nanoseconds.
    pub fn new(width: i64) -> Self {
        Self { width, cells: BTreeMap::new() }
    }

    fn cell(&mut self, gateway: &str, series: &str, time: i64) -> &mut Cell {
        let start = time.div_euclid(self.width) * self.width;
        self.cells.entry((gateway.to_owned(), series.to_owned(), start)).or_default()
    }

    /// A device took a reading.
    pub fn taken(&mut self, gateway: &str, series: &str, reading: &Reading) {
        self.cell(gateway, series, reading.time).taken += reading.counts();
    }

    /// A device received the acknowledgement of a reading.
    pub fn acknowledged(&mut self, gateway: &str, series: &str, reading: &Reading) {
        self.cell(gateway, series, reading.time).acknowledged.push(*reading);
    }

    /// A device gave up a reading that it may have sent.
    pub fn given_up(&mut self, gateway: &str, series: &str, reading: &Reading) {
        self.cell(gateway, series, reading.time).given_up.push(*reading);
    }

    /// The readings of a gateway acknowledged so far.
    pub fn snapshot(&self, gateway: &str) -> TruthSnapshot {
        let of = self.cells.iter().filter(|((of, ..), _)| of == gateway);
        TruthSnapshot(of.map(|(key, cell)| (key.clone(), cell.acknowledged.len())).collect())
    }

    /// A gateway's disk was rolled back to a snapshot: readings acknowledged since may be lost.
    pub fn went_back(&mut self, gateway: &str, snapshot: &TruthSnapshot) {
        for (key, cell) in self.cells.iter_mut().filter(|((of, ..), _)| of == gateway) {
            let kept = snapshot.0.get(key).copied().unwrap_or(0).min(cell.acknowledged.len());
            let gone = cell.acknowledged.split_off(kept);
            cell.lost += counts(&gone);
            cell.given_up.extend(gone);
        }
    }

    /// A gateway has noticed that its disk was rolled back.
    pub fn noticed(&mut self, gateway: &str) {
        for (_, cell) in self.cells.iter_mut().filter(|((of, ..), _)| of == gateway) {
            cell.noticed += std::mem::take(&mut cell.lost);
        }
    }

    /// A window that lacks acknowledged readings, whose gateway knows of the possible loss, although `is_missing`
    /// (gateway, start and end of a window) denies it.
    pub fn hidden(
        &self,
        answer: &BTreeMap<Key, Aggregates>,
        is_missing: impl Fn(&str, i64, i64) -> bool,
    ) -> Option<String> {
        self.cells.iter().filter(|(_, cell)| cell.noticed > 0).find_map(|(key, cell)| {
            let found = answer.get(key).map_or(0, Aggregates::counts);
            let hidden = found < counts(&cell.acknowledged) + cell.noticed
                && !is_missing(&key.0, key.2, key.2 + self.width);
            hidden.then(|| format!("{key:?}: {cell:?}, {found} in the result, and no gap"))
        })
    }

    /// Number of readings acknowledged so far.
    pub fn acknowledged_count(&self) -> u64 {
        self.cells.values().map(|cell| cell.acknowledged.len() as u64).sum()
    }

    /// An excess in a result that may still be incomplete.
    pub fn excess(&self, answer: &BTreeMap<Key, Aggregates>) -> Option<String> {
        answer.iter().find_map(|(key, found)| {
            let taken = self.cells.get(key).map_or(0, |cell| cell.taken);
            (found.counts() > taken)
                .then(|| format!("{key:?}: {taken} values and states were taken, the result is {found:?}"))
        })
    }

    /// A difference of a result from the truth, other than that it lacks readings where `is_missing` (gateway, start
    /// and end of a window) says so.
    pub fn unreported(
        &self,
        answer: &BTreeMap<Key, Aggregates>,
        is_missing: impl Fn(&str, i64, i64) -> bool,
    ) -> Option<String> {
        if let Some(excess) = self.excess(answer) {
            return Some(excess);
        }
        self.cells.iter().find_map(|(key, cell)| {
            let found = answer.get(key);
            let wrong = !cell.allows(found) && !is_missing(&key.0, key.2, key.2 + self.width);
            wrong.then(|| format!("{key:?}: {cell:?}, the result is {found:?}, and no gap is reported"))
        })
    }

    /// A difference of a complete result from the truth.
    pub fn difference(&self, answer: &BTreeMap<Key, Aggregates>) -> Option<String> {
        if let Some(excess) = self.excess(answer) {
            return Some(excess);
        }
        self.cells.iter().find_map(|(key, cell)| {
            let found = answer.get(key);
            (!cell.allows(found)).then(|| format!("{key:?}: {cell:?}, the result is {found:?}"))
        })
    }
}

impl Cell {
    /// Whether a result is right for some choice of the readings of uncertain fate.
    fn allows(&self, answer: Option<&Aggregates>) -> bool {
        if self.given_up.len() > GIVEN_UP_TRIED_MAX {
            let least = counts(&self.acknowledged);
            let count = answer.map_or(0, Aggregates::counts);
            return (least..=least + counts(&self.given_up)).contains(&count);
        }
        (0..1_u32 << self.given_up.len()).any(|choice| {
            let mut readings = self.acknowledged.clone();
            let chosen = self.given_up.iter().enumerate().filter(|(at, _)| choice & (1 << at) != 0);
            readings.extend(chosen.map(|(_, reading)| *reading));
            aggregates(&readings).as_ref() == answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_found() {
        let mut truth = Truth::new(1000);
        let reading = |time, value, state| Reading { series: 0, time, value, state };
        let acknowledged = [
            reading(10, Some(1.0), None),
            reading(999, Some(3.0), Some("true")),
            reading(10, Some(0.5), None),
            reading(1, None, Some("auto")),
        ];
        for reading in &acknowledged {
            truth.taken("g", "s", reading);
            truth.acknowledged("g", "s", reading);
        }
        let doubtful = reading(500, Some(9.0), None);
        truth.taken("g", "s", &doubtful);
        truth.given_up("g", "s", &doubtful);
        let key = || ("g".to_owned(), "s".to_owned(), 0);
        let right = aggregates(&acknowledged).unwrap();
        assert_eq!((right.first, right.last, right.sum), ((10, 0.5), (999, 3.0), 4.5));
        assert_eq!((right.count, right.states), (3, 1));
        assert_eq!(truth.difference(&[(key(), right)].into()), None);
        let with = aggregates(&[acknowledged.as_slice(), &[doubtful]].concat()).unwrap();
        assert_eq!(truth.difference(&[(key(), with)].into()), None);
        let wrong = [
            Aggregates { count: 5, ..with },
            Aggregates { count: 2, ..right },
            Aggregates { states: 0, ..right },
            Aggregates { sum: 4.25, ..right },
            Aggregates { first: (10, 1.0), ..right },
        ];
        for wrong in wrong {
            assert!(truth.difference(&[(key(), wrong)].into()).is_some());
        }
        assert!(truth.difference(&BTreeMap::new()).is_some(), "missing");
        let elsewhere = ("g".to_owned(), "s".to_owned(), 1000);
        assert!(truth.difference(&[(key(), right), (elsewhere, right)].into()).is_some(), "too much");
    }
}
