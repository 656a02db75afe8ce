//! Series as the scripts write them: `name{label="value"} 1 2+3x4 _ stale`.

use std::sync::Arc;

use catchment_promql::{Labels, METRIC_NAME};

/// A value in a sequence of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Item {
    /// A sample.
    Value(f64),
    /// No sample: `_`.
    Omitted,
    /// A marker that the series ended.
    Stale,
}

/// Parses a line into labels, items, and the text of the first item.
pub(crate) fn parse(line: &str) -> (Labels, Vec<Item>, String) {
    let (labels, rest) = labels(line);
    let words: Vec<&str> = rest.split_whitespace().collect();
    let found = words.iter().flat_map(|word| items(word)).collect();
    (labels, found, words.first().copied().unwrap_or_default().to_owned())
}

fn labels(line: &str) -> (Labels, &str) {
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = vec![(Arc::from(METRIC_NAME), Arc::from(name))];
    rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once('=').unwrap();
            let (value, after) = quoted(after.trim_start());
            labels.push((Arc::from(label.trim()), Arc::from(value)));
            rest = after.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    (Labels::new(labels), rest)
}

/// A quoted text and what follows; the scripts escape nothing but quotes and backslashes.
fn quoted(text: &str) -> (String, &str) {
    let mut characters = text.char_indices();
    let (_, quote) = characters.next().unwrap();
    let mut value = String::new();
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next().unwrap().1),
            end if end == quote => return (value, text.get(place + 1..).unwrap()),
            other => value.push(other),
        }
    }
    panic!("no end of {text}")
}

/// The items of a word: `5`, `_`, `_x3`, `stale`, `0x10`, `1+2x3`, `1-2x3`.
fn items(word: &str) -> Vec<Item> {
    if word == "stale" {
        return vec![Item::Stale];
    }
    let (what, times) = match word.split_once('x') {
        Some((what, times)) => (what, Some(times.parse::<usize>().unwrap())),
        None => (word, None),
    };
    if what == "_" {
        return vec![Item::Omitted; times.unwrap_or(1)];
    }
    let Some(times) = times else { return vec![Item::Value(what.parse().unwrap())] };
    // The sign of the step is the last one that does not begin a number or an exponent.
    let sign = what.char_indices().rev().find(|&(place, c)| {
        place > 0 && matches!(c, '+' | '-') && !matches!(what.as_bytes()[place - 1], b'e' | b'E')
    });
    let (start, step) = sign.map_or((what, "0"), |(place, _)| what.split_at(place));
    let (start, step): (f64, f64) = (start.parse().unwrap(), step.parse().unwrap());
    let values = std::iter::successors(Some(start), |value| Some(value + step));
    values.take(times + 1).map(Item::Value).collect()
}

#[test]
fn lines_are_parsed() {
    let (labels, items, first) = parse(r#"m{a="x, }", b='y"'} -1-2x2 _ NaN stale"#);
    assert_eq!((labels.get("__name__"), labels.get("a"), labels.get("b")), ("m", "x, }", "y\""));
    assert_eq!(&items[..4], [Item::Value(-1.0), Item::Value(-3.0), Item::Value(-5.0), Item::Omitted]);
    assert!(matches!(items[4], Item::Value(value) if value.is_nan()));
    assert_eq!((items[5], first.as_str()), (Item::Stale, "-1-2x2"));
    assert_eq!(parse("{} 0x2").1, [Item::Value(0.0); 3]);
    assert_eq!(parse("{} 1e-2").1, [Item::Value(0.01)]);
}
