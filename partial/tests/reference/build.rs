//! Makes partials of readings: windows of 10 s, pushed in one pass or taken together from parts.

use catchment_partial::{OrderFigures, Partial, Parts, SeriesOrder, Timestamp, Width, Window};

use crate::data::{Reading, Value};

pub(crate) fn all_parts() -> Parts {
    Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT)
}

pub(crate) fn window(time: Timestamp) -> Window {
    Window::containing(time, Width::from_millis(10_000).unwrap())
}

pub(crate) fn push(partial: &mut Partial, (time, value): &Reading) {
    if let Some(number) = value.number() {
        partial.push(*time, number);
    }
    if let Some(state) = value.state() {
        partial.push_state(*time, state);
    }
}

pub(crate) fn partial_of<'a>(parts: Parts, readings: impl IntoIterator<Item = &'a Reading>) -> Partial {
    let mut partial = Partial::with_parts(parts);
    readings.into_iter().for_each(|reading| push(&mut partial, reading));
    partial
}

pub(crate) fn encoded(partial: &Partial, base: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(base, &mut bytes);
    bytes
}

/// A sequence of numbers that looks random and is always the same.
pub(crate) struct Shuffle(pub(crate) u64);

impl Shuffle {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// How the partials of a window come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One partial, one reading after the other.
    Pushed,
    /// One partial; numbers in a run, then states.
    Run,
    /// Up to four parts that do not overlap, in any order.
    Split,
    /// Up to four parts that do not overlap, merged in any order.
    Merged,
    /// One partial, encoded and decoded.
    Stored,
    /// One partial; readings in any order, but none more than some 20 readings too late.
    Disordered,
}

pub(crate) const WAYS: [Way; 6] =
    [Way::Pushed, Way::Run, Way::Split, Way::Merged, Way::Stored, Way::Disordered];

/// Readings in up to four stretches of time.
pub(crate) fn stretches<'a>(readings: &'a [Reading], shuffle: &mut Shuffle) -> Vec<&'a [Reading]> {
    let mut rest = readings;
    let mut found = Vec::new();
    for _ in 0..shuffle.below(4) {
        let (stretch, later) = rest.split_at(shuffle.below(rest.len() + 1));
        found.push(stretch);
        rest = later;
    }
    found.push(rest);
    found.retain(|stretch| !stretch.is_empty());
    found
}

fn disordered(readings: &[Reading], shuffle: &mut Shuffle) -> Vec<Reading> {
    let mut readings = readings.to_vec();
    readings.chunks_mut(20).for_each(|chunk| shuffle.shuffle(chunk));
    readings
}

impl Way {
    /// The partials of one window's readings.
    pub(crate) fn partials(self, parts: Parts, readings: &[Reading], shuffle: &mut Shuffle) -> Vec<Partial> {
        let in_stretches = |shuffle: &mut Shuffle| {
            let mut partials: Vec<_> =
                stretches(readings, shuffle).into_iter().map(|stretch| partial_of(parts, stretch)).collect();
            shuffle.shuffle(&mut partials);
            partials
        };
        match self {
            Self::Pushed => vec![partial_of(parts, readings)],
            Self::Run => {
                let mut partial = Partial::with_parts(parts);
                partial.push_run(readings.iter().filter_map(|(time, value)| Some((*time, value.number()?))));
                for (time, value) in readings {
                    value.state().into_iter().for_each(|state| partial.push_state(*time, state));
                }
                vec![partial]
            }
            Self::Split => in_stretches(shuffle),
            Self::Merged => vec![merged(&in_stretches(shuffle))],
            Self::Stored => {
                let partial = partial_of(parts, readings);
                let base = window(readings[0].0).start();
                let read = Partial::decode(&encoded(&partial, base), base).unwrap().asking_for(parts);
                assert_eq!(read, partial);
                vec![read]
            }
            Self::Disordered => vec![partial_of(parts, &disordered(readings, shuffle))],
        }
    }
}

/// All partials merged, from the first on.
pub(crate) fn merged(partials: &[Partial]) -> Partial {
    let mut all = partials.first().cloned().unwrap_or_default();
    partials.iter().skip(1).for_each(|partial| all.merge(partial));
    all
}

/// The partials of all windows, in order of time.
pub(crate) fn windows(way: Way, parts: Parts, readings: &[Reading]) -> Vec<(Window, Partial)> {
    let mut shuffle = Shuffle(readings.len() as u64);
    let same = |a: &Reading, b: &Reading| window(a.0) == window(b.0);
    let mut found = Vec::new();
    for group in readings.chunk_by(same) {
        let window = window(group[0].0);
        found.extend(way.partials(parts, group, &mut shuffle).into_iter().map(|partial| (window, partial)));
    }
    found
}

/// The figures over time of partials in order of their windows.
pub(crate) fn order(
    partials: &[(Window, Partial)],
    bounds: &[f64],
    from: Timestamp,
    to: Timestamp,
) -> OrderFigures {
    let mut order = SeriesOrder::new(bounds);
    partials.iter().for_each(|(window, partial)| order.push(*window, partial));
    order.finish(from, to)
}

/// A number of times and values, for naming: `true` where a partial of these keeps only a summary.
pub(crate) fn is_many(readings: &[Reading]) -> bool {
    let same = |a: &Reading, b: &Reading| window(a.0) == window(b.0);
    let numbers = |group: &[Reading]| group.iter().filter(|(_, value)| value.number().is_some()).count();
    readings.chunk_by(same).any(|group| numbers(group) > catchment_partial::EXACT_MAX)
}

/// A reading that is a number.
pub(crate) fn number(time: Timestamp, number: f64) -> Reading {
    (time, Value::Number(number))
}
