//! PromQL: from text to plan, and printed again.

use catchment_promql::{Grid, Plan, format, parse, parse_matchers};

use super::{Target, magnitude, signature};

pub(super) const TARGET: Target = Target {
    name: "promql",
    run,
    seeds: || {
        [
            "histogram_quantile(0.99, sum by (site) (sum_over_time(temperature:window[5m])))",
            "a{b=~`r-\\d+`,c!=\"d\"} offset 5m @ end()",
            "sum without (a) (rate(x[5m:1m])) / on (b) group_left (c) y > bool 2",
            "topk(5, -x @ 1e3) or vector(1) unless on () z",
            "count_values(\"v\", x) % 2 ^ 3 atan2 4",
            "label_replace(x, \"a\", \"${1}\", 'b', `(.*)`) # comment",
            "max_over_time((x > 5)[1h:] offset -1d) * ignoring (a) fill (0) y",
            "{\"metric.name\", \"label.name\"=\"v\"}",
            "limitk(3, x) and limit_ratio(-0.5, x) + 0x1F - 017 + .5e-3 + Inf + 5m",
        ]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec()
    },
    tokens: &[
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"@",
        b" offset ",
        b"start()",
        b"end()",
        b"\"",
        b"`",
        b"'",
        b"\\",
        b"=~",
        b"!~",
        b"!=",
        b"=",
        b"+",
        b"-",
        b"^",
        b" and ",
        b" or ",
        b" unless ",
        b" by ",
        b" on ",
        b" ignoring ",
        b" group_left ",
        b" bool ",
        b" fill (",
        b"sum",
        b"topk",
        b"rate(x[5m])",
        b"x",
        b"[1h:5m]",
        b"1e30",
        b"0s",
        b"5m",
        b"9999999999999999999",
        b"NaN",
        b"Inf",
        b"#",
        b"\n",
        b"__name__",
        b"\\d",
        b"[^a]",
        b"(?i)",
        b"{2,3}",
        b"\xc3\xa9",
    ],
    // Tables of the parser, and regular expressions, which have a bound in total.
    fixed_bytes: 6 << 20,
    bytes_per_input_byte: 4 << 10,
};

const GRID: Grid = Grid { start_ms: 1_000_000, step_ms: 15_000, count: 241 };

fn run(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let matchers = parse_matchers(text).map(|matchers| matchers.len()).ok();
    let outcome = match parse(text) {
        Err(error) => pattern(&error.to_string()),
        Ok(expression) => match Plan::new(&expression, GRID) {
            Err(error) => pattern(&error.to_string()),
            Ok(plan) => {
                let span = plan.root.span;
                assert!(text.get(span.from..span.to).is_some(), "a place outside the text");
                let printed = format(&expression);
                // Short numbers may become long ones, and the text too long.
                if printed.len() < 16 << 10 {
                    let again = parse(&printed).expect("what was printed parses");
                    assert_eq!(format(&again), printed, "printed twice, it is another expression");
                }
                pattern(&printed)
            }
        },
    };
    signature((matchers, magnitude(text.len()), outcome))
}

/// A text with its names and numbers made equal, and cut.
fn pattern(text: &str) -> String {
    let mut pattern: String = text
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '_' => 'a',
            '0'..='9' => '0',
            other => other,
        })
        .collect::<String>();
    let mut last = ' ';
    pattern.retain(|c| std::mem::replace(&mut last, c) != c);
    pattern.chars().take(24).collect()
}
