//! What the operators do with two numbers.

use crate::plan::BinaryOperator;

/// An operator that is neither of sets nor a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

/// An operator on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numeric {
    /// Gives a number.
    Arithmetic(Arithmetic),
    /// Filters, or gives 0 or 1.
    Comparison(Comparison),
}

impl Numeric {
    /// `None`: it is of sets.
    pub(super) fn of(operator: BinaryOperator) -> Option<Self> {
        Some(match operator {
            BinaryOperator::Add => Self::Arithmetic(Arithmetic::Add),
            BinaryOperator::Sub => Self::Arithmetic(Arithmetic::Sub),
            BinaryOperator::Mul => Self::Arithmetic(Arithmetic::Mul),
            BinaryOperator::Div => Self::Arithmetic(Arithmetic::Div),
            BinaryOperator::Mod => Self::Arithmetic(Arithmetic::Mod),
            BinaryOperator::Pow => Self::Arithmetic(Arithmetic::Pow),
            BinaryOperator::Atan2 => Self::Arithmetic(Arithmetic::Atan2),
            BinaryOperator::Equal => Self::Comparison(Comparison::Equal),
            BinaryOperator::NotEqual => Self::Comparison(Comparison::NotEqual),
            BinaryOperator::Greater => Self::Comparison(Comparison::Greater),
            BinaryOperator::Less => Self::Comparison(Comparison::Less),
            BinaryOperator::GreaterOrEqual => Self::Comparison(Comparison::GreaterOrEqual),
            BinaryOperator::LessOrEqual => Self::Comparison(Comparison::LessOrEqual),
            BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Unless => return None,
        })
    }

    /// Whether results are of another metric, so that the name goes.
    pub(super) fn drops_name(self, returns_bool: bool) -> bool {
        returns_bool || matches!(self, Self::Arithmetic(_))
    }
}

impl Arithmetic {
    /// The result of two numbers.
    #[inline]
    pub(super) fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Mod => left % right,
            Self::Pow => left.powf(right),
            Self::Atan2 => left.atan2(right),
        }
    }
}

impl Comparison {
    /// Whether it holds.
    #[inline]
    pub(super) fn of(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::GreaterOrEqual => left >= right,
            Self::LessOrEqual => left <= right,
        }
    }
}

/// The operator as it is written.
pub(super) fn symbol(operator: BinaryOperator) -> &'static str {
    match operator {
        BinaryOperator::Add => "+",
        BinaryOperator::Sub => "-",
        BinaryOperator::Mul => "*",
        BinaryOperator::Div => "/",
        BinaryOperator::Mod => "%",
        BinaryOperator::Pow => "^",
        BinaryOperator::Atan2 => "atan2",
        BinaryOperator::Equal => "==",
        BinaryOperator::NotEqual => "!=",
        BinaryOperator::Greater => ">",
        BinaryOperator::Less => "<",
        BinaryOperator::GreaterOrEqual => ">=",
        BinaryOperator::LessOrEqual => "<=",
        BinaryOperator::And => "and",
        BinaryOperator::Or => "or",
        BinaryOperator::Unless => "unless",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_combined_as_in_prometheus() {
        let of = |operator: Arithmetic, left, right| operator.of(left, right);
        assert_eq!(of(Arithmetic::Mod, -4.0, 2.0).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(of(Arithmetic::Mod, -5.0, 3.0), -2.0);
        assert_eq!(of(Arithmetic::Pow, 2.0, 9.0), 512.0);
        assert_eq!(of(Arithmetic::Pow, 1.0, f64::NAN), 1.0);
        assert_eq!(of(Arithmetic::Pow, -1.0, f64::INFINITY), 1.0);
        assert_eq!(of(Arithmetic::Div, 1.0, 0.0), f64::INFINITY);
        assert!(of(Arithmetic::Div, 0.0, 0.0).is_nan());
        assert_eq!(of(Arithmetic::Atan2, 0.0, -1.0), std::f64::consts::PI);
        assert!(Comparison::NotEqual.of(f64::NAN, f64::NAN));
        assert!(!Comparison::Equal.of(f64::NAN, f64::NAN));
    }
}
