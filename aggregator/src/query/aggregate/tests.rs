use super::*;
use crate::testing::partial;

fn value_of(name: &str, partial: &Partial) -> Option<f64> {
    name.parse::<Aggregate>().unwrap().evaluate(partial)
}

#[test]
fn names_are_parsed_and_displayed() {
    for (name, aggregate) in NAMED {
        assert_eq!(name.parse(), Ok(aggregate));
        assert_eq!(aggregate.to_string().parse(), Ok(aggregate), "{name}");
    }
    assert!(NAMED.iter().all(|(name, _)| NAMES.contains(name) || ["avg", "var"].contains(name)));
    for (text, percent) in [("p0", 0.0), ("p50", 50.0), ("p99.9", 99.9), ("p100", 100.0), ("p07", 7.0)] {
        assert_eq!(text.parse(), Ok(Aggregate::Percentile(percent)));
    }
    assert_eq!(Aggregate::Percentile(99.9).to_string(), "p99.9");
    for text in
        ["", "p", "p101", "p-1", "pNaN", "pinf", "p1e1", "p.5", "p99.999999", "Count", "mean ", "p5.0.1"]
    {
        let error = text.parse::<Aggregate>().unwrap_err().to_string();
        assert!(error.contains("percentile"), "{error}");
    }
}

#[test]
fn aggregates_of_a_few_readings() {
    let readings = partial(&[(1_000, 4.0), (2_000, 1.0), (3_500, 7.0), (4_000, 4.0)]);
    for (name, expected) in [
        ("count", 4.0),
        ("sum", 16.0),
        ("mean", 4.0),
        ("avg", 4.0),
        ("variance", 4.5),
        ("stddev", 4.5_f64.sqrt()),
        ("min", 1.0),
        ("max", 7.0),
        ("range", 6.0),
        ("first", 4.0),
        ("last", 4.0),
        ("min_time", 2.0),
        ("max_time", 3.5),
        ("first_time", 1.0),
        ("last_time", 4.0),
        ("median", 4.0),
        ("p0", 1.0),
        ("p100", 7.0),
    ] {
        assert_eq!(value_of(name, &readings), Some(expected), "{name}");
    }
}

#[test]
fn undefined_values_are_absent() {
    let huge = partial(&[(1_000, f64::MAX), (2_000, -f64::MAX)]);
    assert_eq!(value_of("range", &huge), None);
    let nothing = partial(&[]);
    for (name, aggregate) in NAMED {
        if aggregate != Aggregate::Count {
            assert_eq!(value_of(name, &nothing), None, "{name}");
        }
    }
}
