use super::*;
use crate::parse::parse;

const GRID: Grid = Grid { start_ms: 1_000_000, step_ms: 60_000, count: 11 };

fn plan(text: &str) -> Plan {
    parse(text).and_then(|parsed| Plan::new(&parsed, GRID)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match parse(text).and_then(|parsed| Plan::new(&parsed, GRID)) {
        Ok(plan) => panic!("{text}: {plan:#?}"),
        Err(error) => error.to_string(),
    }
}

/// A plan in short: `!` stands before what is evaluated once.
fn shape(node: &Node) -> String {
    let inner = match &node.operation {
        Operation::Number(number) => number.to_string(),
        Operation::Text(text) => format!("{text:?}"),
        Operation::Selector(of) => selector(of),
        Operation::Negate(of) => format!("-{}", shape(of)),
        Operation::Binary(of) => format!("({} {:?} {})", shape(&of.left), of.operator, shape(&of.right)),
        Operation::Aggregate(of) => {
            let parameter = of.parameter.as_ref().map(|of| shape(of) + ", ").unwrap_or_default();
            format!("{:?}({parameter}{})", of.operator, shape(&of.operand))
        }
        Operation::Over(of) => {
            let parameters: String = of.parameters.iter().map(|of| shape(of) + ", ").collect();
            let range = match &of.range {
                Range::Selector { selector: of, range_ms } => format!("{}[{range_ms}]", selector(of)),
                Range::Subquery { inner, range_ms, step_ms, at_ms, offset_ms } => {
                    let at = at_ms.map(|ms| format!(" @{ms}")).unwrap_or_default();
                    format!("{}[{range_ms}:{step_ms}]{at} -{offset_ms}", shape(inner))
                }
            };
            format!("{}({parameters}{range})", of.function.name())
        }
        Operation::Call(function, arguments) => {
            let arguments: Vec<_> = arguments.iter().map(shape).collect();
            format!("{}({})", function.name(), arguments.join(", "))
        }
    };
    if node.invariant { format!("!{inner}") } else { inner }
}

fn selector(of: &Selector) -> String {
    let at = of.at_ms.map(|ms| format!("@{ms}")).unwrap_or_default();
    let offset = if of.offset_ms == 0 { String::new() } else { format!("-{}", of.offset_ms) };
    let name = of.matchers.iter().find_map(|matcher| match &matcher.test {
        Test::Equal(name) if &*matcher.label == "__name__" => Some(name.to_string()),
        _ => None,
    });
    name.unwrap_or_default() + &at + &offset
}

#[test]
fn nodes_and_what_is_evaluated_once() {
    let cases = [
        ("x", "x"),
        ("((x))", "x"),
        ("x @ 5", "!x@5000"),
        ("x @ -0.2", "!x@-200"),
        ("x @ start() offset 1m", "!x@1000000-60000"),
        ("x offset -1m @ end()", "!x@1600000--60000"),
        ("1", "!1"),
        ("-1 ^ 2", "!-(1 Pow 2)"),
        ("2 ^ 3 ^ 2", "!(2 Pow (3 Pow 2))"),
        ("a or b and c", "(a Or (b And c))"),
        ("x + 1", "(x Add !1)"),
        ("sum(x @ 5) + y", "(!Sum(x@5000) Add y)"),
        ("sum(x @ 5) + abs(y @ 6)", "!(Sum(x@5000) Add abs(y@6000))"),
        ("topk(scalar(y), x @ 5)", "Topk(scalar(y), !x@5000)"),
        ("topk(2, x @ 5)", "!Topk(2, x@5000)"),
        ("time()", "time()"),
        ("pi() * 2", "!(pi() Mul 2)"),
        ("vector(1)", "!vector(1)"),
        ("vector(time())", "vector(time())"),
        ("hour()", "hour()"),
        ("hour(x @ 5)", "!hour(x@5000)"),
        ("timestamp(x @ 5)", "!timestamp(x@5000)"),
        ("timestamp(abs(x @ 5))", "timestamp(!abs(x@5000))"),
        ("rate(x[5m])", "rate(x[300000])"),
        ("rate(x[5m] @ 5)", "!rate(x@5000[300000])"),
        ("quantile_over_time(0.5, x[1.5])", "quantile_over_time(!0.5, x[1500])"),
        ("quantile_over_time(scalar(y), x[5m] @ 5)", "quantile_over_time(scalar(y), x@5000[300000])"),
        ("max_over_time(x[1h:1m])", "max_over_time(x[3600000:60000] -0)"),
        ("max_over_time((x @ 5)[1h:])", "max_over_time(!x@5000[3600000:0] -0)"),
        ("max_over_time((x @ 5)[1h:] @ end())", "!max_over_time(!x@5000[3600000:0] @1600000 -0)"),
        ("max_over_time(x[1h:1m] offset 5m) > 2", "(max_over_time(x[3600000:60000] -300000) Greater !2)"),
        ("max_over_time((x @ start())[1h:])", "max_over_time(!x@1000000[3600000:0] -0)"),
        ("label_replace(x, 'a', '$1', 'b', '(.*)')", "label_replace(x, !\"a\", !\"$1\", !\"b\", !\"(.*)\")"),
        ("{__name__=\"x\"}", "x"),
        ("{\"x\"}", "x"),
        ("round(x)", "round(x)"),
        ("round(x, 5)", "round(x, !5)"),
        ("label_join(x, 'a', ',')", "label_join(x, !\"a\", !\",\")"),
        ("histogram_quantile(0.9, x:window)", "histogram_quantile(!0.9, x:window)"),
    ];
    for (text, wanted) in cases {
        assert_eq!(shape(&plan(text).root), wanted, "{text}");
    }
}

#[test]
fn kinds_are_checked() {
    let cases = [
        ("ln(0)", "1:4: parse error: expected type instant vector in call to function \"ln\", got scalar"),
        (
            "exp(NaN)",
            "1:5: parse error: expected type instant vector in call to function \"exp\", got scalar",
        ),
        (
            "limitk(x, x)",
            "1:8: parse error: expected type scalar in aggregation parameter, got instant vector",
        ),
        (
            "limit_ratio(\"a\", x)",
            "1:13: parse error: expected type scalar in aggregation parameter, got string",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(refused(text), wanted);
    }
    let wrong = [
        "abs(1)",
        "abs(x[5m])",
        "rate(x)",
        "rate(5)",
        "sum(1)",
        "topk(x, x)",
        "count_values(1, x)",
        "1 > 2",
        "1 and 2",
        "x and 1",
        "x + bool y",
        "-\"a\"",
        "-x[5m]",
        "x + x[5m]",
        "\"a\" + 1",
        "x[5m] == 1",
        "abs()",
        "abs(x, y)",
        "clamp(x, 1)",
        "round(x, 1, 2)",
        "label_join(x)",
        "pi(1)",
        "vector(x)",
        "scalar(1)",
        "x + on (a) group_left (a) y",
        "1 + on (a) x",
        "x or group_left () y",
        "x and on (a) group_left (b) y",
        "x or fill (1) y",
        "1 + fill (1) x",
        "(1)[5m:]",
        "\"a\"[5m:]",
        "rate(x[5m])[5m]",
        "sum(x, y)",
        "quantile(x)",
        "histogram_quantile(x, 0.5)",
        "rate(x[5m:1m][5m:1m])",
        "x{a=\"b\" or c=\"d\"}",
        "{a=\"\"}",
        "{}",
        "{a=~\"x\", \"\"=\"y\"}",
        "x{a=~\"(\"}",
        "hour(1)",
        "time(x)",
        "sort_by_label(x, y)",
    ];
    for text in wrong {
        assert!(
            matches!(
                parse(text).and_then(|parsed| Plan::new(&parsed, GRID)),
                Err(crate::PromqlError::Bad(_))
            ),
            "{text}"
        );
    }
}

#[test]
fn what_needs_single_readings_is_refused_by_name() {
    let refusals = [
        ("irate(x[5m])", "1:1: irate is not supported: ", "rate over two windows"),
        ("sum(idelta(x[5m]))", "1:5: idelta is not supported: ", "delta over two windows"),
        ("deriv(x[5m])", "deriv is not supported", "rate"),
        ("predict_linear(x[5m], 1)", "predict_linear is not supported", "delta"),
        ("holt_winters(x[5m], 1, 1)", "holt_winters is not supported", "avg_over_time"),
        ("double_exponential_smoothing(x[5m], 1, 1)", "not supported", "avg_over_time"),
        ("mad_over_time(x[5m])", "not supported", "stddev_over_time"),
        ("info(x)", "not supported", "group_left"),
        ("histogram_quantiles(x, 'q', 0.5, 0.9)", "not supported", "histogram_quantile "),
        ("integral(x[5m])", "not supported", "avg_over_time"),
        ("start_timestamp(x)", "not supported", "ts_of_first_over_time"),
        ("start()", "not supported", "@ start()"),
        ("range()", "not supported", "seconds"),
        ("max_of(1, 2)", "not supported", "clamp_min"),
        ("x[5m]", "1:1: a range vector", "last_over_time(x[5m])"),
        ("(x[5m:])", "a range vector", "last_over_time(x[5m])"),
    ];
    for (text, start, advice) in refusals {
        let refusal = refused(text);
        assert!(refusal.contains(start) && refusal.contains(advice), "{text}: {refusal}");
    }
}

#[test]
fn sums_of_sums_are_pushed_down_and_nothing_else() {
    let group = |text: &str| match plan(text).root.operation {
        Operation::Aggregate(of) => match of.operand.operation {
            Operation::Over(over) => over.group.clone(),
            _ => None,
        },
        _ => None,
    };
    let by = |labels: &[&str]| Some(Grouping::By(labels.iter().map(|label| Arc::from(*label)).collect()));
    assert_eq!(group("sum by (b, a, b) (sum_over_time(x[5m]))"), by(&["a", "b"]));
    assert_eq!(group("sum(count_over_time(x[5m]))"), by(&[]));
    assert_eq!(group("sum((sum_over_time(x[5m] @ 5)))"), by(&[]));
    assert_eq!(group("sum without (a) (sum_over_time(x[5m]))"), Some(Grouping::Without(vec!["a".into()])));
    for text in [
        "sum(avg_over_time(x[5m]))",
        "avg(sum_over_time(x[5m]))",
        "sum(-sum_over_time(x[5m]))",
        "sum(sum_over_time(x[5m:1m]))",
        "count(count_over_time(x[5m]))",
        "sum(rate(x[5m]))",
        // Two metrics with the same labels are an error.
        "sum(sum_over_time({__name__=~\"x|y\"}[5m]))",
        "sum(count_over_time({a=\"b\"}[5m]))",
    ] {
        assert_eq!(group(text), None, "{text}");
    }
}

#[test]
fn operators_and_their_matching() {
    let binary = |text: &str| match plan(text).root.operation {
        Operation::Binary(of) => *of,
        other => panic!("{text}: {other:?}"),
    };
    let of = binary("x > bool on (b, a) group_left (c) fill_right (-2) y");
    assert!(of.returns_bool && of.operator == BinaryOperator::Greater);
    assert_eq!(of.matching.labels, ["a".into(), "b".into()]);
    assert!(of.matching.on);
    assert_eq!(of.matching.cardinality, Cardinality::ManyToOne(vec!["c".into()]));
    assert_eq!(of.matching.fill, Fill { left: None, right: Some(-2.0) });
    assert_eq!(binary("x + ignoring (a) y").matching.labels, ["a".into()]);
    assert!(binary("x + on () y").matching.on);
    assert_eq!(binary("x and y").matching.cardinality, Cardinality::ManyToMany);
    assert_eq!(binary("x atan2 y").operator, BinaryOperator::Atan2);
    assert_eq!(binary("x / 2").matching, Matching::default());
    assert_eq!(binary("x * ignoring () group_right y").matching.cardinality, Cardinality::OneToMany(vec![]));
}

#[test]
fn grids_and_subqueries_are_bounded() {
    let parsed = parse("x").unwrap();
    let on = |count| Plan::new(&parsed, Grid { start_ms: 0, step_ms: 1, count });
    assert!(on(11_001).is_ok());
    assert!(on(11_002).unwrap_err().to_string().contains("exceeded maximum resolution of 11,000 points"));
    assert!(on(0).is_err());
    plan("max_over_time(x[99390:1s])");
    assert!(refused("max_over_time(x[99401:1s])").contains("a subquery of 100001 steps, at most 100000"));
    plan("max_over_time(x[99401:1s] @ 5)");
    assert!(refused("max_over_time(max_over_time(x[10:1ms])[10:1ms])").contains("steps"));
}

#[test]
fn places_reach_the_plan() {
    let text = "sum(rate(x[5m])) > (y)";
    let Operation::Binary(of) = plan(text).root.operation else { panic!() };
    let Operation::Aggregate(sum) = of.left.operation else { panic!() };
    assert_eq!(&text[sum.operand.span.from..sum.operand.span.to], "x[5m]");
    assert_eq!(&text[of.right.span.from..of.right.span.to], "y");
}
