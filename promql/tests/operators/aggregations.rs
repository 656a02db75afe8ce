//! Aggregations over groups.

use crate::{check, error, instant, lines, notes};

const DATA: &str = r#"
    x{a="1",b="p"} 1 2 _ NaN
    x{a="1",b="q"} 3 _ _ 5
    x{a="2",b="p"} -Inf 4 7 6
"#;

#[test]
fn groups_keep_or_drop_labels() {
    check("sum(x)", DATA, "{} -inf 6 7 NaN");
    check("sum by (a) (x)", DATA, "{a=\"1\"} 4 2 _ NaN\n{a=\"2\"} -inf 4 7 6");
    check("sum without (a) (x)", DATA, "{b=\"p\"} -inf 6 7 NaN\n{b=\"q\"} 3 _ _ 5");
    check("sum by (__name__) (x)", DATA, "{__name__=\"x\"} -inf 6 7 NaN");
    check("count by (none) (x)", DATA, "{} 3 2 1 3");
    check("sum(none)", DATA, "");
    check("count(none)", DATA, "");
}

#[test]
fn each_operator_has_its_rules() {
    check("max(x)", DATA, "{} 3 4 7 6");
    check("min(x)", DATA, "{} -inf 2 7 5");
    check("avg by (a) (x)", DATA, "{a=\"1\"} 2 2 _ NaN\n{a=\"2\"} -inf 4 7 6");
    check("group(x)", DATA, "{} 1 1 1 1");
    check("stddev by (a) (x)", DATA, "{a=\"1\"} 1 0 _ NaN\n{a=\"2\"} NaN 0 0 0");
    check("stdvar(x)", DATA, "{} NaN 1 0 NaN");
    check("quantile(0.5, x)", DATA, "{} 1 3 7 5");
    check("quantile by (a) (scalar(count(x)) / 6, x)", DATA, "{a=\"1\"} 2 2 _ NaN\n{a=\"2\"} NaN 4 7 6");
}

#[test]
fn a_parameter_of_a_quantile_may_be_wrong() {
    check("quantile(-1, x)", DATA, "{} -inf -inf -inf -inf");
    check("quantile(2, x)", DATA, "{} inf inf inf inf");
    check("quantile(NaN, x)", DATA, "{} NaN NaN NaN NaN");
    let warning = "PromQL warning: quantile value should be between 0 and 1, got 2";
    assert!(notes("quantile(2, x)", DATA)[0].starts_with(warning), "{:?}", notes("quantile(2, x)", DATA));
    assert!(notes("quantile(0.2, x)", DATA).is_empty());
}

#[test]
fn the_greatest_are_chosen_at_each_step() {
    let chosen = "{__name__=\"x\",a=\"1\",b=\"q\"} 3 _ _ _\n{__name__=\"x\",a=\"2\",b=\"p\"} _ 4 7 6";
    check("topk(1, x)", DATA, chosen);
    check("topk(1.9, x)", DATA, chosen);
    check("topk(0, x)", DATA, "");
    check(
        "bottomk by (b) (1, x)",
        DATA,
        r#"
        {__name__="x",a="1",b="p"} _ 2 _ _
        {__name__="x",a="1",b="q"} 3 _ _ 5
        {__name__="x",a="2",b="p"} -inf _ 7 6"#,
    );
    // How many may change from step to step.
    check("topk(scalar(count(x)) - 2, x)", DATA, chosen.replace("_ 4 7 6", "_ _ _ 6").as_str());
    assert_eq!(
        instant("topk(2, x)", DATA),
        [r#"{__name__="x",a="1",b="q"} 3"#, r#"{__name__="x",a="1",b="p"} 1"#]
    );
    assert_eq!(
        instant("bottomk(2, x)", DATA),
        [r#"{__name__="x",a="2",b="p"} -inf"#, r#"{__name__="x",a="1",b="p"} 1"#]
    );
    assert_eq!(error("topk(NaN, x)", DATA), "Parameter value is NaN");
    assert_eq!(error("topk(1e30, x)", DATA), "Scalar value 1e+30 overflows int64");
}

#[test]
fn some_series_of_each_group_are_kept() {
    check(
        "limitk by (b) (1, x)",
        DATA,
        r#"
        {__name__="x",a="1",b="p"} 1 2 _ NaN
        {__name__="x",a="1",b="q"} 3 _ _ 5
        {__name__="x",a="2",b="p"} _ _ 7 _"#,
    );
    let below = lines("limit_ratio(0.4, x)", DATA);
    let above = lines("limit_ratio(-0.6, x)", DATA);
    let mut both = [below, above].concat();
    both.sort();
    assert_eq!(both, lines("x", DATA));
    check(
        "limit_ratio(1, x) - x",
        DATA,
        r#"
        {a="1",b="p"} 0 0 _ NaN
        {a="1",b="q"} 0 _ _ 0
        {a="2",b="p"} NaN 0 0 0"#,
    );
    check("limit_ratio(0, x)", DATA, "");
    let warning = "PromQL warning: ratio value should be between -1 and 1, got 3, capping to 1";
    assert!(notes("limit_ratio(3, x)", DATA)[0].starts_with(warning));
}

#[test]
fn values_are_counted() {
    let data = "x{a=\"1\"} 1e21 2\nx{a=\"2\"} 1e21 NaN\nx{a=\"3\"} -0 NaN";
    check(
        "count_values(\"v\", x)",
        data,
        r#"
        {v="-0"} 1 _
        {v="1000000000000000000000"} 2 _
        {v="2"} _ 1
        {v="NaN"} _ 2"#,
    );
    // The label is replaced first, then the series are grouped.
    check(
        "count_values by (a) (\"a\", x)",
        data,
        r#"
        {a="-0"} 1 _
        {a="1000000000000000000000"} 2 _
        {a="2"} _ 1
        {a="NaN"} _ 2"#,
    );
    check("count_values without (v) (\"v\", x)", data, "{a=\"1\"} 1 1\n{a=\"2\"} 1 1\n{a=\"3\"} 1 1");
    check("count_values without (a) (\"__name__\", x)", data, "{} 3 3");
}

#[test]
fn windows_are_merged_counted_or_ignored() {
    let data = "w{a=\"1\"} [1;2] [5]\nw{a=\"2\"} [3] _\nx{a=\"3\"} _ 7";
    check("sum(w)", data, "{} [3;6] [1;5]");
    check("count(w)", data, "{} 2 1");
    check("group(w)", data, "{} 1 1");
    check("max(w)", data, "");
    let info = "PromQL info: ignored histogram in max aggregation";
    assert!(notes("max(w)", data)[0].starts_with(info));
    // A sum of both kinds is none.
    check("sum({a=~\".+\"})", data, "{} [3;6] _");
    let mixed = notes("sum({a=~\".+\"})", data);
    let warning = "PromQL warning: encountered a mix of histograms and floats for aggregation";
    assert!(mixed.iter().any(|note| note.starts_with(warning)), "{mixed:?}");
    check("avg(w)", data, "");
    assert!(notes("avg(w)", data)[0].contains("windows are not scaled"));
    check("limitk(1, w)", data, "{__name__=\"w\",a=\"1\"} [2;3] [1;5]");
}
