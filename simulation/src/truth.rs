//! The naive truth: every reading in a list by gateway, series and window. It shares no code with the product.

use std::collections::BTreeMap;

/// A reading, as a device takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Index of the device's series.
    pub series: usize,
    /// Event time, Unix nanoseconds.
    pub time: i64,
    /// A multiple of 1/4 of moderate size: sums of them are exact.
    pub value: f64,
}

/// Key of a window: gateway, series as text, start of the window in nanoseconds.
pub type Key = (String, String, i64);

/// Aggregates of one window of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregates {
    /// Number of readings.
    pub count: u64,
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
    acknowledged: Vec<(i64, f64)>,
    /// Given up by their device before it was acknowledged: each is counted once or not at all.
    given_up: Vec<(i64, f64)>,
    /// Number of readings taken by devices, of any fate.
    taken: u64,
    /// Of `given_up`: acknowledged by a gateway whose disk was then rolled back.
    lost: usize,
    /// Of `lost`: their gateway has started a new epoch since, so it has noticed.
    noticed: usize,
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
fn aggregates(readings: &[(i64, f64)]) -> Option<Aggregates> {
    let by_time = |a: &&(i64, f64), b: &&(i64, f64)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
    let values = || readings.iter().map(|(_, value)| *value);
    Some(Aggregates {
        count: readings.len() as u64,
        sum: values().sum(),
        min: values().min_by(f64::total_cmp)?,
        max: values().max_by(f64::total_cmp)?,
        first: *readings.iter().min_by(by_time)?,
        last: *readings.iter().max_by(by_time)?,
    })
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
        self.cell(gateway, series, reading.time).taken += 1;
    }

    /// A device received the acknowledgement of a reading.
    pub fn acknowledged(&mut self, gateway: &str, series: &str, reading: &Reading) {
        self.cell(gateway, series, reading.time).acknowledged.push((reading.time, reading.value));
    }

    /// A device gave up a reading that it may have sent.
    pub fn given_up(&mut self, gateway: &str, series: &str, reading: &Reading) {
        self.cell(gateway, series, reading.time).given_up.push((reading.time, reading.value));
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
            cell.lost += cell.acknowledged.len() - kept;
            cell.given_up.extend(cell.acknowledged.split_off(kept));
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
            let found = answer.get(key).map_or(0, |found| found.count);
            let hidden = found < (cell.acknowledged.len() + cell.noticed) as u64
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
            (found.count > taken)
                .then(|| format!("{key:?}: {taken} readings were taken, the result is {found:?}"))
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
            let least = self.acknowledged.len() as u64;
            let count = answer.map_or(0, |found| found.count);
            return (least..=least + self.given_up.len() as u64).contains(&count);
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
        let acknowledged = [(10, 1.0), (999, 3.0), (10, 0.5)];
        for (time, value) in acknowledged {
            let reading = Reading { series: 0, time, value };
            truth.taken("g", "s", &reading);
            truth.acknowledged("g", "s", &reading);
        }
        let doubtful = Reading { series: 0, time: 500, value: 9.0 };
        truth.taken("g", "s", &doubtful);
        truth.given_up("g", "s", &doubtful);
        let key = || ("g".to_owned(), "s".to_owned(), 0);
        let right = aggregates(&acknowledged).unwrap();
        assert_eq!((right.first, right.last, right.sum), ((10, 0.5), (999, 3.0), 4.5));
        assert_eq!(truth.difference(&[(key(), right)].into()), None);
        let with = aggregates(&[acknowledged.as_slice(), &[(500, 9.0)]].concat()).unwrap();
        assert_eq!(truth.difference(&[(key(), with)].into()), None);
        let wrong = [
            Aggregates { count: 5, ..with },
            Aggregates { count: 2, ..right },
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
