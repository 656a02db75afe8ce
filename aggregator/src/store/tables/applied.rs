//! Retention as far as it was applied: from when on each resolution is complete, for the series of each rule.
//!
//! Stored with the tables, so that a start knows it before any configuration. A floor never goes back: what was removed
//! stays removed, whatever the rules say later.

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, SeriesKey};
use prost::Message;

use crate::{
    selector::Selector,
    store::tables::pieces::{ALL_KEPT, Floors},
};

/// The floors of the series that a rule is the first to match.
#[derive(Clone, Debug)]
pub(in crate::store) struct AppliedRule {
    pub(in crate::store) selector: Selector,
    pub(in crate::store) floors: Floors,
}

/// The rules that were applied last, in order.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Applied {
    pub(in crate::store) rules: Vec<AppliedRule>,
    /// The floors of series that no rule matches.
    pub(in crate::store) others: Floors4,
}

/// [`Floors`] that begin with nothing removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Floors4(pub(in crate::store) Floors);

impl Default for Floors4 {
    fn default() -> Self {
        Self(ALL_KEPT)
    }
}

impl Applied {
    /// Number of the rule of a series; that of the last one plus one if none matches.
    pub(in crate::store) fn rule_of(&self, gateway: &GatewayId, key: &SeriesKey) -> usize {
        let first = self.rules.iter().position(|rule| rule.selector.matches(gateway, key));
        first.unwrap_or(self.rules.len())
    }

    /// Floors of the series of a rule.
    pub(in crate::store) fn floors(&self, rule: usize) -> Floors {
        self.rules.get(rule).map_or(self.others.0, |rule| rule.floors)
    }

    /// Whether these are the selectors of its rules.
    pub(in crate::store) fn has(&self, selectors: &[Selector]) -> bool {
        let own = self.rules.iter().map(|rule| rule.selector.text());
        own.eq(selectors.iter().map(Selector::text))
    }

    /// Rules with these selectors in the place of its own. Of each series that exists [`Applied::inherit`] must be told.
    pub(in crate::store) fn with(selectors: Vec<Selector>) -> Self {
        let rules = selectors.into_iter().map(|selector| AppliedRule { selector, floors: ALL_KEPT });
        Self { rules: rules.collect(), others: Floors4::default() }
    }

    /// What was removed of a series under earlier rules stays removed under its present one.
    pub(in crate::store) fn inherit(&mut self, before: &Self, gateway: &GatewayId, key: &SeriesKey) {
        let floors = before.floors(before.rule_of(gateway, key));
        if floors != ALL_KEPT {
            self.raise(self.rule_of(gateway, key), &floors);
        }
    }

    /// Raises the floors of a rule; returns whether that changes anything.
    pub(in crate::store) fn raise(&mut self, rule: usize, floors: &Floors) -> bool {
        let known = match self.rules.get_mut(rule) {
            Some(rule) => &mut rule.floors,
            None => &mut self.others.0,
        };
        let raised = max(known, floors);
        std::mem::replace(known, raised) != raised
    }
}

fn max(a: &Floors, b: &Floors) -> Floors {
    let mut floors = *a;
    for (floor, other) in floors.iter_mut().zip(b) {
        *floor = (*floor).max(*other);
    }
    floors
}

#[derive(Clone, PartialEq, Message)]
struct RuleRecord {
    #[prost(string, tag = "1")]
    selector: String,
    #[prost(sint64, repeated, tag = "2")]
    floors: Vec<i64>,
}

/// The record of [`Applied`]; the last rule is that of the other series.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct AppliedRecord {
    #[prost(message, repeated, tag = "1")]
    rules: Vec<RuleRecord>,
}

impl Applied {
    pub(in crate::store) fn record(&self) -> AppliedRecord {
        let record = |selector: &str, floors: &Floors| RuleRecord {
            selector: selector.to_owned(),
            floors: floors.iter().map(|floor| floor.as_nanos()).collect(),
        };
        let mut rules: Vec<RuleRecord> =
            self.rules.iter().map(|rule| record(rule.selector.text(), &rule.floors)).collect();
        rules.push(record("", &self.others.0));
        AppliedRecord { rules }
    }

    /// `None` if the record breaks a rule.
    pub(in crate::store) fn restore(record: AppliedRecord) -> Option<Self> {
        let floors = |of: &[i64]| -> Option<Floors> {
            let all: [i64; 4] = of.try_into().ok()?;
            Some(all.map(Timestamp::from_nanos))
        };
        let (others, rules) = record.rules.split_last()?;
        let mut applied = Self { rules: Vec::new(), others: Floors4(floors(&others.floors)?) };
        for rule in rules {
            let selector = Selector::parse_or_all(&rule.selector).ok()?;
            applied.rules.push(AppliedRule { selector, floors: floors(&rule.floors)? });
        }
        Some(applied)
    }
}
