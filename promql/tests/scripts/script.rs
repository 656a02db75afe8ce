//! Commands of a script: `clear`, `load` and `eval`.

use catchment_promql::Labels;

use crate::series::{self, Item};

/// A command.
#[derive(Debug)]
pub(crate) enum Command {
    /// Forget all samples.
    Clear,
    /// Add samples.
    Load(Vec<Loaded>),
    /// Evaluate an expression.
    Eval(Eval),
}

/// A series to add, with times of its samples in milliseconds.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) labels: Labels,
    pub(crate) samples: Vec<(i64, f64)>,
}

/// An expression, and what it must give.
#[derive(Debug)]
pub(crate) struct Eval {
    /// Its line in the script, from 1.
    pub(crate) line: usize,
    pub(crate) time_ms: i64,
    pub(crate) expression: String,
    /// It must fail.
    pub(crate) fail: bool,
    /// The order of the series counts.
    pub(crate) ordered: bool,
    pub(crate) expected: Expected,
}

/// A number as the script writes it.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) value: f64,
    pub(crate) text: String,
}

/// What an expression must give.
#[derive(Debug)]
pub(crate) enum Expected {
    Scalar(Number),
    Vector(Vec<(Labels, Number)>),
}

/// Parses a script.
pub(crate) fn parse(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.iter().map(|line| if line.starts_with('#') { "" } else { *line }).collect();
    let (mut commands, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let (line, rest) = (lines[at], &lines[at + 1..]);
        let block = rest.iter().position(|line| line.is_empty()).map_or(rest, |end| &rest[..end]);
        at += 1;
        if line == "clear" {
            commands.push(Command::Clear);
        } else if let Some(step) = line.strip_prefix("load") {
            commands.push(Command::Load(load(duration_ms(step.trim()), block)));
            at += block.len();
        } else if line.starts_with("eval") {
            let (eval, used) = eval(at, line, block);
            commands.push(Command::Eval(eval));
            at += used;
        } else {
            assert!(line.is_empty(), "line {at}: {line}");
        }
    }
    commands
}

fn load(step_ms: i64, block: &[&str]) -> Vec<Loaded> {
    let loaded = |line: &&str| {
        let (labels, items, _) = series::parse(line);
        let times = (0..).map(|index| index * step_ms);
        // A reading has no marker that its series ended.
        let sample = |(time, item)| if let Item::Value(value) = item { Some((time, value)) } else { None };
        Loaded { labels, samples: times.zip(items).filter_map(sample).collect() }
    };
    block.iter().map(loaded).collect()
}

/// An eval and the number of lines that it takes.
fn eval(line: usize, text: &str, block: &[&str]) -> (Eval, usize) {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap();
    let rest = rest.trim_start().strip_prefix("instant").unwrap().trim_start();
    let rest = rest.strip_prefix("at").unwrap().trim_start();
    let (time, expression) = rest.split_once(char::is_whitespace).unwrap();
    let number = |text: &str| text.parse().ok().map(|value| Number { value, text: text.to_owned() });
    let scalar = block.first().and_then(|line| number(line));
    let used = if scalar.is_some() { 1 } else { block.len() };
    let vector = || {
        let series = block.iter().map(|line| series::parse(line));
        series.map(|(labels, _, text)| (labels, number(&text).unwrap())).collect()
    };
    let eval = Eval {
        line,
        time_ms: duration_ms(time),
        expression: expression.trim().to_owned(),
        fail: kind == "eval_fail",
        ordered: kind == "eval_ordered",
        expected: scalar.map_or_else(|| Expected::Vector(vector()), Expected::Scalar),
    };
    (eval, used)
}

/// A duration of one unit.
fn duration_ms(text: &str) -> i64 {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap();
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => panic!("the unit {other} of {text}"),
    };
    number.parse::<i64>().unwrap() * factor
}

#[test]
fn commands_are_parsed() {
    let text = "# comment\nload 5m\n\tm{a=\"b\"} 1 _ stale 2+1x1\n\nclear\n\
                eval_ordered instant at 50m m + 1\n  {a=\"b\"} 2\n  {} .5\n\neval instant at 1ms 1\n\t1.0\n";
    let commands = parse(text);
    let [Command::Load(loaded), Command::Clear, Command::Eval(ordered), Command::Eval(scalar)] =
        &commands[..]
    else {
        panic!("{commands:?}")
    };
    assert_eq!(loaded[0].samples, [(0, 1.0), (900_000, 2.0), (1_200_000, 3.0)]);
    assert_eq!((ordered.line, ordered.time_ms, ordered.ordered), (6, 3_000_000, true));
    assert_eq!((ordered.expression.as_str(), ordered.fail), ("m + 1", false));
    let Expected::Vector(series) = &ordered.expected else { panic!("{ordered:?}") };
    assert_eq!((series.len(), series[1].1.text.as_str()), (2, ".5"));
    assert!(matches!(&scalar.expected, Expected::Scalar(number) if number.value == 1.0), "{scalar:?}");
}
