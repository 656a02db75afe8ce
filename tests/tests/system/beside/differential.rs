//! The same readings in Debian's Prometheus 2.42 and here: equal answers to the same expressions.

use catchment_tests::{api::Api, debian::Prometheus};

use super::{
    answer::{Answer, Tolerance, difference, parse},
    expressions::{PAIRS, QUANTILES, REFUSED, SAME},
    readings::{LENGTH_MS, Loaded},
};

/// For the same numbers computed in another order.
const TOLERANCE: f64 = 1e-12;
/// For quantiles of partials.
const QUANTILE_TOLERANCE: f64 = 0.01;
/// Steps of range queries in seconds, with the minutes that they cover.
const STEPS: [(i64, i64); 3] = [(10, 15), (60, 45), (300, 45)];

/// Largest of the numbers that an expression sums, where the sum may be much smaller: 2.42 does not compensate.
fn scale(expression: &str) -> f64 {
    let functions = ["delta(", "stddev", "stdvar", "- "];
    // Unix seconds have seven digits after the point.
    match () {
        () if expression.contains("time() - ") => 1e6,
        () if functions.iter().any(|function| expression.contains(function)) => 1e3,
        () => 0.0,
    }
}

/// Milliseconds of a duration of one unit.
fn duration_ms(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let factor = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => panic!("the unit {other} of {text}"),
    };
    number.parse::<i64>().unwrap() * factor
}

/// The ranges of subqueries without their left end, where a step is there.
fn left_open(expression: &str) -> String {
    let mut parts = expression.split('[');
    let mut opened = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        opened.push('[');
        let range = part.split(']').next().unwrap();
        let Some((length, step)) = range.split_once(':') else {
            opened.push_str(part);
            continue;
        };
        let (length_ms, step_ms) =
            (duration_ms(length), if step.is_empty() { 60_000 } else { duration_ms(step) });
        if length_ms % step_ms == 0 {
            opened.push_str(&format!("{}ms{}", length_ms - 1, &part[length.len()..]));
        } else {
            opened.push_str(part);
        }
    }
    opened
}

/// Here and there.
struct Sides<'a> {
    ours: &'a Api,
    theirs: Api,
    start_ms: i64,
}

impl Sides<'_> {
    async fn differences(&self, ours: &str, theirs: &str, tolerance: Tolerance) -> Vec<String> {
        let middle = ((self.start_ms + LENGTH_MS / 2) / 1000).to_string();
        let (ours, theirs) = (ours.replace("$T", &middle), left_open(&theirs.replace("$T", &middle)));
        let mut differences = Vec::new();
        let second = self.start_ms / 1000;
        // Within the outage, at a window's end near the end, and after it.
        for time in [second + 1_920, second + 3_310, second + 3_720] {
            let time = time.to_string();
            let found = self.compare("query", [&ours, &theirs], &[("time", &time)], tolerance).await;
            differences.extend(found.map(|found| format!("{ours}\n    at {time}: {found}")));
        }
        for (step, minutes) in STEPS {
            let (start, end) = ((second + 1_200).to_string(), (second + 1_200 + minutes * 60).to_string());
            let step = step.to_string();
            let parameters = [("start", start.as_str()), ("end", end.as_str()), ("step", step.as_str())];
            let unordered = Tolerance { ordered: false, ..tolerance };
            let found = self.compare("query_range", [&ours, &theirs], &parameters, unordered).await;
            differences.extend(found.map(|found| format!("{ours}\n    step {step} s: {found}")));
        }
        differences
    }

    async fn compare(
        &self,
        path: &str,
        [ours, theirs]: [&String; 2],
        parameters: &[(&str, &str)],
        tolerance: Tolerance,
    ) -> Option<String> {
        let asked = |expression| [&[("query", expression)], parameters].concat();
        // A POST with a form here, as Grafana does.
        let (our_answer, warnings) = parse(&self.ours.post(path, &asked(ours.as_str())).await);
        let (their_answer, _) = parse(&self.theirs.get(path, &asked(theirs.as_str())).await);
        if let Answer::Refused(status) = their_answer
            && !matches!(our_answer, Answer::Refused(_))
        {
            return Some(format!("an answer, but Prometheus refuses it with {status}"));
        }
        let incomplete = warnings.iter().find(|warning| warning.contains("incomplete")).cloned();
        incomplete.or_else(|| difference(&our_answer, &their_answer, tolerance))
    }
}

#[tokio::test]
async fn answers_are_those_of_debians_prometheus() {
    let loaded = Loaded::start().await;
    let (dir, samples) = (loaded.world.dir().join("prometheus"), loaded.open_metrics.clone());
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(&dir, &samples)).await.unwrap();
    let theirs = Api { addr: prometheus.addr, identity: None };
    let sides = Sides { ours: &loaded.api, theirs, start_ms: loaded.start_ms };
    let exact = |expression: &str| Tolerance {
        relative: TOLERANCE,
        absolute: TOLERANCE * scale(expression),
        ordered: ["sort", "topk(", "bottomk("].iter().any(|name| expression.starts_with(name)),
    };
    let mut differences = Vec::new();
    for expression in SAME {
        differences.extend(sides.differences(expression, expression, exact(expression)).await);
    }
    for (ours, theirs) in PAIRS {
        differences.extend(sides.differences(ours, theirs, exact(ours)).await);
    }
    let roughly = Tolerance { relative: QUANTILE_TOLERANCE, absolute: 0.0, ordered: false };
    for expression in QUANTILES {
        differences.extend(sides.differences(expression, expression, roughly).await);
    }
    for expression in REFUSED {
        differences.extend(sides.differences(expression, expression, exact(expression)).await);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn subqueries_lose_their_left_end() {
    assert_eq!(left_open("rate(x[5m])[10m:1m] + y[1h:]"), "rate(x[5m])[599999ms:1m] + y[3599999ms:]");
    assert_eq!(left_open("rate(x[50s:20s])"), "rate(x[50s:20s])");
    assert_eq!(left_open("{a=~\"[1]\"} + 1"), "{a=~\"[1]\"} + 1");
}
