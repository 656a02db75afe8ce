//! Hostile bytes: decoding gives an error or a partial that behaves like any other.

use super::readings::{at, partial_of, readings};
use crate::{DecodeError, Partial, Parts, SeriesOrder, Timestamp, Width, Window};
use proptest::prelude::*;
use proptest::sample::Index;

fn encode(partial: &Partial, base: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(base, &mut bytes);
    bytes
}

/// Every aggregate is a number or `None`.
fn assert_sound(partial: &Partial, base: Timestamp) {
    assert!(!partial.sum().is_nan());
    let statistics = [partial.mean(), partial.variance(), partial.stddev(), partial.quantile(0.5)];
    let more = [partial.skewness(), partial.kurtosis(), partial.sample_variance(), partial.trimmed_mean(0.2)];
    for statistic in statistics.into_iter().chain(more) {
        assert!(statistic.is_none_or(f64::is_finite));
    }
    assert!(partial.distinct().is_none_or(|distinct| distinct >= 0.0));
    assert!(partial.below(1.0) <= partial.count());
    assert!(partial.variance().is_none_or(|variance| variance >= 0.0));
    let mut order = SeriesOrder::new(&[0.0]);
    let window = Window::containing(base, Width::MAX);
    order.push(window, partial);
    order.push(window, partial);
    let figures = order.finish(window.start(), window.end());
    let of_order = [figures.rate(), figures.delta(), figures.integral(), figures.time_weighted_mean_linear()];
    assert!(of_order.into_iter().all(|figure| figure.is_none_or(f64::is_finite)));
    let asked = |partial: Partial| partial.asking_for(Parts::NONE);
    let decoded = Partial::decode(&encode(partial, base), base);
    assert_eq!(decoded.map(asked), Ok(asked(partial.clone())));
}

/// Adding the bytes equals adding what they are decoded to, and an error adds nothing.
fn check_merge(bytes: &[u8], base: Timestamp, decoded: &Result<Partial, DecodeError>, own: &Partial) {
    let (mut found, mut expected) = (own.clone(), own.clone());
    let result = found.merge_encoded_across_series(bytes, base);
    match (decoded, result) {
        (Ok(partial), result) => {
            assert_eq!(result, Ok(()));
            expected.merge_across_series(partial);
            assert_eq!(found, expected);
        }
        (Err(error), Err(found)) => assert_eq!(found, *error),
        (Err(_), Ok(())) => {
            // The damage is in an optional part that is not kept: without it, the sums and the sketch are the same.
            let asked = expected.parts();
            let mut plain = bytes.to_vec();
            plain[1] &= !(1 << 6);
            let Err(DecodeError::Trailing(optional)) = Partial::decode(&plain, base) else { panic!() };
            plain.truncate(plain.len() - optional);
            expected.merge_across_series(&Partial::decode(&plain, base).unwrap());
            assert_eq!(found, expected.asking_for(asked));
        }
    }
    let (mut found, mut expected) = (own.clone(), own.clone());
    let result = found.merge_encoded(bytes, base);
    assert_eq!(result.as_ref().err(), decoded.as_ref().err());
    if let Ok(partial) = decoded {
        expected.merge(partial);
    }
    // Of few readings, it keeps optional parts that a merge does not.
    if own.parts() == Parts::NONE || bytes.get(1).is_some_and(|flags| flags & 1 == 1) {
        assert_eq!(found, expected);
    }
}

fn check(bytes: &[u8], base: Timestamp, other: &Partial) -> bool {
    let decoded = Partial::decode(bytes, base);
    let all = Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT);
    let asking = |parts, copies| {
        let mut own = Partial::with_parts(parts);
        (0..copies).for_each(|_| own.merge_across_series(other));
        own.asking_for(parts)
    };
    for (parts, copies) in
        [(Parts::NONE, 0), (Parts::NONE, 1), (Parts::NONE, 2), (all, 0), (all, 1), (Parts::DISTINCT, 2)]
    {
        check_merge(bytes, base, &decoded, &asking(parts, copies));
    }
    let newest = decoded.as_ref().map(Partial::last_time);
    assert_eq!(Partial::check(bytes, base), newest.map_err(Clone::clone));
    let Ok(partial) = decoded else { return false };
    assert!(partial.memory() <= 1024 + 16 * bytes.len(), "{} from {}", partial.memory(), bytes.len());
    assert_sound(&partial, base);
    let mut merged = partial.clone();
    merged.merge(other);
    let mut reversed = other.clone();
    reversed.merge(&partial);
    assert_eq!(merged, reversed);
    merged.merge(&partial);
    assert_sound(&merged, base);
    true
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Grow(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 0x7f, 0x80, 0xff])];
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        4 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => prop::collection::vec(byte(), 1..9).prop_map(Damage::Grow),
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
        Damage::Grow(more) => bytes.extend(more),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn arbitrary_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        flags: u8,
        version in 1u8..3,
        base: i64,
        other in readings(40),
    ) {
        let (base, other) = (Timestamp::from_nanos(base), partial_of(other));
        check(&bytes, base, &other);
        // Most arbitrary bytes fail at the version; a valid prefix gets further.
        bytes.splice(0..0, [version, flags]);
        check(&bytes, base, &other);
    }

    #[test]
    fn damaged_encodings(
        readings in readings(60),
        optional: bool,
        states in prop::collection::vec((0..40i64, 0..40u8), 0..40),
        damages in prop::collection::vec(damage(), 1..4),
        other in readings(40),
    ) {
        let (base, other) = (at(0), partial_of(other));
        let parts = Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT);
        let mut partial = if optional { Partial::with_parts(parts) } else { Partial::empty() };
        partial.push_run(readings);
        states.iter().for_each(|(time, state)| partial.push_state(at(*time), &format!("s{state}")));
        let mut bytes = encode(&partial, base);
        prop_assert!(check(&bytes, base, &other));
        for damage in &damages {
            apply(damage, &mut bytes);
            check(&bytes, base, &other);
        }
    }
}

#[test]
fn every_single_bit_flip_and_every_truncation() {
    let few = (0..9).map(|i| (at(i), i as f64 / 10.0 - 0.4));
    let many = (0..90).map(|i| (at(i), (i as f64 - 40.0).powi(3) / 7.0));
    let mut decoded = 0;
    let mut all = Partial::with_parts(Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT));
    all.push_run((0..90).map(|i| (at(i), (i % 7) as f64)));
    (0..40).for_each(|i| all.push_state(at(i), if i % 3 == 0 { "on" } else { "off" }));
    for partial in [partial_of(few), partial_of(many), all] {
        let bytes = encode(&partial, at(0));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            decoded += usize::from(check(&damaged, at(0), &partial));
        }
        for end in 0..bytes.len() {
            assert!(Partial::decode(&bytes[..end], at(0)).is_err());
        }
    }
    assert!(decoded > 0, "some damage leaves a valid partial, so that what follows it was tested");
}

#[test]
fn announced_items_that_do_not_follow_are_an_error() {
    // 2048 announced bins, and 32 announced values, of which none follows.
    let many = partial_of((0..40).map(|i| (at(i), 1.0)));
    let mut bytes = encode(&many, at(0));
    let bins = bytes.len() - 4;
    bytes.truncate(bins);
    bytes.extend([0x80, 0x10]);
    assert!(Partial::decode(&bytes, at(0)).is_err());
    assert!(Partial::decode(&[1, 0, 32], at(0)).is_err());
}
