use catchment_proto::wire::CalendarStep;

use super::{columns::AGGREGATES_DEFAULT, *};

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
    assert_eq!(plan.range, Range { from_ms: 1_000, to_ms: 61_000, steps: Steps::Every(10_000) });
    assert_eq!(plan.grouping, Grouping::By(["device", "site", "__name__"].map(str::to_owned).to_vec()));
    assert_eq!((plan.selectors.len(), plan.order, plan.fill), (1, None, Fill::None));
    let names: Vec<_> = plan.aggregates.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["avg", "p99.9", "mean"]);
    let defaults = Plan::new(AggregateRequest { step_ms: 0, ..self::request() }).unwrap();
    assert_eq!(defaults.range.steps, Steps::Whole);
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

fn days(count: u32) -> Option<CalendarStep> {
    Some(CalendarStep { unit: 1, count })
}

#[test]
fn calendar_steps_become_starts() {
    let plan = |time_zone: &str| {
        let request = AggregateRequest {
            step_ms: 0,
            calendar_step: days(1),
            time_zone: time_zone.to_owned(),
            to_ms: 86_400_000,
            ..request()
        };
        Plan::new(request).unwrap()
    };
    assert_eq!(plan("").range.steps, Steps::At([0, 86_400_000].into()));
    let hour = 3_600_000;
    assert_eq!(plan("Europe/Berlin").range.steps, Steps::At([-hour, 23 * hour, 47 * hour].into()));
    assert_eq!(plan("Europe/Berlin").bytes(), 24);
}

#[test]
fn an_order_is_a_number_over_the_whole_range() {
    let plan = |order: &str, top, aggregates: &[&str]| {
        let aggregates = aggregates.iter().map(|name| (*name).to_owned()).collect();
        Plan::new(AggregateRequest { order: order.to_owned(), top, aggregates, ..request() }).unwrap()
    };
    let rates = plan("sum/rate", 7, &["count"]);
    let order = rates.order.clone().unwrap();
    assert_eq!(
        (order.most, order.by.clone().map(|by| by.to_string())),
        (Some(7), Some("sum/rate".to_owned()))
    );
    let first = rates.of_order(&order);
    assert_eq!((first.range.points(), first.aggregates.len(), first.columns), (1, 1, false));
    assert_eq!((first.resolution, rates.resolution), (Merged::OnlyWithoutWindows, Merged::Allowed));
    assert!(first.needs().order_bounds.is_some());
    assert_eq!(plan("", 2, &[]).order, Some(Order { by: None, most: Some(2), ascending: false }));
    assert_eq!(plan("p99", 0, &[]).order.unwrap().most, None);
}

#[test]
fn errors_are_named() {
    type Spoil = fn(&mut AggregateRequest);
    let cases: [(Spoil, &str); 27] = [
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
        (|r| r.without = vec!["a".into(); 33], "33 labels in without"),
        (|r| r.without = vec!["".into()], "without: \"\" is not a label name"),
        (|r| (r.by, r.without) = (vec!["a".into()], vec!["b".into()]), "by and in without"),
        (|r| r.more_selectors = vec!["m".into(); 16], "17 selectors, at most 16"),
        (|r| r.more_selectors = vec!["m{".into()], "cannot be read"),
        (|r| r.calendar_step = days(1), "both step_ms and calendar_step"),
        (|r| (r.step_ms, r.calendar_step) = (0, days(0)), "unit 1, count 0"),
        (|r| (r.step_ms, r.calendar_step) = (0, Some(CalendarStep { unit: 9, count: 1 })), "unit 9, count 1"),
        (|r| (r.step_ms, r.calendar_step, r.to_ms) = (0, days(1), 9_000_000_000_000), "more than 36600"),
        (|r| r.time_zone = "Europe/Berln".into(), "did you mean Europe/Berlin?"),
        (|r| r.fill = 9, "fill 9 is not known"),
        (|r| r.order = "last_state".into(), "no single number"),
        (|r| r.order = "histogram(1,2)".into(), "no single number"),
        (|r| r.order = "p200".into(), "unknown aggregate"),
    ];
    for (spoil, part) in cases {
        let mut request = request();
        spoil(&mut request);
        let message = Plan::new(request).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
