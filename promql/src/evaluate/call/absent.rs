//! `absent`: 1 where a vector has nothing.

use std::sync::Arc;

use crate::{
    error::PromqlError,
    evaluate::Context,
    grid::Grid,
    labels::{Labels, METRIC_NAME},
    plan::{Matcher, Node, Operation, Test},
    steps::Steps,
    value::{Column, Series, Value},
};

/// One series, with the labels that a selector asks for, or none.
pub(super) async fn value(context: &Context<'_>, of: &Node, grid: Grid) -> Result<Value, PromqlError> {
    let mut absent = Steps::all(grid.count);
    context
        .each_batch(of, grid, &mut |batch| {
            batch.iter().for_each(|series| absent.remove(&series.samples.steps()));
            Ok(())
        })
        .await?;
    if absent.is_empty() {
        return Ok(Value::Vector(Vec::new()));
    }
    let labels = match &of.operation {
        Operation::Selector(selector) => labels(&selector.matchers),
        _ => Labels::default(),
    };
    let column = Column::at(vec![1.0; grid.count], absent);
    Ok(Value::Vector(vec![Series::floats(labels, column)]))
}

/// The labels of which a selector says the value: with one equality, and nothing else after it.
pub(in crate::evaluate) fn labels(matchers: &[Matcher]) -> Labels {
    let mut seen: Vec<&str> = Vec::new();
    let mut labels: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| *matcher.label != *METRIC_NAME) {
        match &matcher.test {
            Test::Equal(value) if !seen.contains(&&*matcher.label) => {
                seen.push(&matcher.label);
                labels.push((matcher.label.clone(), value.clone()));
            }
            _ => labels.retain(|(name, _)| *name != matcher.label),
        }
    }
    Labels::new(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_single_equalities() {
        let equal =
            |label: &str, value: &str| Matcher { label: label.into(), test: Test::Equal(value.into()) };
        let not = |label: &str| Matcher { label: label.into(), test: Test::NotEqual("z".into()) };
        let of = |matchers: &[Matcher]| {
            labels(matchers).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of(&[equal("__name__", "x"), equal("a", "1"), equal("a", "2"), equal("b", "q")]), ["b=q"]);
        assert_eq!(of(&[equal("a", "1"), not("a"), not("b")]), [""; 0]);
        assert_eq!(of(&[not("a"), equal("a", "1")]), ["a=1"]);
    }
}
