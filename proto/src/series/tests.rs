use super::*;

#[test]
fn metric_names_follow_the_pattern() {
    assert!(MetricName::new("temperature").is_ok());
    assert!(MetricName::new("_x9").is_ok());
    assert!(MetricName::new(&"m".repeat(200)).is_ok());
    assert_eq!(MetricName::new(&"m".repeat(201)), Err(MetricError::TooLong(201)));
    for bad in ["", "9x", "a-b", "a.b", "é", "a b"] {
        assert!(matches!(MetricName::new(bad), Err(MetricError::Pattern(_))), "{bad:?}");
    }
}

#[test]
fn labels_become_canonical() {
    let labels = Labels::new([("room", "3"), ("floor", "2"), ("empty", "")]).unwrap();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("floor", "2"), ("room", "3")]);
    assert_eq!(labels.get("room"), Some("3"));
    assert_eq!(labels.len(), 2);
    assert_eq!(Labels::new([("room", "3"), ("floor", "2")]).unwrap(), labels);
    assert_eq!(Labels::new([("x", "")]).unwrap(), Labels::none());
}

#[test]
fn labels_are_refused_by_rule() {
    let many: Vec<(String, &str)> = (0..17).map(|i| (format!("l{i}"), "v")).collect();
    let pairs = |n: usize| Labels::new(many.iter().take(n).map(|(n, v)| (n.as_str(), *v)));
    assert!(pairs(16).is_ok());
    assert_eq!(pairs(17), Err(LabelsError::TooMany(17)));
    assert_eq!(Labels::new([("site", "x")]), Err(LabelsError::Reserved("site".into())));
    assert_eq!(Labels::new([("__name__", "x")]), Err(LabelsError::Reserved("__name__".into())));
    assert_eq!(Labels::new([("a b", "x")]), Err(LabelsError::Name("a b".into())));
    assert_eq!(Labels::new([("a", "x"), ("a", "y")]), Err(LabelsError::Twice("a".into())));
    let long = "v".repeat(257);
    assert_eq!(Labels::new([("a", long.as_str())]), Err(LabelsError::Value("a".into(), 257)));
}

#[test]
fn a_series_survives_the_wire() {
    let key = SeriesKey {
        device: Name::new("press-17").unwrap(),
        metric: MetricName::new("temperature").unwrap(),
        labels: Labels::new([("room", "a\"b")]).unwrap(),
    };
    assert_eq!(SeriesKey::try_from(&wire::SeriesRef::from(&key)), Ok(key.clone()));
    assert_eq!(key.to_string(), r#"temperature{device="press-17",room="a\"b"}"#);
}
