//! Functions of values.

use crate::{check, error, instant, notes};

const DATA: &str = r#"
    x{a="1",b="p"} 1.5 -1.5 _ NaN
    x{a="2",b="q"} 3 4 5 6
"#;

#[test]
fn functions_of_numbers_drop_the_name() {
    check("round(x)", DATA, "{a=\"1\",b=\"p\"} 2 -1 _ NaN\n{a=\"2\",b=\"q\"} 3 4 5 6");
    check("round(x, 5)", "x{} 12 13 -3", "{} 10 15 -5");
    check("abs(x{a=\"1\"})", DATA, "{a=\"1\",b=\"p\"} 1.5 1.5 _ NaN");
    check("sgn(x)", "x{} -2 0 NaN", "{} -1 0 NaN");
    check("-x", "x{} -2 0 NaN", "{} 2 -0 NaN");
    check("clamp(x, 2, 4)", DATA, "{a=\"1\",b=\"p\"} 2 2 _ NaN\n{a=\"2\",b=\"q\"} 3 4 4 4");
    check("clamp(x, 3, 1)", DATA, "");
    check("clamp(x, scalar(x{a=\"2\"}), 4.5)", DATA, "{a=\"1\",b=\"p\"} 3 4 _ _\n{a=\"2\",b=\"q\"} 3 4 _ _");
    check("clamp_min(x, 2)", DATA, "{a=\"1\",b=\"p\"} 2 2 _ NaN\n{a=\"2\",b=\"q\"} 3 4 5 6");
    check("clamp_max(x, 2)", DATA, "{a=\"1\",b=\"p\"} 1.5 -1.5 _ NaN\n{a=\"2\",b=\"q\"} 2 2 2 2");
    let same = "vector cannot contain metrics with the same labelset";
    assert_eq!(error("abs({__name__=~\"v|w\"})", "v{} 1\nw{} 1"), same);
    assert_eq!(error("-{__name__=~\"v|w\"}", "v{} 1\nw{} 1"), same);
    check("-{__name__=~\"v|w\"}", "v{} 1 _\nw{} _ 2", "{} -1 -2");
    check("abs(w)", "w{} [1;2]", "");
}

#[test]
fn scalars_and_vectors() {
    check("scalar(x)", DATA, "NaN NaN 5 NaN");
    check("scalar(none)", DATA, "NaN NaN NaN NaN");
    check("vector(time())", DATA, "{} 600 660 720 780");
    check("time()", DATA, "600 660 720 780");
    check("pi()", DATA, "3.141592653589793 3.141592653589793 3.141592653589793 3.141592653589793");
    check("absent(x{a=\"1\",c!=\"z\"})", DATA, "{a=\"1\"} _ _ 1 _");
    check("absent(x{a=\"1\",a=\"2\",b=\"q\"})", DATA, "{b=\"q\"} 1 1 1 1");
    check("absent(sum(x{a=\"9\"}))", DATA, "{} 1 1 1 1");
    check("absent(x)", DATA, "");
}

#[test]
fn times_have_parts() {
    check("minute()", DATA, "{} 10 11 12 13");
    check("year(vector(0))", DATA, "{} 1970 1970 1970 1970");
    check("day_of_week(x * 0 + 86400 * 3)", "x{a=\"1\"} 1", "{a=\"1\"} 0");
    check("days_in_month(x)", "x{} 1709164800", "{} 29");
    check("timestamp(x * 1)", DATA, "{a=\"1\",b=\"p\"} 600 660 _ 780\n{a=\"2\",b=\"q\"} 600 660 720 780");
}

#[test]
fn a_timestamp_is_that_of_the_reading() {
    // Readings count as samples one millisecond later.
    check("timestamp(x{a=\"1\"})", DATA, "{a=\"1\",b=\"p\"} 599.999 659.999 _ 779.999");
    check("timestamp(x{a=\"2\"} offset 1m)", DATA, "{a=\"2\",b=\"q\"} _ 599.999 659.999 719.999");
    check("timestamp(x{a=\"2\"} @ 660)", DATA, "{a=\"2\",b=\"q\"} 659.999 659.999 659.999 659.999");
}

#[test]
fn labels_are_replaced() {
    let data = "x{s=\"ab-12\"} 1\nx{s=\"no\"} 2";
    check(
        "label_replace(x, \"d\", \"$2$1\", \"s\", \"([a-z]+)-(.*)\")",
        data,
        r#"
        {__name__="x",d="12ab",s="ab-12"} 1
        {__name__="x",s="no"} 2"#,
    );
    // Group `1x` does not exist: the label is removed.
    check("label_replace(x{s=\"no\"}, \"s\", \"$1x\", \"s\", \"(.*)\")", data, "{__name__=\"x\"} 2");
    check(
        "label_replace(x{s=\"no\"}, \"s\", \"${1}x\", \"s\", \"(.*)\")",
        data,
        "{__name__=\"x\",s=\"nox\"} 2",
    );
    // The expression must match as a whole; a missing label is empty.
    check("label_replace(x{s=\"no\"}, \"d\", \"v\", \"s\", \"n\")", data, "{__name__=\"x\",s=\"no\"} 2");
    check(
        "label_replace(x{s=\"no\"}, \"d\", \"v\", \"q\", \"\")",
        data,
        "{__name__=\"x\",d=\"v\",s=\"no\"} 2",
    );
    check(
        "label_replace(x{s=\"no\"}, \"__name__\", \"y\", \"s\", \".*\")",
        data,
        "{__name__=\"y\",s=\"no\"} 2",
    );
    let same = "vector cannot contain metrics with the same labelset";
    assert_eq!(error("label_replace(x, \"s\", \"\", \"s\", \".*\")", data), same);
    let regex = error("label_replace(x, \"s\", \"\", \"s\", \"(.*\")", data);
    assert!(regex.contains("invalid regular expression in label_replace()"), "{regex}");
}

#[test]
fn labels_are_joined() {
    let data = "x{a=\"1\",c=\"3\"} 1";
    check(
        "label_join(x, \"d\", \"-\", \"a\", \"b\", \"c\")",
        data,
        "{__name__=\"x\",a=\"1\",c=\"3\",d=\"1--3\"} 1",
    );
    check("label_join(x, \"a\", \"-\")", data, "{__name__=\"x\",c=\"3\"} 1");
}

#[test]
fn a_value_of_a_label_cannot_grow_without_bound() {
    let data = format!("x{{a=\"{}\"}} 1", "y".repeat(1000));
    let doubled = |inner: String| format!("label_join({inner}, \"a\", \"\", \"a\", \"a\", \"a\", \"a\")");
    let text = (0..5).fold("x".to_owned(), |inner, _| doubled(inner));
    let expected = "the value of label \"a\" would have 256000 bytes, more than 65536";
    assert_eq!(error(&text, &data), expected);
    let text = format!("label_replace(x, \"b\", \"{}\", \"a\", \"(.*)\")", "$1".repeat(4000));
    assert!(error(&text, &data).contains("more than 65536"));
}

#[test]
fn an_answer_at_one_time_is_sorted() {
    let data = "x{a=\"10\"} 2 1\nx{a=\"9\"} NaN 1\nx{a=\"b\"} 1 1\nx{a=\"c\"} 3 1";
    let order = |text: &str| {
        let lines = instant(text, data).into_iter();
        lines.map(|line| line.split('"').nth(3).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order("sort(x)"), ["b", "10", "c", "9"]);
    assert_eq!(order("sort_desc(x)"), ["c", "10", "b", "9"]);
    assert_eq!(order("sort_by_label(x, \"a\")"), ["9", "10", "b", "c"]);
    assert_eq!(order("sort_by_label_desc(x, \"a\")"), ["c", "b", "10", "9"]);
    check(
        "sort(x)",
        "x{a=\"1\"} 2 1\nx{a=\"2\"} 1 2",
        "{__name__=\"x\",a=\"1\"} 2 1\n{__name__=\"x\",a=\"2\"} 1 2",
    );
    let warning =
        "PromQL warning: sort is ineffective for range queries since results are always ordered by labels";
    assert!(notes("sort(x)", data)[0].starts_with(warning));
}
