//! A checked expression on a grid: what the evaluator walks over.

mod build;
mod regex;

use std::sync::Arc;

use ::regex::Regex;

pub(crate) use self::build::{Selectors, offset_ms, time_ms};
pub(crate) use self::regex::whole as whole_regex;
use crate::{error::Span, function::Function, grid::Grid};

/// Most steps of a subquery for each series; checked by the plan where its step is given.
pub(crate) const SUBQUERY_POINTS_MAX: i64 = 100_000;

/// What a node's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number at each step.
    Scalar,
    /// Series.
    Vector,
    /// A text.
    Text,
}

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The expression.
    pub root: Node,
    /// Where it is evaluated.
    pub grid: Grid,
    /// The expression as it was written, for positions in annotations.
    pub text: Arc<str>,
}

/// A part of an expression.
#[derive(Clone, Debug)]
pub struct Node {
    /// What its value is.
    pub kind: Kind,
    /// What it does.
    pub operation: Operation,
    /// Its value is the same at each step: it is evaluated once.
    pub invariant: bool,
    /// Where it is written; for a function of a range, where the range is: annotations speak of that.
    pub span: Span,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A number.
    Number(f64),
    /// A text.
    Text(Arc<str>),
    /// The last readings of series.
    Selector(Selector),
    /// The negated operand.
    Negate(Box<Node>),
    /// Two operands.
    Binary(Box<Binary>),
    /// Merges series.
    Aggregate(Box<Aggregation>),
    /// A function of a range of time.
    Over(Box<Over>),
    /// A function of values; its arguments are checked in number and kind.
    Call(Function, Vec<Node>),
}

/// Selects series and times.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The conditions, the metric's name among them; at least one matches no empty value.
    pub matchers: Arc<[Matcher]>,
    /// `@`: evaluated at this time instead of that of the step, Unix milliseconds.
    pub at_ms: Option<i64>,
    /// `offset`: then so much earlier.
    pub offset_ms: i64,
}

/// A condition on a label.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub label: Arc<str>,
    /// What its value must fulfil; a series without the label has an empty value.
    pub test: Test,
}

/// What a value must fulfil. Regular expressions match whole values.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named as what they test")]
pub enum Test {
    Equal(Arc<str>),
    NotEqual(Arc<str>),
    /// With its pattern as written.
    Regex(Arc<str>, Regex),
    NotRegex(Arc<str>, Regex),
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        use Test::{Equal, NotEqual, NotRegex, Regex};
        let test = match (&self.test, &other.test) {
            (Equal(a), Equal(b)) | (NotEqual(a), NotEqual(b)) => a == b,
            (Regex(a, _), Regex(b, _)) | (NotRegex(a, _), NotRegex(b, _)) => a == b,
            _ => false,
        };
        test && self.label == other.label
    }
}

impl Matcher {
    /// Whether a value (empty: no such label) fulfils it.
    #[must_use]
    pub fn passes(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal(wanted) => value == &**wanted,
            Test::NotEqual(other) => value != &**other,
            Test::Regex(_, regex) => regex.is_match(value),
            Test::NotRegex(_, regex) => !regex.is_match(value),
        }
    }
}

/// A function of a range of time.
#[derive(Clone, Debug)]
pub struct Over {
    /// Which.
    pub function: Function,
    /// Of what.
    pub range: Range,
    /// Scalars beside it: the φ of `quantile_over_time`.
    pub parameters: Vec<Node>,
    /// The aggregation above is a sum of sums or of counts over these labels, so the source may merge the series.
    pub group: Option<Grouping>,
}

/// A range of time.
#[derive(Clone, Debug)]
pub enum Range {
    /// Of readings; milliseconds, at least 1.
    Selector {
        /// Of which series, up to when.
        selector: Selector,
        /// How far back.
        range_ms: i64,
    },
    /// Of the values of an expression at multiples of a step.
    Subquery {
        /// The expression.
        inner: Box<Node>,
        /// How far back, milliseconds, at least 1.
        range_ms: i64,
        /// The step, milliseconds, at least 1; 0: the default, one minute rounded up to the source's width.
        step_ms: i64,
        /// As in [`Selector`].
        at_ms: Option<i64>,
        /// As in [`Selector`].
        offset_ms: i64,
    },
}

/// Labels that stay apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// These, sorted, each once.
    By(Vec<Arc<str>>),
    /// All but these and the metric's name; sorted, each once.
    Without(Vec<Arc<str>>),
}

/// An aggregation over series.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// Which.
    pub operator: AggregationOperator,
    /// Of what: a vector.
    pub operand: Node,
    /// Scalar of `topk`, `bottomk`, `quantile`, `limitk`, `limit_ratio`; text of `count_values`.
    pub parameter: Option<Node>,
    /// Without `by` and `without`, [`Grouping::By`] of no label.
    pub grouping: Grouping,
}

/// Aggregations, named as in PromQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in PromQL")]
pub enum AggregationOperator {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    LimitK,
    LimitRatio,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

/// An operator between two nodes: scalars, or vectors that are matched.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Which.
    pub operator: BinaryOperator,
    /// The left operand.
    pub left: Node,
    /// The right operand.
    pub right: Node,
    /// How series of two vectors are matched; not looked at otherwise.
    pub matching: Matching,
    /// Comparisons give 0 or 1 instead of filtering.
    pub returns_bool: bool,
}

/// Operators, named by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in Prometheus")]
pub enum BinaryOperator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

/// How series of two vectors are matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// Only on these labels, sorted.
    pub on: bool,
    /// The labels of `on`, or those of `ignoring`; sorted, each once.
    pub labels: Vec<Arc<str>>,
    /// How many may match.
    pub cardinality: Cardinality,
    /// What stands for a missing side.
    pub fill: Fill,
}

/// How many series may match one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One each.
    #[default]
    OneToOne,
    /// `group_left`: many on the left; these labels are taken from the right.
    ManyToOne(Vec<Arc<str>>),
    /// `group_right`: many on the right; these labels are taken from the left.
    OneToMany(Vec<Arc<str>>),
    /// Set operators.
    ManyToMany,
}

/// Values that stand for series that match none on the other side (`fill`, `fill_left`, `fill_right`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fill {
    /// For a missing left side.
    pub left: Option<f64>,
    /// For a missing right side.
    pub right: Option<f64>,
}

#[cfg(test)]
mod tests;
