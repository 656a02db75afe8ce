//! Retention as far as it was applied: from when on each resolution is complete, for each series.
//!
//! Stored with the tables, so that a start knows it before any configuration. What was removed stays removed, whatever the
//! rules say later: when the rules change, the earlier ones stay beside them with how far they were applied, and a series
//! has the greatest floors of all. Only the present rules remove anything, each by its own times.

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, SeriesKey};
use prost::Message;

use crate::{
    selector::Selector,
    store::tables::pieces::{ALL_KEPT, Floors},
};

/// Most sets of earlier rules; of more, the oldest two become one that holds for all series.
const EARLIER_MAX: usize = 32;

/// Rules that were in force together, and how far each was applied.
#[derive(Clone, Debug)]
pub(in crate::store) struct Rules {
    rules: Vec<(Selector, Floors)>,
    /// The floors of series that no rule matches.
    others: Floors,
}

impl Default for Rules {
    fn default() -> Self {
        Self { rules: Vec::new(), others: ALL_KEPT }
    }
}

impl Rules {
    /// Number of the rule of a series; that of the last one plus one if none matches.
    fn rule_of(&self, gateway: &GatewayId, key: &SeriesKey) -> usize {
        let first = self.rules.iter().position(|(selector, _)| selector.matches(gateway, key));
        first.unwrap_or(self.rules.len())
    }

    fn floors(&self, rule: usize) -> Floors {
        self.rules.get(rule).map_or(self.others, |(_, floors)| *floors)
    }

    /// The floors of all series that there may be.
    fn all(&self) -> impl Iterator<Item = &Floors> {
        let no_others = self.rules.last().is_some_and(|(selector, _)| selector.text().is_empty());
        let others = (!no_others).then_some(&self.others);
        self.rules.iter().map(|(_, floors)| floors).chain(others)
    }
}

/// The rules in force, and earlier ones.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Applied {
    present: Rules,
    /// From old to new.
    earlier: Vec<Rules>,
}

impl Applied {
    /// Number of the present rules, without the one of all other series.
    pub(in crate::store) fn len(&self) -> usize {
        self.present.rules.len()
    }

    /// Number of the present rule of a series; [`Applied::len`] if none matches.
    pub(in crate::store) fn rule_of(&self, gateway: &GatewayId, key: &SeriesKey) -> usize {
        self.present.rule_of(gateway, key)
    }

    /// How far a present rule was applied: what is older may be removed of its series.
    pub(in crate::store) fn rule_floors(&self, rule: usize) -> Floors {
        self.present.floors(rule)
    }

    /// Selector of a present rule.
    pub(in crate::store) fn selector(&self, rule: usize) -> Option<&Selector> {
        self.present.rules.get(rule).map(|(selector, _)| selector)
    }

    /// From when on the resolutions of a series are complete.
    pub(in crate::store) fn floors_of(&self, gateway: &GatewayId, key: &SeriesKey) -> Floors {
        let all = self.earlier.iter().chain([&self.present]);
        all.map(|rules| rules.floors(rules.rule_of(gateway, key))).fold(ALL_KEPT, |a, b| max(&a, &b))
    }

    /// At most the floors of any series.
    pub(in crate::store) fn least(&self) -> Floors {
        let of = |rules: &Rules| rules.all().fold([Timestamp::MAX; 4], |a, b| min(&a, b));
        self.earlier.iter().chain([&self.present]).map(of).fold(ALL_KEPT, |a, b| max(&a, &b))
    }

    /// At least the floors of any series.
    pub(in crate::store) fn greatest(&self) -> Floors {
        let all = self.earlier.iter().chain([&self.present]).flat_map(Rules::all);
        all.fold(ALL_KEPT, |a, b| max(&a, b))
    }

    /// These selectors in force: if they are others than now, the present rules become earlier ones.
    #[must_use]
    pub(in crate::store) fn with(&self, selectors: Vec<Selector>) -> Self {
        let same = self.present.rules.iter().map(|(selector, _)| selector.text());
        if same.eq(selectors.iter().map(Selector::text)) {
            return self.clone();
        }
        let mut applied = self.clone();
        let rules = selectors.into_iter().map(|selector| (selector, ALL_KEPT)).collect();
        let before = std::mem::replace(&mut applied.present, Rules { rules, others: ALL_KEPT });
        if before.all().any(|floors| *floors != ALL_KEPT) {
            applied.earlier.push(before);
        }
        if applied.earlier.len() > EARLIER_MAX {
            let oldest: Vec<Rules> = applied.earlier.drain(..2).collect();
            let others = oldest.iter().flat_map(Rules::all).fold(ALL_KEPT, |a, b| max(&a, b));
            applied.earlier.insert(0, Rules { rules: Vec::new(), others });
        }
        applied
    }

    /// Raises the floors of a present rule, and drops earlier rules that no longer matter.
    pub(in crate::store) fn raise(&mut self, rule: usize, floors: &Floors) {
        let known = match self.present.rules.get_mut(rule) {
            Some((_, floors)) => floors,
            None => &mut self.present.others,
        };
        *known = max(known, floors);
        let least = self.present.all().fold([Timestamp::MAX; 4], |a, b| min(&a, b));
        self.earlier.retain(|rules| rules.all().any(|floors| max(floors, &least) != least));
    }
}

fn max(a: &Floors, b: &Floors) -> Floors {
    std::array::from_fn(|n| a.get(n).max(b.get(n)).copied().unwrap_or(Timestamp::MIN))
}

fn min(a: &Floors, b: &Floors) -> Floors {
    std::array::from_fn(|n| a.get(n).min(b.get(n)).copied().unwrap_or(Timestamp::MIN))
}

#[derive(Clone, PartialEq, Message)]
struct RuleRecord {
    #[prost(string, tag = "1")]
    selector: String,
    #[prost(sint64, repeated, tag = "2")]
    floors: Vec<i64>,
}

/// Rules; the last one is that of the other series.
#[derive(Clone, PartialEq, Message)]
struct RulesRecord {
    #[prost(message, repeated, tag = "1")]
    rules: Vec<RuleRecord>,
}

/// The record of [`Applied`].
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct AppliedRecord {
    #[prost(message, optional, tag = "1")]
    present: Option<RulesRecord>,
    #[prost(message, repeated, tag = "2")]
    earlier: Vec<RulesRecord>,
}

impl Rules {
    fn record(&self) -> RulesRecord {
        let record = |selector: &str, floors: &Floors| RuleRecord {
            selector: selector.to_owned(),
            floors: floors.iter().map(|floor| floor.as_nanos()).collect(),
        };
        let named = self.rules.iter().map(|(selector, floors)| record(selector.text(), floors));
        RulesRecord { rules: named.chain([record("", &self.others)]).collect() }
    }

    fn restore(record: &RulesRecord) -> Option<Self> {
        let floors = |of: &[i64]| -> Option<Floors> {
            let all: [i64; 4] = of.try_into().ok()?;
            Some(all.map(Timestamp::from_nanos))
        };
        let (others, named) = record.rules.split_last()?;
        let mut rules = Self { rules: Vec::new(), others: floors(&others.floors)? };
        for rule in named {
            let selector = Selector::parse_or_all(&rule.selector).ok()?;
            rules.rules.push((selector, floors(&rule.floors)?));
        }
        Some(rules)
    }
}

impl Applied {
    pub(in crate::store) fn record(&self) -> AppliedRecord {
        let earlier = self.earlier.iter().map(Rules::record).collect();
        AppliedRecord { present: Some(self.present.record()), earlier }
    }

    /// `None` if the record breaks a rule.
    pub(in crate::store) fn restore(record: AppliedRecord) -> Option<Self> {
        let present = Rules::restore(&record.present?)?;
        let earlier = record.earlier.iter().map(Rules::restore).collect::<Option<_>>()?;
        Some(Self { present, earlier })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{epoch, key};

    #[test]
    fn a_rule_that_goes_leaves_what_it_removed_and_touches_no_other_series() {
        let gateway = epoch("g", 1).gateway;
        let selector = |text: &str| Selector::parse_or_all(text).unwrap();
        let at = |day: i64| Timestamp::from_nanos(day * 86_400_000_000_000);
        let of = |applied: &Applied, metric| applied.floors_of(&gateway, &key(metric));
        let mut first = Applied::default().with(vec![selector("a"), selector("")]);
        first.raise(0, &[at(20), at(10), at(5), at(1)]);
        first.raise(1, &[at(9), ALL_KEPT[1], ALL_KEPT[2], ALL_KEPT[3]]);
        assert_eq!(of(&first, "a"), [at(20), at(10), at(5), at(1)]);
        let mut second = Applied::restore(first.with(vec![selector("")]).record()).unwrap();
        second.raise(0, &[at(9), ALL_KEPT[1], ALL_KEPT[2], ALL_KEPT[3]]);
        assert_eq!(of(&second, "a"), [at(20), at(10), at(5), at(1)], "it stays removed");
        assert_eq!(of(&second, "b"), [at(9), ALL_KEPT[1], ALL_KEPT[2], ALL_KEPT[3]]);
        assert_eq!(second.rule_floors(0), of(&second, "b"), "only its own times remove anything");
        second.raise(0, &[at(30); 4]);
        assert_eq!(second.earlier.len(), 0, "nothing of the earlier rules matters any more");
        for number in 0..100 {
            second = second.with(vec![selector(&format!("m{number}")), selector("")]);
            second.raise(0, &[at(40 + number); 4]);
        }
        assert!(second.earlier.len() <= EARLIER_MAX);
        assert_eq!(of(&second, "m99"), [at(139); 4]);
    }
}
