//! Who watches what: subscriptions, operators, and the queries that a series belongs to.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use catchment_proto::OperatorId;

use super::{shares::Share, subscription::Subscription, watched::Watched};
use crate::store::SeriesId;

/// Changes whenever a subscription comes or goes. Locked before everything else.
#[derive(Default)]
pub(super) struct State {
    pub(super) subscriptions: HashMap<u64, Arc<Subscription>>,
    pub(super) next_id: u64,
    pub(super) operators: HashMap<OperatorId, Operator>,
    /// The queries that are watched, by what was requested.
    pub(super) watched: HashMap<Vec<u8>, Arc<Watched>>,
    /// Where a series belongs.
    pub(super) by_series: HashMap<SeriesId, Vec<Member>>,
    /// Subscriptions whose rounds are due, by tick.
    pub(super) due: BTreeMap<u64, Vec<Arc<Subscription>>>,
    /// Those whose reader is gone.
    pub(super) leaving: Vec<Arc<Subscription>>,
    /// Those that ended with an error which their reader has not read yet.
    pub(super) ending: Vec<Arc<Subscription>>,
}

/// A series among those of a query: its group, and the number of its gateway there.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) watched: Arc<Watched>,
    pub(super) group: u32,
    pub(super) gateway: u32,
}

/// An operator with subscriptions.
pub(super) struct Operator {
    pub(super) subscriptions: usize,
    pub(super) share: Arc<Share>,
    /// Its subscriptions whose rounds are to be worked on.
    pub(super) ready: VecDeque<Arc<Subscription>>,
    /// A query thread works on them, or will.
    pub(super) pumping: bool,
}

impl Operator {
    /// Whether it has no subscriptions any more.
    pub(super) fn is_gone(&self) -> bool {
        self.subscriptions == 0
    }
}

impl State {
    /// Whether a series is among those of a query.
    pub(super) fn belongs(&self, series: SeriesId, watched: &Arc<Watched>) -> bool {
        let queries = self.by_series.get(&series);
        queries.is_some_and(|queries| queries.iter().any(|known| Arc::ptr_eq(&known.watched, watched)))
    }

    /// Forgets that series are among those of a query.
    pub(super) fn forget<'a>(&mut self, watched: &Arc<Watched>, series: impl Iterator<Item = &'a SeriesId>) {
        for series in series {
            if let Some(queries) = self.by_series.get_mut(series) {
                queries.retain(|known| !Arc::ptr_eq(&known.watched, watched));
                if queries.is_empty() {
                    self.by_series.remove(series);
                }
            }
        }
    }
}
