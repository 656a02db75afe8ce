//! Scheduling: slots and turns of queries, shared fairly between operators. Pure: no threads, no clock.
//!
//! A query holds a *slot* from its start to its end, and a *turn* only while it works. Slots are bounded per operator
//! and in total, and an operator never holds more of them than are left free: the first gets at most half, the next
//! half of the rest, and so on. A freed slot goes to the operator with the fewest. Memory and the queue are shared by
//! the same rule. Turns go to the operator that has used the least time, and within an operator in order of arrival.
//!
//! A query may have *parts*, which take turns of their own: several threads then work for it. They have no slot, and the
//! memory that they reserve is the query's.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::Hash,
};

/// Number of a query; never reused.
pub(super) type QueryId = u64;

/// Capacity to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Slots of all operators.
    pub(super) slots: usize,
    /// Slots of one operator.
    pub(super) slots_per_operator: usize,
    /// Waiting queries of all operators.
    pub(super) waiting: usize,
    /// Waiting queries of one operator.
    pub(super) waiting_per_operator: usize,
    /// Bytes of all queries.
    pub(super) memory: usize,
}

/// Outcome of submitting a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It has a slot and is ready for its first turn.
    Started(QueryId),
    /// It waits for a slot.
    Waiting(QueryId),
    /// The operator has as many waiting queries as it may have now; holds their number.
    Refused(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// Has a slot and no work.
    Idle,
    /// Has a slot and waits for a turn.
    Ready,
    /// Has the turn; `woken`: more work arrived meanwhile.
    Running {
        woken: bool,
    },
}

#[derive(Debug)]
struct Query<K> {
    operator: K,
    phase: Phase,
    /// Whether it is a part of another one.
    part: bool,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Operator {
    slots: usize,
    /// Number of parts of its queries.
    parts: usize,
    waiting: VecDeque<QueryId>,
    ready: VecDeque<QueryId>,
    /// Number of its queries that have the turn.
    turns: usize,
    bytes: usize,
    /// Time used, at least the scheduler's `now` when it last became active.
    used: u64,
    /// Its key in `order`, if it has ready queries.
    order_key: Option<(u64, u64)>,
    /// Sequence number of its last start.
    started_at: u64,
}

impl Operator {
    fn is_idle(&self) -> bool {
        self.slots == 0 && self.parts == 0 && self.waiting.is_empty()
    }
}

/// Most operators remembered after they left ahead of the others in time used; beyond, their time is forgotten.
const DEPARTED_MAX: usize = 1_024;

/// Slots and turns. `K` identifies an operator.
#[derive(Debug)]
pub(super) struct Scheduler<K> {
    bounds: Bounds,
    operators: HashMap<K, Operator>,
    /// Time used by operators without queries, where it is ahead of `now`: leaving and returning does not reset it.
    departed: HashMap<K, u64>,
    queries: HashMap<QueryId, Query<K>>,
    /// Operators with ready queries, by time used, least first.
    order: BTreeSet<(u64, u64, K)>,
    next_id: QueryId,
    /// Makes keys of `order` unique, in order of arrival.
    sequence: u64,
    /// Time used by the operator of the last turn; a newcomer starts here.
    now: u64,
    slots: usize,
    waiting: usize,
    ready: usize,
    bytes: usize,
}

impl<K: Clone + Eq + Hash + Ord> Scheduler<K> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            operators: HashMap::new(),
            departed: HashMap::new(),
            queries: HashMap::new(),
            order: BTreeSet::new(),
            next_id: 0,
            sequence: 0,
            now: 0,
            slots: 0,
            waiting: 0,
            ready: 0,
            bytes: 0,
        }
    }

    /// Number of queries with a slot.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Number of queries waiting for a slot.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Number of queries waiting for a turn.
    pub(super) fn ready_count(&self) -> usize {
        self.ready
    }

    /// Bytes held by all queries.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }

    /// Submits a query.
    pub(super) fn submit(&mut self, operator: &K) -> Arrival {
        let free = self.bounds.waiting.saturating_sub(self.waiting).min(self.bounds.waiting_per_operator);
        let departed = &mut self.departed;
        let known = self.operators.entry(operator.clone()).or_insert_with(|| Operator {
            used: departed.remove(operator).unwrap_or_default(),
            ..Operator::default()
        });
        let starts = known.waiting.is_empty() && may_start(&self.bounds, self.slots, known.slots);
        if !starts && known.waiting.len() >= free {
            let waiting = known.waiting.len();
            self.forget_if_idle(operator);
            return Arrival::Refused(waiting);
        }
        let id = self.next_id;
        self.next_id += 1;
        let query = Query { operator: operator.clone(), phase: Phase::Waiting, part: false, bytes: 0 };
        self.queries.insert(id, query);
        if starts {
            self.start(id);
            return Arrival::Started(id);
        }
        known.waiting.push_back(id);
        self.waiting += 1;
        Arrival::Waiting(id)
    }

    /// Adds a part to a query that has a slot, ready for its first turn; `None`: the query has ended.
    pub(super) fn add_part(&mut self, id: QueryId) -> Option<QueryId> {
        if !self.has_slot(id) {
            return None;
        }
        let operator = self.queries.get(&id)?.operator.clone();
        self.operators.get_mut(&operator)?.parts += 1;
        let part = self.next_id;
        self.next_id += 1;
        let query = Query { operator: operator.clone(), phase: Phase::Ready, part: true, bytes: 0 };
        self.queries.insert(part, query);
        self.enqueue_query(part, &operator);
        Some(part)
    }

    /// Whether a query has a slot.
    pub(super) fn has_slot(&self, id: QueryId) -> bool {
        self.queries.get(&id).is_some_and(|query| query.phase != Phase::Waiting)
    }

    /// Marks that a query has work to do.
    pub(super) fn mark_ready(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        match &mut query.phase {
            Phase::Waiting | Phase::Ready => {}
            Phase::Running { woken } => *woken = true,
            phase @ Phase::Idle => {
                *phase = Phase::Ready;
                let operator = query.operator.clone();
                self.enqueue_query(id, &operator);
            }
        }
    }

    /// Gives the next turn.
    pub(super) fn next_to_run(&mut self) -> Option<QueryId> {
        let (used, _, operator) = self.order.pop_first()?;
        if used > self.now {
            self.now = used;
            self.departed.retain(|_, departed| *departed > used);
        }
        let known = self.operators.get_mut(&operator)?;
        known.order_key = None;
        let id = known.ready.pop_front()?;
        known.turns += 1;
        self.ready -= 1;
        if let Some(query) = self.queries.get_mut(&id) {
            query.phase = Phase::Running { woken: false };
        }
        self.enqueue_operator(&operator);
        Some(id)
    }

    /// Ends a turn that took `cost`; `again`: the query has more work.
    pub(super) fn end_turn(&mut self, id: QueryId, cost: u64, again: bool) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let Phase::Running { woken } = query.phase else { return };
        query.phase = Phase::Idle;
        let operator = query.operator.clone();
        self.charge(&operator, cost);
        if woken || again {
            self.mark_ready(id);
        }
    }

    /// Removes a query or part that has ended, or a query whose caller is gone.
    pub(super) fn remove(&mut self, id: QueryId) {
        let Some(query) = self.queries.remove(&id) else { return };
        let Query { operator, phase, part, bytes } = query;
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(known) = self.operators.get_mut(&operator) {
            known.bytes = known.bytes.saturating_sub(bytes);
            match phase {
                Phase::Waiting => {
                    known.waiting.retain(|waiting| *waiting != id);
                    self.waiting -= 1;
                }
                Phase::Idle | Phase::Ready | Phase::Running { .. } if part => known.parts -= 1,
                Phase::Idle | Phase::Ready | Phase::Running { .. } => {
                    known.slots -= 1;
                    self.slots -= 1;
                }
            }
            if matches!(phase, Phase::Running { .. }) {
                known.turns -= 1;
            }
            if phase == Phase::Ready {
                known.ready.retain(|ready| *ready != id);
                self.ready -= 1;
                self.enqueue_operator(&operator);
            }
        }
        self.forget_if_idle(&operator);
        while let Some(next) = self.next_to_start() {
            self.start(next);
        }
    }

    /// Reserves memory for a query; false if its operator may have no more now.
    pub(super) fn reserve_memory(&mut self, id: QueryId, bytes: usize) -> bool {
        let Some(query) = self.queries.get_mut(&id) else { return false };
        let Some(known) = self.operators.get_mut(&query.operator) else { return false };
        let free = self.bounds.memory.saturating_sub(self.bytes).saturating_sub(bytes);
        if known.bytes.saturating_add(bytes) > free {
            return false;
        }
        query.bytes += bytes;
        known.bytes += bytes;
        self.bytes += bytes;
        true
    }

    /// Releases memory.
    pub(super) fn release_memory(&mut self, id: QueryId, bytes: usize) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let bytes = bytes.min(query.bytes);
        query.bytes -= bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(known) = self.operators.get_mut(&query.operator) {
            known.bytes = known.bytes.saturating_sub(bytes);
        }
    }

    /// Gives a slot to a query that waits for one or has just arrived.
    fn start(&mut self, id: QueryId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        query.phase = Phase::Ready;
        let operator = query.operator.clone();
        self.sequence += 1;
        self.slots += 1;
        if let Some(known) = self.operators.get_mut(&operator) {
            known.slots += 1;
            known.started_at = self.sequence;
            if known.waiting.front() == Some(&id) {
                known.waiting.pop_front();
                self.waiting -= 1;
            }
        }
        self.enqueue_query(id, &operator);
    }

    /// The oldest waiting query of the operator with the fewest slots; among several, of the one whose last start was
    /// longest ago.
    fn next_to_start(&self) -> Option<QueryId> {
        if self.slots >= self.bounds.slots {
            return None;
        }
        let may = |known: &&Operator| may_start(&self.bounds, self.slots, known.slots);
        let waiting = self.operators.values().filter(|known| !known.waiting.is_empty());
        let next = waiting.filter(may).min_by_key(|known| {
            (known.slots, known.started_at, known.waiting.front().copied().unwrap_or_default())
        })?;
        next.waiting.front().copied()
    }

    /// Appends a query to its operator's ready queue.
    fn enqueue_query(&mut self, id: QueryId, operator: &K) {
        let Some(known) = self.operators.get_mut(operator) else { return };
        if known.ready.is_empty() && known.turns == 0 {
            // The operator was inactive: unused time is not saved up.
            known.used = known.used.max(self.now);
        }
        known.ready.push_back(id);
        self.ready += 1;
        self.enqueue_operator(operator);
    }

    fn charge(&mut self, operator: &K, cost: u64) {
        let Some(known) = self.operators.get_mut(operator) else { return };
        known.turns = known.turns.saturating_sub(1);
        known.used = known.used.saturating_add(cost);
        if let Some((used, sequence)) = known.order_key.take() {
            self.order.remove(&(used, sequence, operator.clone()));
            self.enqueue_operator(operator);
        }
    }

    /// Adds an operator to `order` if it has ready queries, or removes it.
    fn enqueue_operator(&mut self, operator: &K) {
        let Some(known) = self.operators.get_mut(operator) else { return };
        match (known.ready.is_empty(), known.order_key) {
            (false, None) => {
                self.sequence += 1;
                known.order_key = Some((known.used, self.sequence));
                self.order.insert((known.used, self.sequence, operator.clone()));
            }
            (true, Some((used, sequence))) => {
                known.order_key = None;
                self.order.remove(&(used, sequence, operator.clone()));
            }
            _ => {}
        }
    }

    fn forget_if_idle(&mut self, operator: &K) {
        if !self.operators.get(operator).is_some_and(Operator::is_idle) {
            return;
        }
        if let Some(known) = self.operators.remove(operator)
            && known.used > self.now
            && self.departed.len() < DEPARTED_MAX
        {
            self.departed.insert(operator.clone(), known.used);
        }
        if self.operators.is_empty() {
            // Nobody waited for the time that others used.
            self.departed.clear();
        }
    }
}

/// Whether an operator with `own` slots may have another while `taken` are in use.
fn may_start(bounds: &Bounds, taken: usize, own: usize) -> bool {
    own < bounds.slots_per_operator && own < bounds.slots.saturating_sub(taken)
}

#[cfg(test)]
mod tests;
