//! Operators between vectors against a model that matches the samples of one step after the other, as Prometheus does.

use catchment_promql::{Labels, METRIC_NAME, PromqlError, Value};
use proptest::prelude::*;

use crate::{evaluated, grid, properties::data, source::TestSource};

/// A sample of a step.
type Sample = (Labels, f64);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Group {
    None,
    Left,
    Right,
}

/// An operator with everything that may be written at it.
#[derive(Clone, Debug)]
struct Operator {
    symbol: &'static str,
    returns_bool: bool,
    on: bool,
    labels: Vec<&'static str>,
    group: Group,
    include: Vec<&'static str>,
    fill_left: Option<f64>,
    fill_right: Option<f64>,
}

fn operator() -> impl Strategy<Value = Operator> {
    let labels = prop::sample::subsequence(vec!["a", "b"], 0..=2);
    let group = prop_oneof![Just(Group::None), Just(Group::Left), Just(Group::Right)];
    let fill = || prop::option::weighted(0.3, Just(0.5));
    let symbol = prop::sample::select(vec!["+", "-", ">", "<=", "!="]);
    (symbol, any::<bool>(), any::<bool>(), labels, group, any::<bool>(), fill(), fill()).prop_map(
        |(symbol, wants_bool, on, labels, group, includes, fill_left, fill_right)| Operator {
            symbol,
            returns_bool: wants_bool && !matches!(symbol, "+" | "-"),
            on,
            include: if includes && group != Group::None && !(on && labels.contains(&"b")) {
                vec!["b"]
            } else {
                vec![]
            },
            labels,
            group,
            fill_left,
            fill_right,
        },
    )
}

impl Operator {
    fn text(&self) -> String {
        let mut text = format!("x {}", self.symbol);
        if self.returns_bool {
            text.push_str(" bool");
        }
        text.push_str(&format!(" {}({})", if self.on { "on" } else { "ignoring" }, self.labels.join(",")));
        match self.group {
            Group::None => {}
            Group::Left => text.push_str(&format!(" group_left({})", self.include.join(","))),
            Group::Right => text.push_str(&format!(" group_right({})", self.include.join(","))),
        }
        for (side, fill) in [("left", self.fill_left), ("right", self.fill_right)] {
            if let Some(fill) = fill {
                text.push_str(&format!(" fill_{side}({fill})"));
            }
        }
        text + " y"
    }

    fn signature(&self, labels: &Labels) -> Labels {
        let named = |name: &str| self.labels.contains(&name);
        labels.filtered(|name| if self.on { named(name) } else { !named(name) && name != METRIC_NAME })
    }

    fn is_arithmetic(&self) -> bool {
        matches!(self.symbol, "+" | "-")
    }

    /// The value, and whether it stays.
    fn compute(&self, left: f64, right: f64) -> (f64, bool) {
        let (value, keep) = match self.symbol {
            "+" => (left + right, true),
            "-" => (left - right, true),
            ">" => (left, left > right),
            "<=" => (left, left <= right),
            _ => (left, left != right),
        };
        if self.returns_bool { (f64::from(u8::from(keep)), true) } else { (value, keep) }
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = many.clone();
        if self.is_arithmetic() || self.returns_bool {
            labels = labels.without_name();
        }
        if self.group == Group::None {
            labels = labels.filtered(|name| self.labels.contains(&name) == self.on);
        }
        self.include.iter().fold(labels, |labels, name| labels.with(name, one.get(name)))
    }

    /// The samples of a step, or the kind of the error.
    fn step(&self, left: &[Sample], right: &[Sample]) -> Result<Vec<Sample>, &'static str> {
        let no_fill = self.fill_left.is_none() && self.fill_right.is_none();
        if (left.is_empty() && right.is_empty()) || (no_fill && (left.is_empty() || right.is_empty())) {
            return Ok(Vec::new());
        }
        let swapped = self.group == Group::Right;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        for (number, (labels, _)) in one.iter().enumerate() {
            let same = |(other, _): &Sample| self.signature(other) == self.signature(labels);
            if one.iter().take(number).any(same) {
                return Err("found duplicate series");
            }
        }
        let mut results = Vec::new();
        let mut matched: Vec<(Labels, Labels)> = Vec::new();
        let mut add = |many: &Sample,
                       one: &Sample,
                       signature: Labels,
                       matched: &mut Vec<(Labels, Labels)>| {
            let (left, right) = if swapped { (one.1, many.1) } else { (many.1, one.1) };
            let (value, keep) = self.compute(left, right);
            let labels = self.result_labels(&many.0, &one.0);
            let grouped = self.group != Group::None;
            if matched.iter().any(|(known, result)| *known == signature && (!grouped || *result == labels)) {
                return Err("multiple matches for labels");
            }
            matched.push((signature, labels.clone()));
            if keep {
                results.push((labels, value));
            }
            Ok(())
        };
        for sample in many {
            let signature = self.signature(&sample.0);
            let other = one.iter().find(|(labels, _)| self.signature(labels) == signature).cloned();
            let Some(other) = other.or(self.fill_right.map(|fill| (signature.clone(), fill))) else {
                continue;
            };
            add(sample, &other, signature, &mut matched)?;
        }
        for sample in one {
            let signature = self.signature(&sample.0);
            if let (Some(fill), false) =
                (self.fill_left, matched.iter().any(|(known, _)| *known == signature))
            {
                add(&(signature.clone(), fill), sample, signature, &mut matched)?;
            }
        }
        results.sort_by(|a, b| a.0.cmp(&b.0));
        let same = results.windows(2).any(|two| matches!(two, [a, b] if a.0 == b.0));
        if same { Err("vector cannot contain metrics with the same labelset") } else { Ok(results) }
    }
}

/// The samples of each step.
fn samples(value: &Value, steps: usize) -> Vec<Vec<Sample>> {
    let Value::Vector(series) = value else { return Vec::new() };
    let at = |step| {
        let present = series.iter().filter_map(move |one| match &one.samples {
            catchment_promql::Samples::Floats(column) => Some((one.labels.clone(), column.get(step)?)),
            catchment_promql::Samples::Windows(_) => None,
        });
        present.collect()
    };
    (0..steps).map(at).collect()
}

fn shown(samples: &[Sample]) -> Vec<(Labels, String)> {
    samples.iter().map(|(labels, value)| (labels.clone(), value.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn vectors_are_matched_as_by_the_model(data in data(), operator in operator()) {
        let source = TestSource::new(&data);
        let steps = source.steps();
        let over = |text: &str| -> Result<Vec<Vec<Sample>>, PromqlError> {
            Ok(samples(&evaluated(text, &source, grid(steps))?.value, steps))
        };
        let text = operator.text();
        let (left, right) = (over("x").expect("a selector"), over("y").expect("a selector"));
        let model: Result<Vec<_>, _> =
            left.iter().zip(&right).map(|(left, right)| operator.step(left, right)).collect();
        match (over(&text), model) {
            (Ok(results), Ok(model)) => {
                for (step, (result, model)) in results.iter().zip(&model).enumerate() {
                    prop_assert_eq!(shown(result), shown(model), "{} at step {}", text, step);
                }
            }
            (Err(error), Err(_)) => {
                // Of several steps with errors, which one is said first is open.
                let errors: Vec<_> =
                    left.iter().zip(&right).filter_map(|(left, right)| operator.step(left, right).err()).collect();
                prop_assert!(errors.iter().any(|kind| error.to_string().starts_with(kind)), "{}: {}", text, error);
            }
            (results, model) => prop_assert!(false, "{}: {:?}, not {:?}", text, results, model),
        }
    }
}
