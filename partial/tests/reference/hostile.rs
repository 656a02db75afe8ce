//! Whatever is decoded, pushed or merged, nothing panics and every figure is a number or unknown.

use catchment_partial::{OrderFigures, Partial, Parts, SeriesOrder, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::build::{self, partial_of, window};
use crate::data::Reading;
use crate::laws::{at, bits, disordered, parts};

const BOUNDS: [f64; 4] = [-1e300, 0.0, 12.5, f64::MAX];

fn assert_sound(figures: &OrderFigures) {
    let numbers = [
        figures.increase(),
        figures.rate(),
        figures.delta(),
        figures.integral(),
        figures.integral_linear(),
        figures.time_weighted_mean(),
        figures.time_weighted_mean_linear(),
    ];
    assert!(numbers.iter().all(|number| number.is_none_or(f64::is_finite)), "{numbers:?}");
    let times = BOUNDS.map(|bound| [figures.time_above(bound), figures.time_below(bound)]);
    let states = figures.state_times().unwrap_or_default();
    let seconds = times.iter().flatten().flatten().copied().chain(states.iter().map(|(_, seconds)| *seconds));
    assert!(seconds.into_iter().all(|seconds| seconds.is_finite() && seconds >= 0.0), "{times:?} {states:?}");
    assert!(states.is_sorted_by(|a, b| a.0 < b.0), "{states:?}");
    let _: (Option<u64>, Option<u64>) = (figures.resets(), figures.changes());
    let _: (Option<u64>, Option<&str>) = (figures.transitions(), figures.last_state());
}

fn assert_sound_values(partial: &Partial) {
    let moments =
        [partial.sample_variance(), partial.sample_stddev(), partial.skewness(), partial.kurtosis()];
    let other = [partial.trimmed_mean(0.1), partial.trimmed_mean(0.499), partial.distinct(), partial.mean()];
    let numbers: Vec<_> = moments.into_iter().chain(other).collect();
    assert!(numbers.iter().all(|number| number.is_none_or(f64::is_finite)), "{numbers:?}");
    for bound in [f64::NEG_INFINITY, -1.0, 0.0, 1e-320, 1e9, f64::INFINITY, f64::NAN] {
        assert!(partial.below(bound) <= partial.count());
    }
    assert!(partial.below(1.0) <= partial.below(2.0));
}

/// Follows partials in any order, over a range that may not contain them.
fn follow(partials: &[Partial], ends: [Timestamp; 2]) -> OrderFigures {
    let mut order = SeriesOrder::new(&BOUNDS);
    for partial in partials {
        order.push(window(partial.first().map_or(at(0), |point| point.time)), partial);
        assert!(order.memory() > 0);
    }
    order.finish(ends[0], ends[1])
}

/// Decodes bytes; if they are a partial, it behaves like any other.
fn check(bytes: &[u8], other: &Partial) -> bool {
    let decoded = Partial::decode(bytes, at(0));
    assert_eq!(Partial::check(bytes, at(0)).err(), decoded.as_ref().err().cloned());
    let Ok(partial) = decoded else { return false };
    assert!(partial.memory() <= 4096 + 64 * bytes.len(), "{} from {}", partial.memory(), bytes.len());
    assert_sound_values(&partial);
    let again = build::encoded(&partial, at(0));
    assert_eq!(Partial::decode(&again, at(0)).as_ref(), Ok(&partial));
    let (mut ab, mut ba) = (partial.clone(), other.clone());
    ab.merge(other);
    ba.merge(&partial);
    assert_eq!(ab, ba);
    assert_sound_values(&ab);
    for group in
        [&[partial.clone()][..], &[ab.clone()], &[partial.clone(), other.clone(), ab.clone(), partial]]
    {
        let mut figures = follow(group, [at(0), at(10_000)]);
        assert_sound(&figures);
        let more = follow(std::slice::from_ref(other), [at(0), at(10_000)]);
        figures.merge(&more);
        assert_sound(&figures);
    }
    true
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Copy(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 0x7f, 0x80, 0xff])];
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        4 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Copy(from, to)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Set(at, byte) => *at.get_mut(bytes) = *byte,
        Damage::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
        Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Damage::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Copy(from, to) => *to.get_mut(bytes) = *from.get(bytes),
    }
}

/// Readings at any time and of any finite value.
fn wild(most: usize) -> impl Strategy<Value = Vec<Reading>> {
    let time = prop_oneof![
        any::<i64>().prop_map(Timestamp::from_nanos),
        prop::sample::select(vec![Timestamp::MIN, Timestamp::MAX, at(0), at(1)]),
    ];
    let value = prop_oneof![
        prop::num::f64::NORMAL,
        prop::sample::select(vec![0.0, -0.0, f64::MAX, -f64::MAX, 5e-324, -5e-324, 1e308, 1.0]),
    ];
    prop::collection::vec((time, value).prop_map(|(time, value)| build::number(time, value)), 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        head in prop::collection::vec(0u8..8, 0..6),
        other in disordered(60),
        parts in parts(),
    ) {
        let other = partial_of(parts, &other);
        check(&bytes, &other);
        for version in [1, 2] {
            bytes.splice(0..0, [version].into_iter().chain(head.iter().copied()));
            check(&bytes, &other);
        }
    }

    #[test]
    fn damaged_encodings(
        readings in disordered(90),
        damages in prop::collection::vec(damage(), 1..4),
        other in disordered(60),
        parts in parts(),
    ) {
        let other = partial_of(parts, &other);
        let mut bytes = build::encoded(&partial_of(parts, &readings), at(0));
        prop_assert!(check(&bytes, &other));
        for damage in &damages {
            apply(damage, &mut bytes);
            check(&bytes, &other);
        }
    }

    /// Partials that overlap, in any order and windows: the figures may differ, but nothing panics.
    #[test]
    fn overlapping_parts(
        groups in prop::collection::vec(disordered(60), 1..20), parts in parts(), from: i64, to: i64,
    ) {
        let partials: Vec<_> = groups.iter().map(|readings| partial_of(parts, readings)).collect();
        for ends in [[at(0), at(10_000)], [Timestamp::from_nanos(from), Timestamp::from_nanos(to)]] {
            assert_sound(&follow(&partials, ends));
            assert_sound(&follow(&[build::merged(&partials)], ends));
        }
        assert_sound_values(&build::merged(&partials));
    }

    /// Overlapping parts count the same in whatever order they arrive.
    #[test]
    fn overlapping_parts_in_any_order_give_the_same_bits(
        groups in prop::collection::vec(disordered(50), 1..8), parts in parts(), seed: u64,
    ) {
        let mut partials: Vec<_> = groups.iter().map(|readings| partial_of(parts, readings)).collect();
        let figures = |partials: &[Partial]| {
            let mut order = SeriesOrder::new(&BOUNDS);
            partials.iter().for_each(|partial| order.push(window(at(0)), partial));
            bits(&order.finish(at(0), at(10_000)), &BOUNDS)
        };
        let expected = figures(&partials);
        build::Shuffle(seed).shuffle(&mut partials);
        prop_assert_eq!(figures(&partials), expected.clone());
        // Without the part, parts that are few each are known, but not all of them merged.
        if parts.contains(Parts::ORDER) {
            prop_assert_eq!(figures(&[build::merged(&partials)]), expected);
        }
    }

    #[test]
    fn wild_times_and_values(a in wild(70), b in wild(70), parts in parts(), ends: [i64; 2]) {
        let (a, b) = (partial_of(parts, &a), partial_of(parts, &b));
        assert_sound_values(&a);
        let mut figures = follow(&[a.clone(), b.clone()], ends.map(Timestamp::from_nanos));
        assert_sound(&figures);
        figures.merge(&follow(&[b.clone()], [Timestamp::MIN, Timestamp::MAX]));
        assert_sound(&figures);
        check(&build::encoded(&build::merged(&[a, b.clone()]), at(0)), &b);
    }
}

#[test]
fn every_single_bit_flip_and_every_truncation() {
    let few: Vec<_> = (0..9).map(|i| build::number(at(i * 1000), i as f64 / 10.0 - 0.4)).collect();
    let many: Vec<_> = (0..90).map(|i| build::number(at(i * 100), (i as f64 - 40.0).powi(3) / 7.0)).collect();
    let states = (0..90).map(|i| {
        let state = ["auto", "off", "manual"][i as usize % 3];
        (at(i * 100 + 7), crate::data::Value::State(state.to_owned()))
    });
    let both: Vec<_> = many.iter().cloned().chain(states).collect();
    let mut decoded = 0;
    for readings in [&few, &many, &both] {
        let partial = partial_of(build::all_parts(), readings);
        let bytes = build::encoded(&partial, at(0));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            decoded += usize::from(check(&damaged, &partial));
        }
        // The end of an optional part may be the end of a partial.
        let cut = (0..bytes.len()).filter(|length| check(&bytes[..*length], &partial));
        assert!(cut.count() <= 5, "a partial is cut without notice");
    }
    assert!(decoded > 50, "{decoded}");
}
