//! The order of groups: those with the greatest or least numbers over the whole range, found before their points are read.
//!
//! Each group is read as one point, from rows as coarse as its aggregate allows. What is kept of it is its number; the
//! points of those that come in the answer are read after that, in their order.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    error::QueryError,
    groups::{Group, Groups},
    messages::Message,
    plan::Order,
    read::Query,
    scan::{self, Answer},
};

/// Groups between two yield points.
const CHECK_EVERY: usize = 64;
/// Approximate memory of a place in the order.
const PLACE_BYTES: usize = 48;

/// The groups with the best numbers so far.
#[derive(Debug)]
pub(super) struct Ranking {
    /// Most groups; `None`: all.
    most: Option<usize>,
    ascending: bool,
    /// Whether numbers matter; otherwise all groups are equal.
    by_number: bool,
    /// By what comes first: has a number, its place, the group's number.
    places: BTreeSet<(bool, u64, usize)>,
}

impl Ranking {
    pub(super) fn new(order: &Order) -> Self {
        let Order { most, ascending, ref by } = *order;
        Self { most, ascending, by_number: by.is_some(), places: BTreeSet::new() }
    }

    /// Adds a group with readings, and its number if it has one.
    pub(super) fn push(&mut self, group: usize, number: Option<f64>) {
        let number = number.filter(|_| self.by_number);
        let place = number.map_or(0, |number| if self.ascending { place(number) } else { !place(number) });
        self.places.insert((number.is_none(), place, group));
        if self.most.is_some_and(|most| self.places.len() > most) {
            self.places.pop_last();
        }
    }

    /// Adds the group of a message with its one point.
    pub(super) fn push_message(&mut self, message: &Message) {
        let value = message.series.points.first().and_then(|point| point.values.first());
        self.push(message.group, value.and_then(|value| value.number));
    }

    /// Numbers of the groups, in order.
    fn into_groups(self) -> impl Iterator<Item = usize> {
        self.places.into_iter().map(|(.., group)| group)
    }
}

/// A number whose order is that of the doubles.
fn place(number: f64) -> u64 {
    // Turns negative zero into zero.
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The groups of an answer, in their order; those without readings in the range may be missing.
///
/// # Errors
/// What ends the query.
pub(super) async fn ordered(
    query: &Arc<Query>,
    order: &Order,
    groups: Groups,
    answer: &mut Answer<'_>,
) -> Result<Vec<Arc<Group>>, QueryError> {
    let sink = answer.sink;
    let (collected, mut bytes) = (groups.bytes(), query.plan.bytes());
    let mut all = Vec::new();
    for (number, group) in groups.into_groups().enumerate() {
        if number.is_multiple_of(CHECK_EVERY) {
            sink.yield_point().await?;
            sink.set_memory(collected + bytes)?;
        }
        bytes += group.bytes() + PLACE_BYTES;
        all.push(group);
    }
    sink.set_memory(bytes)?;
    let first_pass = Arc::new(Query::new(Arc::clone(&query.store), query.plan.of_order(order)));
    let mut ranking = Ranking::new(order);
    answer.ranking = Some(ranking);
    let groups = all.clone().into_iter();
    scan::read_groups(&first_pass, Box::new(groups), answer).await?;
    ranking = answer.ranking.take().unwrap_or_else(|| Ranking::new(order));
    let places: HashMap<usize, usize> =
        ranking.into_groups().enumerate().map(|(at, group)| (group, at)).collect();
    let mut chosen: Vec<Option<Arc<Group>>> = vec![None; places.len()];
    bytes = query.plan.bytes();
    for (number, group) in all.into_iter().enumerate() {
        if number.is_multiple_of(CHECK_EVERY) {
            sink.yield_point().await?;
        }
        let place = places.get(&group.number).and_then(|at| chosen.get_mut(*at));
        if let Some(place) = place {
            bytes += group.bytes();
            *place = Some(group);
        }
    }
    sink.set_memory(bytes)?;
    Ok(chosen.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_come_first_and_those_without_a_number_last(
            numbers in prop::collection::vec(prop::option::weighted(0.8, prop_oneof![
                -3.0..3.0_f64, (-2..2_i32).prop_map(f64::from), Just(-0.0),
            ]), 0..30),
            most in prop::option::of(1..10_usize),
            ascending in any::<bool>(),
        ) {
            let mut ranking = Ranking { most, ascending, by_number: true, places: BTreeSet::new() };
            for (group, number) in numbers.iter().enumerate() {
                ranking.push(group, *number);
            }
            let mut expected: Vec<usize> = (0..numbers.len()).collect();
            expected.sort_by(|a, b| match (numbers[*a], numbers[*b]) {
                (Some(a), Some(b)) if ascending => a.partial_cmp(&b).unwrap(),
                (Some(a), Some(b)) => b.partial_cmp(&a).unwrap(),
                (a, b) => a.is_none().cmp(&b.is_none()),
            });
            expected.truncate(most.unwrap_or(usize::MAX));
            prop_assert_eq!(ranking.into_groups().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_whole_range_of_doubles_is_ordered() {
        let numbers = [f64::MIN, -1.0, -f64::MIN_POSITIVE, 0.0, f64::MIN_POSITIVE, 1.0, f64::MAX];
        assert!(numbers.map(place).is_sorted_by(|a, b| a < b));
        assert_eq!(place(-0.0), place(0.0));
    }
}
