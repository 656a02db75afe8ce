//! Operators between scalars and vectors.

use crate::{check, error, instant, notes};

const DATA: &str = r#"
    l{a="1",b="p"} 1 2 3
    l{a="1",b="q"} 4 _ 6
    l{a="2",b="p"} 7 8 _
    r{a="1",c="s"} 2 2 _
    r{a="2",c="t"} 7 1 1
"#;

#[test]
fn numbers_and_vectors() {
    check("-1^2", DATA, "-1 -1 -1");
    check("2^3^2", DATA, "512 512 512");
    check("-4 % 2", DATA, "-0 -0 -0");
    check("1 > bool 2", DATA, "0 0 0");
    check("r * 2", DATA, "{a=\"1\",c=\"s\"} 4 4 _\n{a=\"2\",c=\"t\"} 14 2 2");
    check("1 / r", "r{} 2 0 -0", "{} 0.5 inf -inf");
    check("r atan2 0", "r{} 0 _ _", "{} 0 _ _");
    check("2 < r", DATA, "{__name__=\"r\",a=\"2\",c=\"t\"} 7 _ _");
    check("r > 2", DATA, "{__name__=\"r\",a=\"2\",c=\"t\"} 7 _ _");
    check("2 < bool r", DATA, "{a=\"1\",c=\"s\"} 0 0 _\n{a=\"2\",c=\"t\"} 1 0 0");
    check("r != NaN", "r{} 1 NaN _", "{__name__=\"r\"} 1 NaN _");
    check("r + scalar(count(r))", "r{} 1 2 _", "{} 2 3 _");
    let same = "vector cannot contain metrics with the same labelset";
    assert_eq!(error("{__name__=~\"v|w\"} + 0", "v{} 1 _\nw{} 1 2"), same);
    check("{__name__=~\"v|w\"} + 0", "v{} 1 _\nw{} _ 2", "{} 1 2");
    check("{__name__=~\"v|w\"} > 0", "v{} 1 _\nw{} 1 2", "{__name__=\"v\"} 1 _\n{__name__=\"w\"} 1 2");
}

#[test]
fn one_matches_one() {
    let data = "l{a=\"1\"} 1 2 3\nl{a=\"2\"} 4 5 6\nr{a=\"1\"} 10 _ 2\nr{a=\"3\"} 1 1 1";
    check("l + r", data, "{a=\"1\"} 11 _ 5");
    check("l > r", data, "{__name__=\"l\",a=\"1\"} _ _ 3");
    check("l > on(a) r", data, "{a=\"1\"} _ _ 3");
    check("l > bool r", data, "{a=\"1\"} 0 _ 1");
    check("l - ignoring(b) r", data, "{a=\"1\"} -9 _ 1");
    check("l + none", data, "");
    check("sum(l) / sum(r)", data, "{} 0.45454545454545453 7 3");
    check("l atan2 r", "l{} 0 1 _\nr{} -1 0 _", "{} 3.141592653589793 1.5707963267948966 _");
}

#[test]
fn many_match_one_only_if_asked() {
    let many = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
    assert_eq!(error("l + on(a) r", DATA), many);
    // Also where a comparison would leave one of them.
    assert_eq!(error("l > on(a) r", DATA), many);
    check(
        "l * on(a) group_left(c) r",
        DATA,
        r#"
        {a="1",b="p",c="s"} 2 4 _
        {a="1",b="q",c="s"} 8 _ _
        {a="2",b="p",c="t"} 49 8 _"#,
    );
    check(
        "r * on(a) group_right l",
        DATA,
        r#"
        {a="1",b="p"} 2 4 _
        {a="1",b="q"} 8 _ _
        {a="2",b="p"} 49 8 _"#,
    );
    // A comparison gives the value of the left operand, with the labels of the many.
    check(
        "r < on(a) group_right l",
        DATA,
        "{__name__=\"l\",a=\"1\",b=\"q\"} 2 _ _\n{__name__=\"l\",a=\"2\",b=\"p\"} _ 1 _",
    );
    // A label that the one side lacks is removed.
    check("l * on(a) group_left(b) r", "l{a=\"1\",b=\"p\"} 3\nr{a=\"1\"} 2", "{a=\"1\"} 6");
    let unique = "multiple matches for labels: grouping labels must ensure unique matches";
    assert_eq!(error("l * on(a) group_left(b) r", DATA), unique);
}

#[test]
fn duplicates_on_the_one_side_are_an_error() {
    let data = "l{a=\"1\"} 1 1\nr{a=\"2\",b=\"p\"} 1 _\nr{a=\"2\",b=\"q\"} 1 1";
    let expected = "found duplicate series for the match group {a=\"2\"} on the right hand-side of the operation: \
                    [{__name__=\"r\", a=\"2\", b=\"p\"}, {__name__=\"r\", a=\"2\", b=\"q\"}];many-to-many matching not \
                    allowed: matching labels must be unique on one side";
    // Though nothing on the other side matches them.
    assert_eq!(error("l + on(a) r", data), expected);
    assert!(error("r * on(a) group_right l", data).contains("on the left hand-side"));
    // But not where the other side is empty, or where they take turns.
    check("l + on(a) r", &data.replace("} 1 1\nr{a=\"2\",b=\"p\"}", "} _ 1\nr{a=\"2\",b=\"p\"}"), "");
    check("l + on(a) r", "l{a=\"1\"} 1 1\nr{a=\"1\",b=\"p\"} 1 _\nr{a=\"1\",b=\"q\"} _ 2", "{a=\"1\"} 2 3");
}

#[test]
fn sets_are_decided_at_each_step() {
    check(
        "l and on(a) r",
        DATA,
        r#"
        {__name__="l",a="1",b="p"} 1 2 _
        {__name__="l",a="1",b="q"} 4 _ _
        {__name__="l",a="2",b="p"} 7 8 _"#,
    );
    check(
        "l unless on(a) r",
        DATA,
        "{__name__=\"l\",a=\"1\",b=\"p\"} _ _ 3\n{__name__=\"l\",a=\"1\",b=\"q\"} _ _ 6",
    );
    check(
        "r or on(a) l",
        DATA,
        r#"
        {__name__="l",a="1",b="p"} _ _ 3
        {__name__="l",a="1",b="q"} _ _ 6
        {__name__="r",a="1",c="s"} 2 2 _
        {__name__="r",a="2",c="t"} 7 1 1"#,
    );
    // Without labels the name does not count.
    check("v and w", "v{} 1 2\nw{} _ 0", "{__name__=\"v\"} _ 2");
    check("v or w", "v{} 1 _\nw{} 5 6", "{__name__=\"v\"} 1 _\n{__name__=\"w\"} _ 6");
    check("l or l", "l{} 1 _ 3", "{__name__=\"l\"} 1 _ 3");
    check("l unless l", "l{} 1 _ 3", "");
    check("a or b and c", "a{} 1 _\nb{} 2 2\nc{} 3 _", "{__name__=\"a\"} 1 _");
}

#[test]
fn a_missing_side_is_filled() {
    let data = "l{a=\"1\"} 10 10\nl{a=\"2\"} 20 _\nr{a=\"1\"} 1 _\nr{a=\"3\"} 3 3";
    check("l + fill(0) r", data, "{a=\"1\"} 11 10\n{a=\"2\"} 20 _\n{a=\"3\"} 3 3");
    check("l + fill_right(100) r", data, "{a=\"1\"} 11 110\n{a=\"2\"} 120 _");
    check("l - fill_left(0) r", data, "{a=\"1\"} 9 _\n{a=\"3\"} -3 -3");
    check("l + fill(0) none", data, "{a=\"1\"} 10 10\n{a=\"2\"} 20 _");
    check("none + fill_right(0) l", data, "");
    check("l > fill_right(15) r", data, "{__name__=\"l\",a=\"1\"} 10 _\n{__name__=\"l\",a=\"2\"} 20 _");
    // From Prometheus' own scripts: what is filled of the one side has no label to give.
    let data = "q{m=\"g\",s=\"200\"} 100\nq{m=\"p\",s=\"404\"} 10\nt{s=\"200\",o=\"x\"} 1000\nt{s=\"500\",o=\"y\"} 50";
    check(
        "q + on(s) group_left(o) fill(1) t",
        data,
        r#"
        {m="g",o="x",s="200"} 1100
        {m="p",s="404"} 11
        {o="y",s="500"} 51"#,
    );
    let data =
        "i{c=\"0\",n=\"a\"} 1\ni{c=\"0\",n=\"b\"} 1\ni{c=\"1\",n=\"a\"} 1\nm{n=\"a\"} 100\nm{n=\"c\"} 300";
    check(
        "m * on(n) group_right fill_left(1) i",
        data,
        "{c=\"0\",n=\"a\"} 100\n{c=\"1\",n=\"a\"} 100\n{n=\"c\"} 300",
    );
}

#[test]
fn windows_are_added_and_otherwise_left_out() {
    let data = "w{a=\"1\"} [1;2] [5]\nw{a=\"2\"} [3] _\nx{a=\"1\"} 7 _";
    check("w + on() group_left sum(w)", data, "{a=\"1\"} [5;9] [2;10]\n{a=\"2\"} [4;9] _");
    check("w * 2", data, "");
    let info =
        "PromQL info: incompatible sample types encountered for binary operator \"*\": histogram * float";
    assert!(notes("w * 2", data)[0].starts_with(info), "{:?}", notes("w * 2", data));
    check("w == x", data, "");
    let info =
        "PromQL info: incompatible sample types encountered for binary operator \"==\": histogram == float";
    assert!(notes("w == x", data)[0].starts_with(info));
    check("w and x", data, "{__name__=\"w\",a=\"1\"} [2;3] _");
    check("w unless x", data, "{__name__=\"w\",a=\"1\"} _ [1;5]\n{__name__=\"w\",a=\"2\"} [1;3] _");
    check("-w", data, "");
    assert!(notes("-w", data)[0].contains("windows are not scaled"));
}

#[test]
fn an_order_by_value_stays() {
    let data = "x{a=\"1\"} 1\nx{a=\"2\"} 3\nx{a=\"3\"} 2";
    assert_eq!(instant("sort_desc(x) > 1", data), [r#"{__name__="x",a="2"} 3"#, r#"{__name__="x",a="3"} 2"#]);
    assert_eq!(instant("limitk(1, sort_desc(x))", data), [r#"{__name__="x",a="2"} 3"#]);
    assert_eq!(instant("topk(2, x) * 10", data), [r#"{a="2"} 30"#, r#"{a="3"} 20"#]);
}
