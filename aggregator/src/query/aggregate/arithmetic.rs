//! Arithmetic between two aggregates of the same point: `sum/count`, `p99-p50`.

use std::fmt;

use super::{Aggregate, AggregateError, AggregateValue, Figures};

/// Two aggregates that are numbers, and what is computed of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Arithmetic {
    left: Aggregate,
    operator: Operator,
    right: Aggregate,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

impl Operator {
    const ALL: [Self; 4] = [Self::Plus, Self::Minus, Self::Times, Self::Over];

    const fn character(self) -> char {
        match self {
            Self::Plus => '+',
            Self::Minus => '-',
            Self::Times => '*',
            Self::Over => '/',
        }
    }

    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Plus => left + right,
            Self::Minus => left - right,
            Self::Times => left * right,
            Self::Over => left / right,
        }
    }
}

impl Arithmetic {
    /// The two aggregates.
    pub(super) fn sides(&self) -> [&Aggregate; 2] {
        [&self.left, &self.right]
    }

    /// `None`: one of them is undefined, or the result is, such as of a division by 0.
    pub(super) fn evaluate(&self, figures: &Figures) -> Option<f64> {
        match (self.left.evaluate(figures)?, self.right.evaluate(figures)?) {
            (AggregateValue::Number(left), AggregateValue::Number(right)) => {
                Some(self.operator.of(left, right))
            }
            _ => None,
        }
    }

    /// Parses a text with an operator outside of parentheses; `None`: it has none.
    pub(super) fn parse(text: &str) -> Option<Result<Self, AggregateError>> {
        let mut operators = operators(text);
        let (at, operator) = operators.next()?;
        let refusal = |reason| AggregateError::Arithmetic { text: text.chars().take(40).collect(), reason };
        if operators.next().is_some() {
            return Some(Err(refusal(
                "it has more than one operator; write two aggregates with + - * or / between",
            )));
        }
        let (left, right) = (text.get(..at)?.trim(), text.get(at + 1..)?.trim());
        if left.is_empty() || right.is_empty() {
            return Some(Err(refusal("an aggregate is missing; write two with + - * or / between")));
        }
        let side = |text: &str| match <[_; 1]>::try_from(Aggregate::columns(text)?) {
            Ok([(_, aggregate)]) if aggregate.is_number() => Ok(aggregate),
            _ => Err(refusal("its aggregates must each be one number: no histogram, text or list of states")),
        };
        Some(side(left).and_then(|left| Ok(Self { left, operator, right: side(right)? })))
    }
}

/// The operators outside of parentheses and quotation marks, and their places.
fn operators(text: &str) -> impl Iterator<Item = (usize, Operator)> + '_ {
    let outside = characters(text).filter(|(_, _, outside)| *outside);
    outside.filter_map(|(at, character, _)| {
        Operator::ALL.into_iter().find(|of| of.character() == character).map(|of| (at, of))
    })
}

/// The characters of a text with their places in bytes, and of each whether it is outside of parentheses and quotation
/// marks.
pub fn characters(text: &str) -> impl Iterator<Item = (usize, char, bool)> + '_ {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    text.char_indices().map(move |(at, character)| {
        let outside = !quoted && depth == 0;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        (at, character, outside)
    })
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.left, self.operator.character(), self.right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::partial;

    fn value(text: &str, readings: &[(i64, f64)]) -> Option<f64> {
        let figures = Figures { partial: partial(readings), order: None };
        match text.parse::<Aggregate>().unwrap().evaluate(&figures)? {
            AggregateValue::Number(number) => Some(number),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_aggregates_make_a_number() {
        let readings = [(0, 1.0), (1, 2.0), (2, 9.0)];
        for (text, expected) in [
            ("sum/count", 4.0),
            ("max - min", 8.0),
            ("p100-p0", 8.0),
            ("count*mean", 12.0),
            ("below(-5) + at_least(2)", 2.0),
            ("below(2)/count", 1.0 / 3.0),
            ("between(1e0,3)/state_count+0", f64::NAN),
        ] {
            match text.parse::<Aggregate>() {
                Ok(aggregate) => {
                    assert_eq!(value(text, &readings), Some(expected), "{text}");
                    assert_eq!(aggregate.to_string().parse(), Ok(aggregate), "{text}");
                }
                Err(_) => assert!(expected.is_nan(), "{text}"),
            }
        }
        assert_eq!(value("count/state_count", &readings), None, "division by 0");
        assert_eq!(value("mean-min", &[]), None);
        let columns = Aggregate::columns("sum / count").unwrap();
        assert_eq!(columns[0].0, "sum / count", "a column keeps its text");
    }

    #[test]
    fn needs_are_those_of_both() {
        let of = |text: &str| text.parse::<Aggregate>().unwrap();
        assert!(of("rate/count").needs_order() && of("count/rate").needs_windows());
        assert!(!of("sum/count").needs_windows() && of("sum/distinct").needs_windows());
        let bounds: Vec<f64> = of("time_above(5)/time_below(7)").time_bounds().collect();
        assert_eq!(bounds, [5.0, 7.0]);
        assert!(of("time_in(\"a-b/c\")/transitions").is_number());
        assert_eq!(of("time_in(\"a-b/c\")").to_string(), "time_in(a-b/c)");
    }

    #[test]
    fn what_is_not_arithmetic_is_refused() {
        for (text, part) in [
            ("sum/count/count", "more than one operator"),
            ("sum/", "is missing"),
            ("-sum", "is missing"),
            ("histogram(1,2)/count", "one number"),
            ("count/histogram(1)", "one number"),
            ("last_state+count", "one number"),
            ("sum/kount", "unknown aggregate"),
            ("sum/2", "unknown aggregate"),
        ] {
            let error = Aggregate::columns(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
