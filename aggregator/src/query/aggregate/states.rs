//! Aggregates of states: readings that are texts.

use catchment_partial::{OTHER_STATE, OrderFigures};

use super::{AggregateValue, Figures};

/// An aggregate of the states of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum StateAggregate {
    /// Number of readings that are states.
    Count,
    /// Seconds in a state.
    TimeIn(String),
    /// Share of the time in a state, 0 to 1.
    ShareOf(String),
    /// Number of changes from one state to another.
    Transitions,
    /// The latest state.
    Last,
    /// Seconds in each state.
    Times,
    /// Share of the time in each state, 0 to 1.
    Shares,
}

impl StateAggregate {
    /// Whether it needs [`Figures::order`].
    pub(super) fn needs_order(&self) -> bool {
        *self != Self::Count
    }

    pub(super) fn evaluate(&self, figures: &Figures) -> Option<AggregateValue> {
        if *self == Self::Count {
            return Some(AggregateValue::Number(figures.partial.state_count() as f64));
        }
        let order = figures.order.as_ref()?;
        match self {
            Self::Count => None,
            Self::TimeIn(state) => time_in(&order.state_times()?, state).map(AggregateValue::Number),
            Self::ShareOf(state) => {
                let times = order.state_times()?;
                share(time_in(&times, state)?, total(&times)).map(AggregateValue::Number)
            }
            Self::Transitions => order.transitions().map(|count| AggregateValue::Number(count as f64)),
            Self::Last => order.last_state().map(|state| AggregateValue::Text(state.to_owned())),
            Self::Times => Some(AggregateValue::States(shown(order)?)),
            Self::Shares => {
                let times = shown(order)?;
                let total = times.iter().map(|(_, time)| time).sum();
                let shares = times.into_iter().map(|(state, time)| Some((state, share(time, total)?)));
                shares.collect::<Option<_>>().map(AggregateValue::States)
            }
        }
    }
}

/// `None`: the state may be among those that count as other.
fn time_in(times: &[(&str, f64)], state: &str) -> Option<f64> {
    let time_in = |state: &str| times.iter().find(|(known, _)| *known == state).map(|(_, time)| *time);
    time_in(state).or_else(|| time_in(OTHER_STATE).is_none().then_some(0.0))
}

fn total(times: &[(&str, f64)]) -> f64 {
    times.iter().map(|(_, time)| time).sum()
}

/// `None` if no state lasted.
fn share(time: f64, total: f64) -> Option<f64> {
    (total > 0.0).then(|| time / total)
}

/// The times in all states, sorted by the states.
fn shown(order: &OrderFigures) -> Option<Vec<(String, f64)>> {
    let times = order.state_times()?;
    Some(times.into_iter().map(|(state, time)| (state.to_owned(), time)).collect())
}
