//! Readings like those of real sensors: each metric walks randomly around its level, with the two decimals that such
//! devices send. Seeded, so that two runs send the same values.

/// A metric of the simulated machines: name, level, and range around it.
pub(crate) type Metric = (&'static str, f64, f64);

/// The metrics of a machine, in the order in which loads use them.
pub(crate) const METRICS: [Metric; 10] = [
    ("temperature", 21.5, 4.0),
    ("humidity", 40.25, 10.0),
    ("pressure", 1013.2, 8.0),
    ("vibration", 0.82, 0.4),
    ("current", 12.3, 3.0),
    ("voltage", 230.1, 2.5),
    ("flow", 4.2, 1.5),
    ("level", 71.0, 20.0),
    ("speed", 1480.0, 60.0),
    ("torque", 35.6, 9.0),
];

/// Pseudo-random numbers (SplitMix64): cheap, and the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator with a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform from -1 to 1.
    fn swing(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// The readings of one series.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    random: Random,
    level: f64,
    range: f64,
    offset: f64,
}

impl Walk {
    /// A walk around the level of a metric.
    pub(crate) fn new((_, level, range): Metric, seed: u64) -> Self {
        Self { random: Random::new(seed), level, range, offset: 0.0 }
    }

    /// The next value, with two decimals.
    pub(crate) fn next(&mut self) -> f64 {
        // Pulled back to the level, to stay within the range.
        self.offset = self.offset * 0.995 + self.random.swing() * self.range * 0.05;
        let noise = self.random.swing() * self.range * 0.01;
        ((self.level + self.offset + noise) * 100.0).round() / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_varies_and_stays_near_its_level() {
        for metric in METRICS {
            let mut walk = Walk::new(metric, 7);
            let values: Vec<f64> = (0..10_000).map(|_| walk.next()).collect();
            assert!(values.iter().all(|value| (value - metric.1).abs() <= metric.2 * 2.0), "{metric:?}");
            assert!(values.windows(2).filter(|pair| pair[0] != pair[1]).count() > 5_000, "{metric:?}");
        }
    }
}
