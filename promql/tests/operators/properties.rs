//! Whatever the data: an answer over steps is that of each step, does not depend on batches, and holds no more memory than
//! it may.

use std::fmt::Write;

use catchment_promql::{PromqlError, Value};
use proptest::prelude::*;

use crate::{at, evaluated, grid, notation::shown_value, ordered, source::TestSource};

/// Series of two metrics with some labels, in the notation.
fn data() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        3 => Just("_".to_owned()),
        1 => Just("NaN".to_owned()),
        1 => Just("-Inf".to_owned()),
        8 => (-3_i32..4).prop_map(|value| value.to_string()),
        2 => any::<f64>().prop_filter("a number", |value| value.is_finite()).prop_map(|value| value.to_string()),
    ];
    prop::collection::btree_map((any::<bool>(), 0..3_u8, 0..3_u8), prop::collection::vec(value, 5), 1..9)
        .prop_map(|all| {
            let mut text = String::new();
            for ((is_first, a, b), values) in all {
                let name = if is_first { "x" } else { "y" };
                writeln!(text, "{name}{{a=\"{a}\",b=\"{b}\"}} {}", values.join(" "))
                    .expect("text can be written");
            }
            text
        })
}

const EXPRESSIONS: [&str; 36] = [
    "sum by (a) (x)",
    "avg without (a) (x)",
    "stddev by (b) (x)",
    "max(x)",
    "min by (a) (y)",
    "count by (a) (x)",
    "quantile by (a) (0.3, x)",
    "quantile(scalar(x{a=\"1\",b=\"1\"}), y)",
    "topk(2, x)",
    "bottomk by (a) (1, x)",
    "topk(clamp_max(scalar(count(x)), 2), y)",
    "limitk(2, x)",
    "limit_ratio(0.5, x)",
    "count_values by (a) (\"v\", x)",
    "x + y",
    "x > y",
    "x >= bool y",
    "x - on(a) y",
    "x * on(a) group_left(b) y",
    "x / ignoring(b) group_right y",
    "x + fill(0) y",
    "x + on(a) group_left fill_left(1) y",
    "x and on(a) y",
    "x or y",
    "x or on(a) y",
    "x unless on(b) y",
    "{__name__=~\"x|y\"} * 2",
    "-{__name__=~\"x|y\"}",
    "2 < x",
    "clamp(x, 0, scalar(y{a=\"0\",b=\"0\"}))",
    "absent(x{a=\"0\"})",
    "scalar(x{a=\"0\"})",
    "label_replace({__name__=~\"x|y\"}, \"a\", \"$1\", \"b\", \"(1)\")",
    "label_join(x, \"b\", \"\", \"a\")",
    "sort_desc(x)",
    "round(sum by (a) (abs(x)), 0.5)",
];

fn text(error: &PromqlError) -> String {
    error.to_string()
}

/// Whether each step alone gives what the range has there, or one step has the error that the range has.
fn agree(text_of: &str, source: &TestSource) -> Result<(), TestCaseError> {
    let steps = source.steps();
    let range = evaluated(text_of, source, grid(steps));
    let mut errors = Vec::new();
    for step in 0..steps {
        let grid = catchment_promql::Grid::instant(grid(steps).time(step));
        match (&range, evaluated(text_of, source, grid)) {
            (Ok(range), Ok(instant)) => {
                let both = (at(&range.value, step), ordered(&instant.value));
                prop_assert_eq!(both.0, both.1, "{} at step {}", text_of, step);
            }
            (_, Err(error)) => errors.push(text(&error)),
            (Err(_), Ok(_)) => {}
        }
    }
    match range {
        Ok(_) => prop_assert!(errors.is_empty(), "{}: {:?}", text_of, errors),
        Err(error) => {
            let error = text(&error);
            let kind = |error: &str| error.split('{').next().unwrap_or_default().to_owned();
            prop_assert!(
                errors.iter().any(|one| kind(one) == kind(&error)),
                "{}: {}, {:?}",
                text_of,
                error,
                errors
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_its_steps(data in data()) {
        let source = TestSource::new(&data);
        for text in EXPRESSIONS {
            agree(text, &source)?;
        }
    }

    #[test]
    fn batches_and_memory_do_not_show(data in data()) {
        let source = TestSource::new(&data);
        let all: Vec<_> = EXPRESSIONS.iter().map(|text| evaluated(text, &source, grid(source.steps()))).collect();
        source.narrow();
        for (text_of, before) in EXPRESSIONS.iter().zip(all) {
            let single = evaluated(text_of, &source, grid(source.steps()));
            match (before, single) {
                (Ok(before), Ok(single)) => {
                    prop_assert_eq!(shown_value(&before.value), shown_value(&single.value), "{}", text_of);
                    is_in_order(text_of, &single.value)?;
                }
                (Err(before), Err(single)) => prop_assert_eq!(text(&before), text(&single)),
                (before, single) => prop_assert!(false, "{}: {:?} {:?}", text_of, before, single),
            }
        }
    }
}

/// Series over steps come in the order of their labels, each with something.
fn is_in_order(text_of: &str, value: &Value) -> Result<(), TestCaseError> {
    let Value::Vector(series) = value else { return Ok(()) };
    prop_assert!(series.is_sorted_by(|a, b| a.labels < b.labels), "{}", text_of);
    let has_some =
        |line: &String| line.split("} ").any(|values| values.contains(|c: char| c != '_' && c != ' '));
    let lines = shown_value(value);
    prop_assert!(lines.iter().all(has_some), "{}: {:?}", text_of, lines);
    Ok(())
}

#[test]
fn a_query_that_may_not_hold_its_groups_ends() {
    let mut data = String::new();
    for number in 0..100 {
        writeln!(data, "x{{a=\"{number}\"}} {}", "1 ".repeat(100)).unwrap();
    }
    let mut source = TestSource::new(&data);
    let steps = source.steps();
    let groups =
        ["sum by (a) (x)", "topk by (a) (1, x)", "quantile(0.5, x)", "x + x", "count_values(\"v\", x)"];
    for text_of in groups {
        source.memory_max = usize::MAX;
        evaluated(text_of, &source, grid(steps)).unwrap();
        source.memory_max = 500;
        let error = evaluated(text_of, &source, grid(steps)).unwrap_err();
        assert_eq!(text(&error), "too much memory", "{text_of}");
    }
}
