//! The encoding of partials: accepted bytes decode to a usable state, which round-trips.

use catchment_partial::{Partial, Parts, SeriesOrder, Timestamp, Width, Window};

use super::{Target, magnitude, signature};

pub(super) const TARGET: Target = Target {
    name: "partial",
    run,
    seeds,
    tokens: &[b"\x00", b"\x01", b"\x02", b"\x80", b"\xff\x01", b"\x7f", b"\x80\x80\x80\x80\x10"],
    fixed_bytes: 64 << 10,
    bytes_per_input_byte: 200,
};

const BASE: i64 = 1_700_000_000_000_000_000;

fn base() -> Timestamp {
    Timestamp::from_nanos(BASE)
}

fn seeds() -> Vec<Vec<u8>> {
    let encode = |values: &[f64], step: i64| {
        let mut partial = Partial::empty();
        for (at, value) in (0_i64..).zip(values) {
            partial.push(Timestamp::from_nanos(BASE + at * step), *value);
        }
        let mut out = Vec::new();
        partial.encode(base(), &mut out);
        out
    };
    let with_all = |count: i64, states: i64| {
        let mut partial = Partial::with_parts(Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT));
        for at in 0..count {
            partial.push(Timestamp::from_nanos(BASE + at * 50_000_000), (at % 23) as f64 / 10.0);
        }
        for at in 0..states {
            partial.push_state(
                Timestamp::from_nanos(BASE + at * 70_000_000),
                ["on", "off", "auto"][at as usize % 3],
            );
        }
        let mut out = Vec::new();
        partial.encode(base(), &mut out);
        out
    };
    let many: Vec<f64> = (0..500).map(|n| f64::from(n % 37) * 0.25 - 3.0).collect();
    let wide: Vec<f64> = (0..200).map(|n| (f64::from(n) - 100.0).exp2()).collect();
    vec![
        encode(&[], 1),
        encode(&[21.5], 1),
        encode(&[21.5, -1.0, 0.0], 1_000_000),
        encode(&[1e300, -1e-300, 7.123_456_789], 1),
        encode(&many, 1_000_000),
        encode(&wide, 17),
        with_all(0, 5),
        with_all(3, 2),
        with_all(50, 40),
    ]
}

fn run(input: &[u8]) -> u64 {
    let partial = match Partial::decode(input, base()) {
        Ok(partial) => partial,
        Err(error) => return signature(error.to_string()),
    };
    let mut once = Vec::new();
    partial.encode(base(), &mut once);
    let again = Partial::decode(&once, base()).expect("an encoded partial decodes");
    let mut twice = Vec::new();
    again.encode(base(), &mut twice);
    assert_eq!(once, twice, "the encoding is not stable");
    assert_eq!((partial.count(), partial.is_empty()), (again.count(), again.is_empty()));
    let ends = [partial.min(), partial.max(), partial.first(), partial.last()];
    let no_numbers = partial.count() == 0;
    assert_eq!(partial.is_empty(), no_numbers && partial.state_count() == 0);
    assert!(ends.iter().all(|end| end.is_some() != no_numbers));
    assert!(ends.iter().flatten().all(|end| end.value.is_finite()));
    for q in [0.0, 0.5, 0.99, 1.0] {
        assert_eq!(partial.quantile(q).is_some(), !no_numbers);
    }
    let mut order = SeriesOrder::new(&[1.0]);
    let window = Window::containing(base(), Width::MAX);
    order.push(window, &partial);
    order.push(window, &again);
    let figures = order.finish(window.start(), window.end());
    assert!(figures.rate().is_none_or(f64::is_finite) && figures.integral().is_none_or(f64::is_finite));
    let _ = (partial.skewness(), partial.kurtosis(), partial.distinct(), partial.trimmed_mean(0.1));
    let mut merged = partial.clone();
    merged.merge(&again);
    assert_eq!(merged.count(), partial.count().saturating_add(again.count()));
    merged.push(base(), 1.0);
    let _ = (partial.mean(), partial.variance(), partial.stddev(), merged.quantile(0.5));
    signature((
        magnitude(partial.count() as usize),
        input.first().copied(),
        magnitude(once.len()),
        input.len() == once.len(),
    ))
}
