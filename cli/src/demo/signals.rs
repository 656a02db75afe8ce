//! Signals of the demo's simulated sensors. Pure and seeded: the same seed and times give the same readings.
//!
//! Temperatures follow the day and wander, machines vibrate and have occasional faults, doors open and close.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::device::{Value, Values};

/// Every metric that a sensor measures.
pub(super) const METRICS: [&str; 4] = ["temperature", "humidity", "vibration", "door_open"];

const DAY_MS: i64 = 86_400_000;

/// Where a sensor is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A room: `temperature` in degrees Celsius and relative `humidity` in per cent.
    Room,
    /// A machine: `vibration` in millimetres a second.
    Machine,
    /// A door: `door_open`, a boolean.
    Door,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Room, Self::Machine, Self::Door];

    /// The kind of the sensor with this number.
    pub(super) fn of(number: u32) -> Self {
        Self::ALL.get(number as usize % Self::ALL.len()).copied().unwrap_or(Self::Room)
    }

    /// Prefix of such a sensor's name.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Machine => "press",
            Self::Door => "door",
        }
    }
}

/// One simulated sensor.
#[derive(Debug)]
pub(super) struct Sensor {
    kind: Kind,
    random: StdRng,
    /// Mean of the day, or the vibration without a fault.
    base: f64,
    /// Random walk: a slow deviation from the day's curve.
    drift: f64,
    /// Remaining samples of a fault or of an open door.
    remaining: u32,
}

impl Sensor {
    /// A sensor whose readings depend on `seed` and the times alone.
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let base = match kind {
            Kind::Room => random.random_range(18.0..23.0),
            Kind::Machine => random.random_range(0.8..1.6),
            Kind::Door => 0.0,
        };
        Self { kind, random, base, drift: 0.0, remaining: 0 }
    }

    /// The sensor's readings at a time.
    pub(super) fn sample(&mut self, now_ms: i64) -> Values {
        let readings = match self.kind {
            Kind::Room => self.room(now_ms),
            Kind::Machine => vec![("vibration", Value::Number(self.vibration()))],
            Kind::Door => vec![("door_open", Value::Bool(self.is_open()))],
        };
        let readings = readings.into_iter().map(|(metric, value)| (metric.to_owned(), value)).collect();
        Values { time_ms: now_ms, labels: Vec::new(), readings }
    }

    /// Coldest at four in the morning UTC, warmest at four in the afternoon.
    fn room(&mut self, now_ms: i64) -> Vec<(&'static str, Value)> {
        let of_day = now_ms.rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
        let curve = -4.0 * (std::f64::consts::TAU * (of_day - 4.0 / 24.0)).cos();
        self.drift = 0.98_f64.mul_add(self.drift, 0.05 * self.noise());
        let temperature = self.base + curve + self.drift + 0.02 * self.noise();
        let humidity = (70.0 - 1.2 * temperature + 0.3 * self.noise()).clamp(0.0, 100.0);
        vec![
            ("temperature", Value::Number(rounded(temperature, 100.0))),
            ("humidity", Value::Number(rounded(humidity, 10.0))),
        ]
    }

    /// A fault of 5 to 20 samples, four times as strong, about every five minutes.
    fn vibration(&mut self) -> f64 {
        let faulty = self.lasts(0.003, 5..20);
        let strength = if faulty { 4.0 } else { 1.0 };
        rounded((self.base * strength * (1.0 + 0.1 * self.noise())).max(0.0), 1000.0)
    }

    fn is_open(&mut self) -> bool {
        self.lasts(0.05, 3..15)
    }

    /// Whether a state holds that begins with this probability and then lasts for this many samples.
    fn lasts(&mut self, begins: f64, samples: std::ops::Range<u32>) -> bool {
        if self.remaining == 0 && self.random.random_bool(begins) {
            self.remaining = self.random.random_range(samples);
        }
        let holds = self.remaining > 0;
        self.remaining = self.remaining.saturating_sub(1);
        holds
    }

    /// Mean 0, standard deviation 1, nearly normal (Irwin-Hall: the sum of twelve uniform numbers less six).
    fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0
    }
}

/// A sensor's resolution: `steps` steps a unit.
fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(kind: Kind, seed: u64, count: i64, step_ms: i64) -> Vec<f64> {
        let mut sensor = Sensor::new(kind, seed);
        (0..count)
            .map(|i| sensor.sample(i * step_ms))
            .map(|values| values.readings.first().unwrap().1.number())
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_readings() {
        for kind in Kind::ALL {
            assert_eq!(samples(kind, 7, 500, 1000), samples(kind, 7, 500, 1000));
        }
        assert_ne!(samples(Kind::Room, 7, 500, 1000), samples(Kind::Room, 8, 500, 1000));
    }

    #[test]
    fn every_metric_is_listed() {
        for kind in Kind::ALL {
            let values = Sensor::new(kind, 1).sample(0);
            assert!(values.readings.iter().all(|(metric, _)| METRICS.contains(&metric.as_str())));
        }
    }

    #[test]
    fn rooms_follow_the_day() {
        let hours = samples(Kind::Room, 3, 24, 3_600_000);
        let (night, afternoon) = (hours[4], hours[16]);
        assert!((7.0..9.0).contains(&(afternoon - night)), "{hours:?}");
        assert!(hours.iter().all(|t| (10.0..32.0).contains(t)), "{hours:?}");
    }

    #[test]
    fn machines_have_a_fault_now_and_then() {
        let vibration = samples(Kind::Machine, 1, 20_000, 1000);
        let strong = vibration.iter().filter(|v| **v > 2.6).count();
        assert!((200..2000).contains(&strong), "{strong}");
        assert!(vibration.iter().all(|v| (0.0..12.0).contains(v)));
    }

    #[test]
    fn doors_open_and_close() {
        let open: f64 = samples(Kind::Door, 1, 10_000, 1000).iter().sum();
        assert!((1000.0..6000.0).contains(&open), "{open}");
    }
}
