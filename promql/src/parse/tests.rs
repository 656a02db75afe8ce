use proptest::prelude::*;

use super::*;
use crate::{format::tests::without_places, plan::Test};

fn refused(text: &str) -> String {
    match parse(text) {
        Ok(expression) => panic!("{text} is {}", crate::format(&expression)),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_makes_the_parser_panic_is_refused_with_its_place() {
    let cases = [
        ("x[1e30]", "1:3: parse error: duration out of range"),
        ("x[5m:1e30]", "1:6: parse error: duration out of range"),
        ("x offset 1e30", "1:10: parse error: duration out of range"),
        ("x offset -1e30", "1:11: parse error: duration out of range"),
        ("x[0]", "1:3: parse error: duration must be greater than 0"),
        ("x[0s]", "1:3: parse error: duration must be greater than 0"),
        ("x[5m:0]", "1:6: parse error: duration must be greater than 0"),
        ("x[1e-10]", "1:3: parse error: duration must be at least 1ms"),
        ("x @ 1e30", "1:5: parse error: timestamp out of bounds for @ modifier: 1e30"),
        ("x[300y]", "1:3: parse error: duration out of range"),
        ("x[1m1h]", "1:3: parse error: not a valid duration string: \"1m1h\""),
    ];
    for (text, wanted) in cases {
        assert_eq!(refused(text), wanted, "{text}");
    }
}

#[test]
fn words_out_of_place_are_named() {
    let cases = [
        ("", "parse error: no expression found in input"),
        ("x offset y", "1:10: parse error: unexpected identifier \"y\""),
        ("x offset inf", "1:10: parse error: duration out of range"),
        ("x @ inf", "parse error: timestamp out of bounds for @ modifier: inf"),
        ("x @", "1:4: parse error: unexpected end of input"),
        ("ln(0) +", "1:8: parse error: unexpected end of input"),
        ("x{a>\"b\"}", "parse error: unexpected character inside braces: \">\""),
        ("x{a==\"b\"}", "parse error: unexpected \"=\" in label matching, expected string"),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        ("a +", "1:4: parse error: unexpected end of input"),
        ("a\n+ * b", "2:3: parse error: unexpected \"*\""),
        ("sum(a", "1:6: parse error: unclosed left parenthesis"),
        (
            "anchored > 1",
            "1:1: parse error: unexpected \"anchored\", a keyword: a metric of that name is written {__name__=\"anchored\"}",
        ),
        ("x[5m1]", "1:3: parse error: bad number or duration syntax: \"5m1\""),
        ("100..4", "1:1: parse error: bad number or duration syntax: \"100..4\""),
        ("x[2m+2m]", "1:5: arithmetic on durations is not supported: write one duration, such as 30m"),
        ("x[(2m)]", "1:3: arithmetic on durations is not supported: write one duration, such as 30m"),
        ("x offset -(2m)", "1:11: arithmetic on durations is not supported: write one duration, such as 30m"),
        (
            "x </ 2",
            "1:4: </ and >/ are not supported: take histogram_fraction for the share below or above a value",
        ),
        ("floor(1)", "parse error: expected type instant vector in call to function \"floor\", got scalar"),
        (
            "rate(x)",
            "parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("sum(a,)", "1:7: parse error: unexpected \")\""),
        ("a 5", "1:3: parse error: unexpected number \"5\""),
        ("5m[5m", "1:3: parse error: unclosed \"[\""),
        (
            "on",
            "1:1: parse error: unexpected \"on\", a keyword: a metric of that name is written {__name__=\"on\"}",
        ),
        (
            "sum(bool)",
            "1:5: parse error: unexpected \"bool\", a keyword: a metric of that name is written {__name__=\"bool\"}",
        ),
        (
            "atan2 > 5",
            "1:1: parse error: unexpected \"atan2\", a keyword: a metric of that name is written {__name__=\"atan2\"}",
        ),
        ("a $ b", "1:3: parse error: unexpected character: '$'"),
        ("'é' + \"abc", "1:7: parse error: unterminated quoted string"),
        ("`abc", "1:1: parse error: unterminated raw string"),
        ("foo(a)", "1:1: parse error: unknown function with name \"foo\""),
        (
            "rate(x[5m] smoothed)",
            "1:12: smoothed is not supported: increase and rate extrapolate to the ends of the range",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(refused(text), wanted, "{text}");
    }
}

#[test]
fn bounds_are_said() {
    assert!(refused(&"x".repeat(16_385)).contains("16385 bytes, at most 16384"));
    assert!(refused(&format!("{}1{}", "(".repeat(65), ")".repeat(65))).contains("more than 64 brackets"));
    assert!(refused(&"1+".repeat(1_001)).contains("more than 1000 operators"));
    assert!(refused(&format!("1{}", "+1".repeat(300))).contains("nested more than 256"));
    let matchers = |count: usize| format!("x{{{}}}", vec!["a!=\"b\""; count].join(","));
    assert!(refused(&matchers(65)).contains("more than 64 matchers"));
    assert!(parse(&format!("{} + {}", matchers(64), matchers(64))).is_ok());
    assert!(refused(&format!("x{{a=~\"{}\"}}", "b".repeat(4_097))).contains("4097 bytes"));
    assert!(parse(&format!("{}1{}", "(".repeat(64), ")".repeat(64))).is_ok());
    assert!(parse(&format!("sum(x{})", "+1".repeat(253))).is_ok());
    // However deep the parser's tree gets, the stack of a thread holds it.
    for deep in [
        format!("{}x", "-".repeat(1_000)),
        format!("{}2", "2^".repeat(1_000)),
        format!("sum(max({}1))", "x+".repeat(1_000)),
        format!("abs({}x[5m]{})", "rate(".repeat(62), ")".repeat(62)),
    ] {
        assert!(parse(&deep).is_err());
    }
    // Grouped, more operators are possible.
    let group = format!("(1{})", "+1".repeat(199));
    assert!(parse(&[group.as_str(); 5].join("+")).is_ok());
}

#[test]
fn raw_strings_and_zero_offsets_are_read() {
    let expression = parse("label_replace(x{a=~`r-\\d+\"`} offset 0s, `b`, `\\`, 'c', \"(.*)\")").unwrap();
    assert_eq!(
        crate::format(&expression),
        "label_replace(x{a=~\"r-\\\\d+\\\"\"}, \"b\", \"\\\\\", \"c\", \"(.*)\")"
    );
    assert_eq!(crate::format(&parse("x[5000000000ms] # five million seconds").unwrap()), "x[57d20h53m20s]");
}

#[test]
fn places_of_nodes_follow_the_text() {
    let text = "-sum by (a) (rate(x{b=\"(\"}[5m] @ end() offset -1m)) > bool on (a) group_left +2 * foo[1h:1m] @ 5 - -3";
    let text = text.replace("foo[1h:1m] @ 5", "max_over_time((foo)[1h:1m] @ 5)");
    let expression = parse(&text).unwrap();
    let written: Vec<_> = expression.spans.iter().map(|span| &text[span.from..span.to]).collect();
    let right = "2 * max_over_time((foo)[1h:1m] @ 5) - -3";
    let sum = "sum by (a) (rate(x{b=\"(\"}[5m] @ end() offset -1m))";
    let wanted = [
        text.as_str(),
        &format!("-{sum}"),
        sum,
        "rate(x{b=\"(\"}[5m] @ end() offset -1m)",
        "x{b=\"(\"}[5m] @ end() offset -1m",
        right,
        "2 * max_over_time((foo)[1h:1m] @ 5)",
        "2",
        "max_over_time((foo)[1h:1m] @ 5)",
        "(foo)[1h:1m] @ 5",
        "(foo)",
        "foo",
        "-3",
    ];
    assert_eq!(written, wanted);
    // A name that looks like a modifier, and one that is; grouping on either side.
    let cases = [
        ("fill + fill", vec!["fill", "fill"]),
        ("a + on (x) fill (1) b", vec!["a", "b"]),
        ("a + on (x) group_left () b", vec!["a", "b"]),
        ("sum(a) by (b)", vec!["a"]),
        ("topk without(c) (2, a)", vec!["2", "a"]),
        ("start + end @ start()", vec!["start", "end @ start()"]),
        ("a offset 5m [1h:]", vec!["a offset 5m"]),
    ];
    for (text, wanted) in cases {
        let spans = parse(text).unwrap().spans;
        let written: Vec<_> = spans.iter().skip(1).map(|span| &text[span.from..span.to]).collect();
        assert_eq!(written, wanted);
    }
}

#[test]
fn selectors_of_series() {
    let read = |text: &str| parse_matchers(text).unwrap();
    assert_eq!(read("x{b=`1`,a!=\"2\"}"), read("{__name__='x',a!=\"2\",b=\"1\",b=\"1\",}"));
    for name in ["on", "bool", "inf", "NaN", "count", "by", "ignoring"] {
        let [matcher] = &read(name)[..] else { panic!("{name}") };
        assert!(matches!(&matcher.test, Test::Equal(value) if **value == *name), "{name}");
        assert_eq!(read(&format!("{name}{{a=\"b\"}}")).len(), 2);
    }
    for wrong in [
        "{}",
        "{a=\"\"}",
        "{a=~\".*\"}",
        "{a!=\"b\"}",
        "x offset 5m",
        "x @ 5",
        "x[5m]",
        "rate(x[5m])",
        "",
        "5",
    ] {
        assert!(parse_matchers(wrong).is_err(), "{wrong}");
    }
    assert!(parse_matchers("{a!~\"|x\"}").is_ok());
    assert!(parse_matchers("{a!~\"x\"}").is_err());
    assert!(parse_matchers("{a=~\".+\"}").is_ok());
    assert!(parse_matchers("x{__name__=~\"y\"}").unwrap_err().to_string().contains("must not be set twice"));
}

const SEEDS: [&str; 12] = [
    "histogram_quantile(0.99, sum by (site) (sum_over_time(temperature:window[5m])))",
    "a{b=~`r-\\d+`,c!=\"d\"} offset 5m @ end()",
    "sum without (a) (rate(x[5m:1m])) / on (b) group_left (c) y > bool 2",
    "topk(5, -x @ 1e3) or vector(1) unless on () z",
    "count_values(\"v\", x) % 2 ^ 3 atan2 4",
    "label_replace(x, \"a\", \"${1}\", 'b', `(.*)`) # comment",
    "max_over_time((x > 5)[1h:] offset -1d) * ignoring (a) fill (0) y",
    "x[1e30]",
    "{\"metric.name\", \"label.name\"=\"v\"}",
    "limitk(3, x) and limit_ratio(-0.5, x)",
    "0x1F + 017 + 1e-3 + .5 + Inf + NaN + 5m",
    "absent(x{a=\"1\"}) == 1.5e3",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_texts_never_panic(
        seed in 0..SEEDS.len(),
        other in 0..SEEDS.len(),
        edits in prop::collection::vec((0..120_usize, 0..6_u8, "[ -~\\n`é\\\\]{0,3}"), 0..5),
    ) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (at, kind, insert) in edits {
            let at = at.min(text.len());
            match kind {
                0 => drop(text.splice(at..at, insert.chars())),
                1 => drop(text.splice(at..(at + 3).min(text.len()), insert.chars())),
                2 => text.truncate(at),
                3 => drop(text.splice(at..at, SEEDS[other].chars())),
                4 => drop(text.splice(at..(at + 1).min(text.len()), [])),
                _ => drop(text.splice(at..at, ['(', '-', '1', 'e', '9', '9', ')'])),
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(expression) = parse(&text) {
            prop_assert!(expression.spans.iter().all(|span| text.get(span.from..span.to).is_some()));
            let tokens = guard(&text).unwrap().tokens;
            prop_assert!(unexpected(&text, &tokens).is_none(), "{text}: {:?}", unexpected(&text, &tokens));
            let printed = crate::format(&expression);
            // Longer than what is written, where many short numbers and durations get longer.
            if printed.len() < 16_384 {
                let again = parse(&printed).map_err(|error| TestCaseError::fail(format!("{text}: {printed}: {error}")))?;
                prop_assert_eq!(without_places(&again), without_places(&expression), "{} {}", text, printed);
            }
        }
        let _ = parse_matchers(&text);
    }
}
