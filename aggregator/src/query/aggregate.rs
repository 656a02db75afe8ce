//! The aggregates that a query may request, each a function of the figures of one point.
//!
//! * `names`: the table of all names, parsing and display.
//! * `arguments`: numbers and states in parentheses.
//! * `values`: of the readings in any order, from one merged partial.
//! * `order`: counters and time-weighted figures, from the order of each series' readings.
//! * `states`: readings that are texts.
//! * `arithmetic`: of two of these.

mod arguments;
mod arithmetic;
mod names;
mod order;
mod states;
mod values;

use catchment_columns::Kind;
use catchment_partial::{OrderFigures, Partial, Parts};

pub use arguments::ArgumentError;
pub use arithmetic::{Arithmetic, characters};
pub use names::AggregateError;
pub use order::OrderAggregate;
pub use states::StateAggregate;
pub use values::ValueAggregate;

/// An aggregate of the readings in a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    /// Of the numbers, in any order.
    Value(ValueAggregate),
    /// Of the numbers in the order of each series.
    Order(OrderAggregate),
    /// Of the states.
    State(StateAggregate),
    /// Computed of two others.
    Arithmetic(Box<Arithmetic>),
}

/// What the readings of a point are merged into.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// All readings, in any order.
    pub partial: Partial,
    /// The sums over the series of what depends on the order; `None`: it was not requested.
    pub order: Option<OrderFigures>,
}

/// The value of an aggregate.
#[derive(Clone, Debug, PartialEq)]
pub enum AggregateValue {
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
    /// A number for each state, sorted by the states.
    States(Vec<(String, f64)>),
}

impl Figures {
    /// Of no readings yet, to keep these optional parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { partial: Partial::with_parts(parts), order: None }
    }
}

impl Aggregate {
    /// The number of readings.
    pub const COUNT: Self = Self::Value(ValueAggregate::Count);

    /// The optional parts that [`Figures::partial`] must keep for it.
    #[must_use]
    pub fn parts(&self) -> Parts {
        match self {
            Self::Value(ValueAggregate::Skewness | ValueAggregate::Kurtosis) => Parts::MOMENTS,
            Self::Value(ValueAggregate::Distinct) => Parts::DISTINCT,
            Self::Arithmetic(of) => {
                of.sides().into_iter().fold(Parts::NONE, |all, side| all.with(side.parts()))
            }
            _ => Parts::NONE,
        }
    }

    /// Whether it must be computed from the windows as long as they are stored: because it depends on how partials are
    /// merged, or on parts that windows of few readings do not carry.
    #[must_use]
    pub fn needs_windows(&self) -> bool {
        match self {
            Self::Arithmetic(of) => of.sides().into_iter().any(Self::needs_windows),
            _ => self.needs_order() || matches!(self, Self::State(_)) || self.parts() != Parts::NONE,
        }
    }

    /// What its values are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        use StateAggregate::{Last, Shares, Times};
        match self {
            Self::State(Last) => Kind::Text,
            Self::State(Shares | Times) => Kind::States,
            _ => Kind::Number,
        }
    }

    /// Whether its values are numbers; otherwise they are texts or states.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.kind() == Kind::Number
    }

    /// Whether it needs [`Figures::order`].
    #[must_use]
    pub fn needs_order(&self) -> bool {
        match self {
            Self::Value(_) => false,
            Self::Order(_) => true,
            Self::State(state) => state.needs_order(),
            Self::Arithmetic(of) => of.sides().into_iter().any(Self::needs_order),
        }
    }

    /// The bounds, at most two, for which [`Figures::order`] must know the times above and below.
    pub fn time_bounds(&self) -> impl Iterator<Item = f64> {
        let bound = |of: &Self| match of {
            Self::Order(OrderAggregate::TimeAbove(bound) | OrderAggregate::TimeBelow(bound)) => Some(*bound),
            _ => None,
        };
        // Arithmetic is between aggregates that are not arithmetic.
        let bounds = match self {
            Self::Arithmetic(of) => of.sides().map(bound),
            plain => [bound(plain), None],
        };
        bounds.into_iter().flatten()
    }

    /// Its value; `None` if it is undefined (no readings, or beyond the range of a double) or not known.
    #[must_use]
    pub fn evaluate(&self, figures: &Figures) -> Option<AggregateValue> {
        let number = |value: Option<f64>| value.filter(|v| v.is_finite()).map(AggregateValue::Number);
        match self {
            Self::Value(aggregate) => number(aggregate.evaluate(&figures.partial)),
            Self::Order(aggregate) => number(figures.order.as_ref().and_then(|of| aggregate.evaluate(of))),
            Self::State(aggregate) => aggregate.evaluate(figures),
            Self::Arithmetic(of) => number(of.evaluate(figures)),
        }
    }
}

#[cfg(test)]
mod tests;
