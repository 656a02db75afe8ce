use proptest::prelude::*;

use super::*;

fn request() -> AggregateRequest {
    AggregateRequest {
        selector: "m".into(),
        from_ms: 1_000,
        to_ms: 61_000,
        step_ms: 10_000,
        ..Default::default()
    }
}

#[test]
fn a_request_becomes_a_plan() {
    let request = AggregateRequest {
        by: ["device", "site", "device", "__name__"].map(str::to_owned).to_vec(),
        aggregates: ["avg", "p99.9", "avg", "mean"].map(str::to_owned).to_vec(),
        ..request()
    };
    let plan = Plan::new(request).unwrap();
    assert_eq!(plan.range, Range { from_ms: 1_000, to_ms: 61_000, step_ms: Some(10_000) });
    assert_eq!(plan.by, ["device", "site", "__name__"]);
    let names: Vec<_> = plan.aggregates.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["avg", "p99.9", "mean"]);
    let defaults = Plan::new(AggregateRequest { step_ms: 0, ..self::request() }).unwrap();
    assert_eq!(defaults.range.step_ms, None);
    assert_eq!(defaults.aggregates.len(), AGGREGATES_DEFAULT.len());
}

/// A histogram with bounds 1 to `bounds`.
fn histogram(bounds: u32) -> String {
    format!("histogram({})", (1..=bounds).map(|bound| bound.to_string()).collect::<Vec<_>>().join(","))
}

#[test]
fn a_histogram_becomes_columns() {
    let plan = |aggregates: &[&str]| {
        let aggregates = aggregates.iter().map(|name| (*name).to_owned()).collect();
        Plan::new(AggregateRequest { aggregates, ..request() }).unwrap()
    };
    let classes = plan(&["below(1)", "histogram(1,2)"]);
    let names: Vec<_> = classes.aggregates.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["below(1)", "between(1,2)", "at_least(2)"], "each once");
    assert_eq!(plan(&[&histogram(63)]).aggregates.len(), 64);
    assert_eq!(classes.needs(), Needs::default());
    let bounds = plan(&["time_above(5)", "time_below(5)", "time_below(7)", "rate"]).needs();
    assert_eq!(bounds.order_bounds, Some(vec![5.0, 7.0]));
    assert_eq!(plan(&["last_state"]).needs().order_bounds, Some(Vec::new()));
    let parts = Parts::MOMENTS.with(Parts::DISTINCT);
    assert_eq!(plan(&["kurtosis", "distinct"]).needs(), Needs { parts, order_bounds: None });
}

#[test]
fn a_point_spans_the_windows_that_start_in_it() {
    let range = Range { from_ms: 1_000, to_ms: 61_000, step_ms: Some(20_000) };
    let ten = Width::from_millis(10_000).unwrap();
    let spans = |range: Range, point_ms| {
        let (from, to) = range.windows(point_ms, ten);
        (from.as_millis(), to.as_millis())
    };
    assert_eq!(spans(range, 0), (10_000, 20_000), "the first window starts before the range");
    assert_eq!(spans(range, 20_000), (20_000, 40_000));
    assert_eq!(spans(range, 60_000), (60_000, 70_000), "the last window ends after the range");
    assert_eq!(spans(Range { step_ms: None, ..range }, 1_000), (10_000, 70_000));
    let negative = Range { from_ms: -15_000, to_ms: -10_000, step_ms: None };
    assert_eq!(spans(negative, -15_000), (-10_000, -10_000), "no window starts there");
}

#[test]
fn errors_are_named() {
    type Spoil = fn(&mut AggregateRequest);
    let cases: [(Spoil, &str); 13] = [
        (|r| r.selector = "m{".into(), "cannot be read"),
        (|r| r.to_ms = r.from_ms, "range is empty"),
        (|r| r.from_ms = i64::MIN, "from is"),
        (|r| r.to_ms = i64::MAX, "to is"),
        (|r| r.step_ms = -1, "step is -1 ms"),
        (|r| r.step_ms = i64::MAX, "step is 9223372036854775807 ms"),
        (|r| r.aggregates = vec!["p200".into()], "unknown aggregate"),
        (|r| r.aggregates = vec!["p1".into(); 65], "65 aggregates"),
        (|r| r.aggregates = vec![histogram(64)], "65 aggregates"),
        (|r| r.aggregates = vec!["between(2,1)".into()], "must increase"),
        (|r| r.by = vec!["a b".into()], "not a label name"),
        (|r| r.by = vec!["__secret".into()], "not a label name"),
        (|r| r.by = vec!["a".into(); 33], "33 labels in by"),
    ];
    for (spoil, part) in cases {
        let mut request = request();
        spoil(&mut request);
        let message = Plan::new(request).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn points_are_aligned_to_the_epoch() {
    let range = Range { from_ms: 1_000, to_ms: 61_000, step_ms: Some(10_000) };
    assert_eq!(range.point(1_000), 0);
    assert_eq!(range.point(9_999), 0);
    assert_eq!(range.point(10_000), 10_000);
    assert_eq!(range.point(-1), -10_000);
    assert_eq!(range.points(), 7);
    assert_eq!(Range { from_ms: 0, to_ms: 60_000, ..range }.points(), 6);
    let whole = Range { step_ms: None, ..range };
    assert_eq!((whole.point(40_000), whole.points()), (1_000, 1));
}

#[test]
fn only_the_overlap_with_windows_is_read() {
    let range = Range { from_ms: 1_000, to_ms: 61_000, step_ms: Some(10_000) };
    assert_eq!(range.overlap(-5_000, 20_000), Some(Range { to_ms: 20_001, ..range }));
    assert_eq!(range.overlap(60_999, i64::MAX), Some(Range { from_ms: 60_999, ..range }));
    assert_eq!(range.overlap(61_000, 90_000), None);
    assert_eq!(range.overlap(-5_000, 999), None);
}

#[test]
fn the_limits_of_time_do_not_overflow() {
    let most = i64::MAX / 1_000_000;
    let range = Range { from_ms: -most, to_ms: most, step_ms: Some(STEP_MAX_MS) };
    assert_eq!(range.points(), 2);
    assert_eq!(range.split(4_096).1, None);
    let fine = Range { step_ms: Some(1), ..range };
    assert_eq!(fine.points(), 2 * most as u64);
    assert_eq!(fine.split(u64::MAX).0.from_ms, -most);
}

proptest! {
    #[test]
    fn slices_cover_the_range_and_cut_no_point(
        from in -100_000_i64..100_000, length in 1_i64..50_000, step in 1_i64..5_000, max in 1_u64..50,
    ) {
        let range = Range { from_ms: from, to_ms: from + length, step_ms: Some(step) };
        let (mut slices, mut rest) = (Vec::new(), Some(range));
        while let Some(range) = rest {
            let (first, more) = range.split(max);
            slices.push(first);
            rest = more;
        }
        prop_assert_eq!(slices.first().unwrap().from_ms, range.from_ms);
        prop_assert_eq!(slices.last().unwrap().to_ms, range.to_ms);
        for pair in slices.windows(2) {
            prop_assert_eq!(pair[0].to_ms, pair[1].from_ms);
            prop_assert_ne!(range.point(pair[0].to_ms - 1), range.point(pair[1].from_ms));
        }
        prop_assert!(slices.iter().all(|slice| slice.points() <= max));
        prop_assert_eq!(slices.iter().map(Range::points).sum::<u64>(), range.points());
    }
}
