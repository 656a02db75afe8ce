use proptest::prelude::*;

use super::{
    names::{NAMED, usages},
    *,
};
use crate::testing::{partial, states};

/// Figures of a partial, and of a series with it alone in a window of this many seconds from 0.
fn figures(partial: Partial, seconds: u32) -> Figures {
    let width = catchment_partial::Width::from_millis(seconds * 1_000).unwrap();
    let window = catchment_partial::Window::containing(catchment_partial::Timestamp::from_nanos(0), width);
    let mut order = catchment_partial::SeriesOrder::new(&[2.0]);
    order.push(window, &partial);
    Figures { partial, order: Some(order.finish(window.start(), window.end())) }
}

fn value(name: &str, figures: &Figures) -> Option<AggregateValue> {
    name.parse::<Aggregate>().unwrap().evaluate(figures)
}

fn number(name: &str, figures: &Figures) -> Option<f64> {
    match value(name, figures) {
        Some(AggregateValue::Number(number)) => Some(number),
        None => None,
        other => panic!("{name}: {other:?}"),
    }
}

/// Every way to write an aggregate that makes one column.
fn examples() -> Vec<String> {
    let with = |usage: &str| {
        [("(x)", "(-1.5)"), ("(a,b)", "(1,2e300)"), ("(p)", "(10)"), ("(STATE)", "(\"a,b\")")]
            .iter()
            .fold(usage.to_owned(), |text, (shown, example)| text.replace(shown, example))
    };
    usages().filter(|usage| !usage.contains('…')).map(|usage| with(&usage)).collect()
}

#[test]
fn names_are_parsed_and_displayed() {
    assert!(examples().len() >= NAMED.len());
    for name in examples() {
        let aggregate: Aggregate = name.parse().unwrap();
        let shown = aggregate.to_string();
        assert_eq!(shown.parse(), Ok(aggregate), "{name}");
        assert!(!shown.contains("Value"), "{shown} is not in the table");
    }
    let names: Vec<_> = NAMED.iter().flat_map(|named| named.names()).collect();
    assert!(names.iter().enumerate().all(|(n, name)| !names[..n].contains(name)), "a name twice");
    for (text, shown) in [
        ("avg", "mean"),
        ("stddev_samp", "sample_stddev"),
        ("median", "p50"),
        ("p99.9", "p99.9"),
        ("p07", "p7"),
        ("below( 2.50 )", "below(2.5)"),
        ("below(-0)", "below(0)"),
        ("at_least(1e300)", "at_least(1e300)"),
        ("between(-1E-7,20000000000000000)", "between(-1e-7,2e16)"),
        ("interquartile_mean", "trimmed_mean(25)"),
        ("iqr", "interquartile_range"),
        ("time_in( auto mode )", "time_in(auto mode)"),
        (r#"time_in("auto")"#, "time_in(auto)"),
        (r#"share_of(" ")"#, r#"share_of(" ")"#),
        (r#"share_of("say \"(a\\b)\"")"#, r#"share_of("say \"(a\\b)\"")"#),
        (r"share_of(a\b)", r"share_of(a\b)"),
    ] {
        assert_eq!(text.parse::<Aggregate>().unwrap().to_string(), shown);
    }
}

#[test]
fn errors_say_what_to_write() {
    for (text, part) in [
        ("", "p99.9"),
        ("p", "percentile from p0 to p100"),
        ("p101", "percentile"),
        ("pNaN", "percentile"),
        ("p.5", "percentile"),
        ("p99.999999", "percentile"),
        ("Count", "choose from count, sum, "),
        ("mean ", "unknown"),
        ("below(1", "unknown"),
        ("(1)", "unknown"),
        ("count()", "it takes no argument"),
        ("below", "it takes a number, not 0; write below(x)"),
        ("below()", "\"\" is not a finite number"),
        ("below(1,2)", "it takes a number, not 2"),
        ("below(inf)", "not a finite number"),
        ("below(1e999)", "not a finite number"),
        ("between(2,2)", "must increase; write between(a,b)"),
        ("between(2)", "two numbers"),
        ("trimmed_mean(50)", "less than 50"),
        ("trimmed_mean(-1)", "at least 0"),
        ("histogram", "at least one number"),
        ("histogram(1,3,2)", "must increase"),
        ("time_in", "it takes a state"),
        ("time_in()", "a state has 1 to 64 bytes"),
        ("time_in(a,b)", "quotation marks"),
        (r#"time_in("a)"#, "quotation marks"),
        (r#"time_in("a"b)"#, "quotation marks"),
        (r#"time_in("\n")"#, "quotation marks"),
        ("time_in(a\u{7}b)", "control"),
    ] {
        let error = Aggregate::columns(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let long = format!("time_in({})", "a".repeat(65));
    assert!(Aggregate::columns(&long).is_err());
    let long = Aggregate::columns(&"x".repeat(5_000)).unwrap_err().to_string();
    assert!(long.contains("5000 bytes"), "{long}");
}

#[test]
fn a_histogram_is_a_column_for_each_class() {
    let names = |text: &str| -> Vec<String> {
        Aggregate::columns(text).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("histogram(1)"), ["below(1)", "at_least(1)"]);
    assert_eq!(
        names("histogram(-1, 0.50,1e9)"),
        ["below(-1)", "between(-1,0.5)", "between(0.5,1000000000)", "at_least(1000000000)"]
    );
    assert_eq!(names("avg"), ["avg"], "keeps the requested name");
    assert!("histogram(1,2)".parse::<Aggregate>().is_err());
}

#[test]
fn only_aggregates_of_the_order_need_it() {
    let parse = |text: &str| text.parse::<Aggregate>().unwrap();
    for name in ["count", "p99", "below(1)", "distinct", "state_count"] {
        assert!(!parse(name).needs_order(), "{name}");
    }
    for name in ["rate", "integral", "time_above(3)", "time_in(a)", "last_state", "state_times"] {
        assert!(parse(name).needs_order(), "{name}");
    }
    assert_eq!(parse("time_below(3)").time_bounds().collect::<Vec<_>>(), [3.0]);
    assert_eq!(parse("below(3)").time_bounds().next(), None);
}

#[test]
fn aggregates_of_a_few_readings() {
    let readings = figures(partial(&[(1_000, 4.0), (2_000, 1.0), (3_500, 7.0), (4_000, 4.0)]), 5);
    for (name, expected) in [
        ("count", 4.0),
        ("sum", 16.0),
        ("mean", 4.0),
        ("avg", 4.0),
        ("variance", 4.5),
        ("stddev", 4.5_f64.sqrt()),
        ("sample_variance", 6.0),
        ("var_samp", 6.0),
        ("sample_stddev", 6_f64.sqrt()),
        ("skewness", 0.0),
        ("kurtosis", -1.0),
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
        ("iqr", 3.0),
        ("trimmed_mean(0)", 4.0),
        ("below(4)", 1.0),
        ("below(4.5)", 3.0),
        ("at_least(4)", 3.0),
        ("between(1,4)", 1.0),
        ("between(1,7)", 3.0),
        ("distinct", 3.0),
        ("resets", 2.0),
        ("changes", 3.0),
        ("integral", 4.0 + 1.5 + 3.5),
        ("time_weighted_mean", 3.0),
        ("integral_linear", 2.5 + 6.0 + 2.75),
        ("time_weighted_mean_linear", 3.75),
        ("time_above(2)", 1.5),
        ("time_below(2)", 1.5),
    ] {
        assert_eq!(number(name, &readings), Some(expected), "{name}");
    }
}

#[test]
fn counters_are_extrapolated() {
    let counter: Vec<_> = (0..10).map(|s| (s * 1_000 + 500, 100.0 + s as f64)).collect();
    let readings = figures(partial(&counter), 10);
    for (name, expected) in [("increase", 10.0), ("rate", 1.0), ("delta", 10.0), ("resets", 0.0)] {
        assert_eq!(number(name, &readings), Some(expected), "{name}");
    }
}

#[test]
fn aggregates_of_states() {
    let readings = figures(states(&[(1_000, "auto"), (4_000, "off"), (5_000, "auto"), (9_000, "a=b")]), 10);
    let of = |pairs: &[(&str, f64)]| {
        Some(AggregateValue::States(pairs.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect()))
    };
    assert_eq!(number("count", &readings), Some(0.0));
    assert_eq!(number("mean", &readings), None);
    assert_eq!(number("state_count", &readings), Some(4.0));
    assert_eq!(number("transitions", &readings), Some(3.0));
    assert_eq!(value("last_state", &readings), Some(AggregateValue::Text("a=b".to_owned())));
    assert_eq!(number("time_in(auto)", &readings), Some(7.0));
    assert_eq!(number("time_in(unknown)", &readings), Some(0.0));
    assert_eq!(number("share_of(off)", &readings), Some(1.0 / 8.0));
    assert_eq!(value("state_times", &readings), of(&[("a=b", 0.0), ("auto", 7.0), ("off", 1.0)]));
    assert_eq!(
        value("state_shares", &readings),
        of(&[("a=b", 0.0), ("auto", 7.0 / 8.0), ("off", 1.0 / 8.0)])
    );
    assert_eq!(number("distinct", &readings), Some(3.0));
}

#[test]
fn of_very_many_states_the_rest_is_summed() {
    let mut all: Option<OrderFigures> = None;
    for series in 0..10 {
        let names: Vec<String> = (0..30).map(|n| format!("state-{series}-{n:02}")).collect();
        let readings: Vec<_> = names.iter().zip(0..).map(|(name, n)| (n * (n + 1) * 500, &**name)).collect();
        let order = figures(states(&readings), 500).order.unwrap();
        match &mut all {
            Some(all) => all.merge(&order),
            none => *none = Some(order),
        }
    }
    let figures = Figures { partial: Partial::empty(), order: all };
    let Some(AggregateValue::States(times)) = value("state_times", &figures) else { panic!() };
    assert!((256..=257).contains(&times.len()), "{}", times.len());
    assert!(times.is_sorted() && times.iter().any(|(state, _)| state == "other"));
    // State n lasts n + 1 seconds, the last one none.
    assert_eq!(times.iter().map(|(_, time)| time).sum::<f64>(), 10.0 * 435.0);
}

#[test]
fn undefined_values_are_absent() {
    let huge = figures(partial(&[(1_000, f64::MAX), (2_000, -f64::MAX)]), 5);
    assert_eq!(number("range", &huge), None);
    let nothing = Figures::default();
    for name in examples() {
        let counts = ["count", "state_count", "below(-1.5)", "at_least(-1.5)", "between(1,2e300)"];
        let expected = (counts.contains(&&*name)).then_some(0.0);
        if name != "distinct" {
            assert_eq!(number(&name, &nothing), expected, "{name}");
        }
    }
}

/// The names in the first column of the table of docs/aggregates.md.
fn documented() -> Vec<String> {
    let text = include_str!("../../../../docs/aggregates.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("| aggregate |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_documented_aggregates_are_these() {
    let mut documented = documented();
    let mut known: Vec<String> = usages().collect();
    known.extend(["p0", "p100", "p99.9"].map(str::to_owned));
    documented.sort();
    known.sort();
    assert_eq!(documented, known, "docs/aggregates.md and the table of names");
}

proptest! {
    #[test]
    fn numbers_are_displayed_as_they_parse(bits: u64, other: u64) {
        let [a, b] = [bits, other].map(f64::from_bits);
        prop_assume!(a.is_finite() && b.is_finite() && a != b);
        let between = ValueAggregate::Between(a.min(b) + 0.0, a.max(b) + 0.0);
        for aggregate in [
            Aggregate::Value(between),
            Aggregate::Value(ValueAggregate::Below(a + 0.0)),
            Aggregate::Order(OrderAggregate::TimeAbove(b + 0.0)),
        ] {
            prop_assert_eq!(aggregate.to_string().parse(), Ok(aggregate));
        }
    }

    #[test]
    fn states_are_displayed_as_they_parse(state in "[ -~é]{1,64}") {
        prop_assume!(state.len() <= 64);
        let aggregate = Aggregate::State(StateAggregate::TimeIn(state));
        prop_assert_eq!(aggregate.to_string().parse(), Ok(aggregate));
    }

    #[test]
    fn any_text_parses_or_fails(text in r#"(below|between|time_in|histogram|trimmed_mean|p)?[(]?[^a-z]{0,20}[)]?"#) {
        if let Ok(columns) = Aggregate::columns(&text) {
            for (name, aggregate) in columns {
                prop_assert_eq!(Aggregate::columns(&name).unwrap()[0].1.clone(), aggregate);
            }
        }
    }
}
