//! The names of all aggregates: one table, from which they are parsed, displayed and listed.

use std::{fmt, str::FromStr};

use super::{
    Aggregate, Arithmetic, OrderAggregate as Order, StateAggregate as State, ValueAggregate as Value,
    arguments,
    arguments::{ArgumentError, Number},
};

/// Longest text of an aggregate, in bytes: a histogram with the most classes fits.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Most characters of a percentile's number, `p99.9999`: the sketch could not distinguish more digits.
const PERCENTILE_CHARS_MAX: usize = 8;

/// A text that is not an aggregate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// There is none of this name.
    #[error(
        "unknown aggregate {0:?}: choose from {names}, or a percentile from p0 to p100 such as p50 or p99.9; between two of them may be + - * or /",
        names = list()
    )]
    Unknown(String),
    /// Its arguments are missing or wrong.
    #[error("aggregate {text:?}: {reason}; write {usage}")]
    Arguments {
        /// Beginning of the text.
        text: String,
        /// How it is written.
        usage: String,
        /// Why the arguments are refused.
        reason: ArgumentError,
    },
    /// It computes something of two aggregates that cannot be computed.
    #[error("aggregate {text:?}: {reason}")]
    Arithmetic {
        /// Beginning of the text.
        text: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The text has too many bytes.
    #[error("an aggregate of {0} bytes, at most {TEXT_BYTES_MAX} are allowed")]
    Long(usize),
}

/// How the arguments of an aggregate make it.
enum Form {
    Plain(Aggregate),
    /// One number.
    Bound(fn(f64) -> Aggregate),
    /// Two numbers that increase.
    Bounds(fn(f64, f64) -> Aggregate),
    /// A percentage below 50.
    Percent(fn(f64) -> Aggregate),
    State(fn(String) -> Aggregate),
    /// Numbers that increase: an aggregate for each class.
    Histogram,
}

/// A row of the table.
pub(super) struct Named {
    name: &'static str,
    /// Other names for the same.
    aliases: &'static [&'static str],
    form: Form,
}

const fn value(name: &'static str, value: Value) -> Named {
    Named { name, aliases: &[], form: Form::Plain(Aggregate::Value(value)) }
}

const fn value_alias(name: &'static str, aliases: &'static [&'static str], value: Value) -> Named {
    Named { name, aliases, form: Form::Plain(Aggregate::Value(value)) }
}

const fn order(name: &'static str, order: Order) -> Named {
    Named { name, aliases: &[], form: Form::Plain(Aggregate::Order(order)) }
}

const fn state(name: &'static str, state: State) -> Named {
    Named { name, aliases: &[], form: Form::Plain(Aggregate::State(state)) }
}

const fn with(name: &'static str, form: Form) -> Named {
    Named { name, aliases: &[], form }
}

/// An aggregate with several rows is displayed by the first.
pub(super) static NAMED: [Named; 45] = [
    value("count", Value::Count),
    value("sum", Value::Sum),
    value_alias("mean", &["avg"], Value::Mean),
    value_alias("variance", &["var"], Value::Variance),
    value("stddev", Value::Stddev),
    value_alias("sample_variance", &["var_samp"], Value::SampleVariance),
    value_alias("sample_stddev", &["stddev_samp"], Value::SampleStddev),
    value("skewness", Value::Skewness),
    value("kurtosis", Value::Kurtosis),
    value("min", Value::Min),
    value("max", Value::Max),
    value("range", Value::Range),
    value("first", Value::First),
    value("last", Value::Last),
    value("min_time", Value::MinTime),
    value("max_time", Value::MaxTime),
    value("first_time", Value::FirstTime),
    value("last_time", Value::LastTime),
    value("median", Value::Percentile(50.0)),
    value_alias("interquartile_range", &["iqr"], Value::InterquartileRange),
    with("trimmed_mean", Form::Percent(|percent| Aggregate::Value(Value::TrimmedMean(percent)))),
    value("interquartile_mean", Value::TrimmedMean(25.0)),
    with("below", Form::Bound(|bound| Aggregate::Value(Value::Below(bound)))),
    with("at_least", Form::Bound(|bound| Aggregate::Value(Value::AtLeast(bound)))),
    with("between", Form::Bounds(|from, to| Aggregate::Value(Value::Between(from, to)))),
    with("histogram", Form::Histogram),
    value("distinct", Value::Distinct),
    order("increase", Order::Increase),
    order("rate", Order::Rate),
    order("delta", Order::Delta),
    order("resets", Order::Resets),
    order("changes", Order::Changes),
    order("time_weighted_mean", Order::TimeWeightedMean),
    order("time_weighted_mean_linear", Order::TimeWeightedMeanLinear),
    order("integral", Order::Integral),
    order("integral_linear", Order::IntegralLinear),
    with("time_above", Form::Bound(|bound| Aggregate::Order(Order::TimeAbove(bound)))),
    with("time_below", Form::Bound(|bound| Aggregate::Order(Order::TimeBelow(bound)))),
    state("state_count", State::Count),
    with("time_in", Form::State(|state| Aggregate::State(State::TimeIn(state)))),
    with("share_of", Form::State(|state| Aggregate::State(State::ShareOf(state)))),
    state("transitions", State::Transitions),
    state("last_state", State::Last),
    state("state_times", State::Times),
    state("state_shares", State::Shares),
];

/// The arguments of an aggregate.
enum Arguments<'a> {
    None,
    One(f64),
    Two(f64, f64),
    State(&'a str),
}

impl fmt::Display for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::One(number) => write!(f, "({})", Number(*number)),
            Self::Two(first, second) => write!(f, "({},{})", Number(*first), Number(*second)),
            Self::State(state) => write!(f, "({})", arguments::State(state)),
        }
    }
}

impl Named {
    /// Its name and its aliases.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Its arguments as they are listed.
    fn usage(&self) -> &'static str {
        match self.form {
            Form::Plain(_) => "",
            Form::Bound(_) => "(x)",
            Form::Bounds(_) => "(a,b)",
            Form::Percent(_) => "(p)",
            Form::State(_) => "(STATE)",
            Form::Histogram => "(b1,b2,…)",
        }
    }

    /// Whether these arguments make that aggregate.
    fn makes(&self, aggregate: &Aggregate, arguments: &Arguments<'_>) -> bool {
        match (&self.form, arguments) {
            (Form::Plain(plain), _) => plain == aggregate,
            (Form::Bound(make) | Form::Percent(make), Arguments::One(number)) => make(*number) == *aggregate,
            (Form::Bounds(make), Arguments::Two(first, second)) => make(*first, *second) == *aggregate,
            (Form::State(make), Arguments::State(state)) => make((*state).to_owned()) == *aggregate,
            _ => false,
        }
    }

    /// The aggregates with these arguments; `None`: there are no parentheses. More than one only of a histogram.
    fn make(&self, arguments: Option<&str>) -> Result<Vec<Aggregate>, ArgumentError> {
        let numbers = || arguments.map_or(Ok(Vec::new()), arguments::numbers);
        let aggregate = match &self.form {
            Form::Plain(aggregate) => match arguments {
                None => aggregate.clone(),
                Some(_) => return Err(ArgumentError::Count { expected: "no argument", got: 1 }),
            },
            Form::State(make) => match arguments {
                Some(text) => make(arguments::state(text)?),
                None => return Err(ArgumentError::Count { expected: "a state", got: 0 }),
            },
            Form::Bound(make) | Form::Percent(make) => match numbers()?[..] {
                [percent] if matches!(self.form, Form::Percent(_)) && !(0.0..50.0).contains(&percent) => {
                    return Err(ArgumentError::Percent);
                }
                [number] => make(number),
                ref other => return Err(ArgumentError::Count { expected: "a number", got: other.len() }),
            },
            Form::Bounds(make) => match numbers()?[..] {
                [first, second] if first < second => make(first, second),
                [_, _] => return Err(ArgumentError::Order),
                ref other => return Err(ArgumentError::Count { expected: "two numbers", got: other.len() }),
            },
            Form::Histogram => return classes(&numbers()?),
        };
        Ok(vec![aggregate])
    }
}

/// Aggregates of the classes between bounds.
fn classes(bounds: &[f64]) -> Result<Vec<Aggregate>, ArgumentError> {
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
        return Err(ArgumentError::Count { expected: "at least one number", got: 0 });
    };
    let pairs = || bounds.iter().zip(bounds.iter().skip(1));
    if pairs().any(|(from, to)| from >= to) {
        return Err(ArgumentError::Order);
    }
    let mut classes = vec![Value::Below(*first)];
    classes.extend(pairs().map(|(from, to)| Value::Between(*from, *to)));
    classes.push(Value::AtLeast(*last));
    Ok(classes.into_iter().map(Aggregate::Value).collect())
}

/// All names and aliases with their arguments.
pub(super) fn usages() -> impl Iterator<Item = String> {
    NAMED.iter().flat_map(|named| named.names().map(|name| format!("{name}{}", named.usage())))
}

fn list() -> String {
    usages().collect::<Vec<_>>().join(", ")
}

fn percentile(text: &str) -> Option<Aggregate> {
    let digits = text.strip_prefix('p')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.len() <= PERCENTILE_CHARS_MAX;
    let percent: f64 = plain.then(|| digits.parse().ok())??;
    (percent <= 100.0).then_some(Aggregate::Value(Value::Percentile(percent)))
}

impl Aggregate {
    /// The columns that a text requests, with their names: of a histogram one for each class, otherwise one, which
    /// keeps the text as its name.
    ///
    /// # Errors
    /// The text is not an aggregate.
    pub fn columns(text: &str) -> Result<Vec<(String, Self)>, AggregateError> {
        let beginning = || text.chars().take(40).collect();
        if text.len() > TEXT_BYTES_MAX {
            return Err(AggregateError::Long(text.len()));
        }
        if let Some(percentile) = percentile(text) {
            return Ok(vec![(text.to_owned(), percentile)]);
        }
        if let Some(arithmetic) = Arithmetic::parse(text) {
            return Ok(vec![(text.to_owned(), Self::Arithmetic(Box::new(arithmetic?)))]);
        }
        let (name, arguments) = match text.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
            Some((name, arguments)) => (name, Some(arguments)),
            None => (text, None),
        };
        let named = NAMED.iter().find(|named| named.names().any(|known| known == name));
        let named = named.ok_or_else(|| AggregateError::Unknown(beginning()))?;
        let aggregates = named.make(arguments).map_err(|reason| AggregateError::Arguments {
            text: beginning(),
            usage: format!("{name}{}", named.usage()),
            reason,
        })?;
        let column = |aggregate: Self| match named.form {
            Form::Histogram => (aggregate.to_string(), aggregate),
            _ => (text.to_owned(), aggregate),
        };
        Ok(aggregates.into_iter().map(column).collect())
    }

    fn arguments(&self) -> Arguments<'_> {
        match self {
            Self::Value(Value::Below(x) | Value::AtLeast(x) | Value::TrimmedMean(x))
            | Self::Order(Order::TimeAbove(x) | Order::TimeBelow(x)) => Arguments::One(*x),
            Self::Value(Value::Between(from, to)) => Arguments::Two(*from, *to),
            Self::State(State::TimeIn(state) | State::ShareOf(state)) => Arguments::State(state),
            Self::Value(_) | Self::Order(_) | Self::State(_) | Self::Arithmetic(_) => Arguments::None,
        }
    }
}

impl FromStr for Aggregate {
    type Err = AggregateError;

    /// Parses a text that requests one column.
    fn from_str(text: &str) -> Result<Self, AggregateError> {
        match <[_; 1]>::try_from(Self::columns(text)?) {
            Ok([(_, aggregate)]) => Ok(aggregate),
            Err(_) => Err(AggregateError::Unknown(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Value(Value::Percentile(percent)) = self {
            return write!(f, "p{percent}");
        }
        if let Self::Arithmetic(arithmetic) = self {
            return arithmetic.fmt(f);
        }
        let arguments = self.arguments();
        match NAMED.iter().find(|named| named.makes(self, &arguments)) {
            Some(named) => write!(f, "{}{arguments}", named.name),
            // Every other one is in the table; a test checks this.
            None => fmt::Debug::fmt(self, f),
        }
    }
}
