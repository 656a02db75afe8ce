use super::*;
use crate::{Grid, Plan, parse};

fn printed(text: &str) -> String {
    format(&parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// Everything of a plan but the places.
pub(crate) fn without_places(parsed: &Expression) -> Option<String> {
    let plan = Plan::new(parsed, Grid { start_ms: 0, step_ms: 1_000, count: 3 }).ok()?;
    let places = ::regex::Regex::new(r"Span \{[^}]*\}").unwrap();
    Some(places.replace_all(&format!("{:?}", plan.root), "").into_owned())
}

fn plan(text: &str) -> Option<String> {
    without_places(&parse(text).unwrap())
}

#[test]
fn lines_are_those_of_prometheus() {
    let cases = [
        ("x{b='2',a=\"1\"}", "x{a=\"1\",b=\"2\"}"),
        ("x@-1", "x @ -1.000"),
        ("x @ 1.5 offset 90s", "x @ 1.500 offset 1m30s"),
        ("x offset -1h[5m:]", "x offset -1h[5m:]"),
        ("rate(x[300])", "rate(x[5m])"),
        ("x[1h:30]@start() offset 1d", "x[1h:30s] @ start() offset 1d"),
        ("1e3+Inf-(-0)", "1000 + +Inf - (-0)"),
        ("sum(x)by(a,b)", "sum by (a, b) (x)"),
        ("sum by() (x)", "sum(x)"),
        ("sum without() (x)", "sum without () (x)"),
        ("topk(5,x)", "topk(5, x)"),
        ("a+on(b)c", "a + on (b) c"),
        ("a+on()group_left c", "a + on () group_left () c"),
        ("a>bool ignoring(b)group_right(c)d", "a > bool ignoring (b) group_right (c) d"),
        ("a*ignoring(b)fill(0)c", "a * ignoring (b) fill (0) c"),
        ("a*fill_left(1)fill_right(-2)c", "a * fill_left (1) fill_right (-2) c"),
        ("A_b AND c", "A_b and c"),
        ("-  x", "-x"),
        ("{\"a.b\",\"c.d\"=\"e\"}", "{\"c.d\"=\"e\",__name__=\"a.b\"}"),
        ("count_values(`a\\b\n`,x)", "count_values(\"a\\\\b\\n\", x)"),
        ("pi()", "pi()"),
    ];
    for (text, wanted) in cases {
        assert_eq!(printed(text), wanted, "{text}");
        assert_eq!(printed(wanted), wanted);
        assert_eq!(plan(text), plan(wanted), "{text}");
    }
}

#[test]
fn long_expressions_are_split() {
    let text = "histogram_quantile(0.99, sum by (site) (sum_over_time(temperature:window{site=\"berlin\",device=~\"press-.*\"}[5m]))) / \
                (1 + max_over_time(temperature{site=\"berlin\"}[1h:1m]))";
    let wanted = r#"  histogram_quantile(
    0.99,
    sum by (site) (sum_over_time(temperature:window{device=~"press-.*",site="berlin"}[5m]))
  )
/
  (1 + max_over_time(temperature{site="berlin"}[1h:1m]))"#;
    assert_eq!(printed(text), wanted);
    assert_eq!(plan(text), plan(wanted));
    let name = "m".repeat(60);
    let text = format!("-topk(2, (sum(abs({name}) + {name})))");
    let wanted =
        format!("-topk(\n  2,\n  (\n    sum(\n        abs({name})\n      +\n        {name}\n    )\n  )\n)");
    assert_eq!(printed(&text), wanted);
    assert_eq!(plan(&text), plan(&wanted));
}
