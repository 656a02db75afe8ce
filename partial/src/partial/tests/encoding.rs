//! The encoding: golden examples that pin version 1, sizes, and lossless round trips.

use super::readings::{Reading, at, partial_of, readings};
use crate::{DecodeError, Partial, Parts, Timestamp};
use proptest::prelude::*;

const BASE: i64 = 1_700_000_000_000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(partial: &Partial, base: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(base, &mut bytes);
    bytes
}

fn temperatures(count: i64) -> impl Iterator<Item = Reading> {
    (0..count).map(|i| (at(BASE + 37 + i * 1000), f64::from(215 + (i % 7) as i32) / 10.0))
}

/// Never change these bytes: partials are stored for years.
#[test]
fn version_1_stays_readable() {
    let golden = [
        (partial_of([]), "010000"),
        (partial_of([(at(BASE + 5), 21.5)]), "010401ae030a"),
        (partial_of(temperatures(10)), "01040aae0300010001000101010100044aa84600f02e"),
        (
            partial_of([(at(BASE - 1), 0.1 + 0.2), (at(BASE + 9), -1e300)]),
            "011c0202cdf580a0e4c3fc8d3fb4d4b3f6bebbb1c12f0100010a0a00",
        ),
        (
            partial_of([(Timestamp::from_nanos(BASE * 1_000_000 + 1), 7.0), (at(BASE + 2), 8.25)]),
            "010a02f80a7d000102ff887a00ff887a",
        ),
        (
            partial_of(temperatures(33).chain([(at(BASE + 1), -3.0), (at(BASE + 2), 0.0)])),
            "01053b00f901fb0102a4fa0100942f088001a099999999993b0b0186010c0f800220295c8fc2f5980ed7a3703d76d3030103b4020500140008016e01",
        ),
    ];
    for (partial, bytes) in golden {
        let mut encoded = Vec::new();
        assert!(!partial.encode_version_1(at(BASE), &mut encoded));
        assert_eq!(hex(&encoded), bytes);
        let decoded = Partial::decode(&encoded, at(BASE)).unwrap();
        assert_eq!(hex(&encode(&decoded, at(BASE))), bytes, "a later version writes it in the same way");
        assert_eq!((decoded.count(), decoded.sum()), (partial.count(), partial.sum()));
        assert_eq!((decoded.first(), decoded.last()), (partial.first(), partial.last()));
        assert_eq!((decoded.min(), decoded.max()), (partial.min(), partial.max()));
        assert_eq!(decoded.quantile(0.5), partial.quantile(0.5));
    }
}

/// Never change these bytes either.
#[test]
fn version_2_stays_as_it_is() {
    let asking = |readings: &mut dyn Iterator<Item = Reading>| {
        let all = Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT);
        let mut partial = Partial::with_parts(all);
        partial.push_run(readings);
        partial
    };
    let mut states = partial_of([(at(BASE + 5), 1.0)]);
    states.push_state_of_number(at(BASE + 5), "true");
    states.push_state(at(BASE + 1_005), "auto");
    let golden = GOLDEN_2.into_iter().zip([
        partial_of([(at(BASE + 5), 21.5)]),
        partial_of(temperatures(10)),
        partial_of([(at(BASE - 1), 0.1 + 0.2), (at(BASE + 9), -1e300)]),
        partial_of([(Timestamp::from_nanos(BASE * 1_000_000 + 1), 7.0), (at(BASE + 2), 8.25)]),
        partial_of([(at(BASE), 1.0), (at(BASE + 1_000), 2.0), (at(BASE + 2_100), 1.0)]),
        states,
        asking(&mut temperatures(40)),
    ]);
    for (bytes, partial) in golden {
        let encoded = encode(&partial, at(BASE));
        assert_eq!(hex(&encoded), bytes);
        let decoded = Partial::decode(&encoded, at(BASE)).unwrap();
        assert_eq!(decoded.asking_for(partial.parts()), partial);
    }
}

const GOLDEN_2: [&str; 7] = [
    "0224010aae03",
    "02a40a4ae807ae030202020202020b0202",
    "02bc0202010a9ab3e6cc99b3e6f41fe7a8e7ecfdf6e2825f",
    "02aa0202ff887af80afa01",
    "02200300e807c801020201",
    "0260010a0201081502020102046175746f0474727565020ae807010000",
    "0245ae030004064ad8b00200f02e0880010800000000009e0d000e8102cdcccccccc0c9f99999999d5a2040003b402060018000a000302f6020020ca7d9a99999999993540e8073333333333b33540e807cdcccccccccc3540e8076666666666e63540e8070000000000003640e8079a99999999193640e8070000000000803540e8079a99999999993540e8073333333333b33540e807cdcccccccccc3540e8076666666666e63540e8070000000000003640e8079a99999999193640e8070000000000803540e8079a99999999993540e8073333333333b33540e807cdcccccccccc3540e8076666666666e63540e8070000000000003640e8079a99999999193640e8070000000000803540e8079a99999999993540e8073333333333b33540e807cdcccccccccc3540e8076666666666e63540e8070000000000003640e8079a99999999193640e8070000000000803540e8079a99999999993540e8073333333333b33540e807cdcccccccccc3540e8076666666666e63540014ad836000000000080354000000000008035400801079a99999999193640808cee891a33333333331363403433333333136340043715810352b81e85eb91908fc2f5285c812185eb5170199401001b8104dc68006f81048119e25817b79012cac342ad8d6cee0dbea0da9989061407b309015802c706019c04023901b50401d10201",
];

#[test]
fn ordinary_readings_take_few_bytes() {
    let size = |count| encode(&partial_of(temperatures(count)), at(BASE)).len();
    assert!(size(1) <= 8, "{}", size(1));
    assert!(size(10) <= 30, "{}", size(10));
    assert!(size(32) <= 60, "{}", size(32));
    assert!(size(100) <= 110, "{}", size(100));
    let single_precision = temperatures(10).map(|(time, value)| (time, f64::from(value as f32 + 0.017)));
    let bytes = encode(&partial_of(single_precision), at(BASE));
    assert!(bytes.len() <= 60, "{}", bytes.len());
}

#[test]
fn encodings_of_later_versions_are_refused_with_the_reason() {
    let decode = |bytes: &[u8]| Partial::decode(bytes, at(0));
    assert_eq!(decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(decode(&[3, 0, 0]), Err(DecodeError::Version(3)));
    assert_eq!(decode(&[0, 0, 0]), Err(DecodeError::Version(0)));
    assert_eq!(decode(&[2, 0x21, 0]), Err(DecodeError::UnknownParts(0x21)));
    assert_eq!(decode(&[2, 0x80, 0]), Err(DecodeError::UnknownParts(0x80)));
    assert_eq!(decode(&[1, 0x20, 0]), Err(DecodeError::UnknownParts(0x20)));
    assert_eq!(decode(&[1, 0, 0, 0]), Err(DecodeError::Trailing(1)));
}

#[test]
fn contradictions_are_refused() {
    let invalid = |bytes: &[u8]| match Partial::decode(bytes, at(0)) {
        Err(DecodeError::Invalid(what)) => what,
        other => panic!("{other:?}"),
    };
    // Two values, 1 and 2; indices of first and last; times of first, last, least, greatest.
    assert!(Partial::decode(&[1, 0, 2, 2, 1, 0, 1, 0, 5, 0, 5], at(0)).is_ok());
    invalid(&[1, 0, 2, 2, 1, 2, 1, 0, 5, 0, 5]);
    invalid(&[1, 0, 2, 2, 1, 0, 1, 0, 5, 1, 5]);
    invalid(&[1, 0, 2, 2, 1, 0, 1, 0, 5, 0, 6]);
    invalid(&[1, 0, 33, 2]);
    // A sketch of 33 readings; then the count near its end is reduced.
    let mut sketch = encode(&partial_of(temperatures(33)), at(0));
    assert!(Partial::decode(&sketch, at(0)).is_ok());
    let negative_bins = sketch.pop();
    assert_eq!(negative_bins, Some(0));
    let count = sketch.pop().unwrap();
    sketch.extend([count - 1, 0]);
    assert_eq!(invalid(&sketch), "a sketch of few values");
}

proptest! {
    #[test]
    fn decoding_inverts_encoding(readings in readings(80), base: i64, near in -100i64..100) {
        let partial = partial_of(readings);
        for base in [Timestamp::from_nanos(base), at(near)] {
            prop_assert_eq!(Partial::decode(&encode(&partial, base), base), Ok(partial.clone()));
        }
    }
}
