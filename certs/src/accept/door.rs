//! Accepted connections that wait, unread, for their handshake: which is next, and which is refused.
//!
//! Invariants: addresses take turns, and the connections of one start in their order; the number of connections that
//! wait is bounded, and when it is reached, the address with the most of them loses its newest; a connection that has
//! waited for `patience` when its turn comes is refused. Pure: the time is an argument.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use catchment_settings::connection_slots::AddressBlock;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<C, S> {
    /// The connection starts its handshake, with what it was started with.
    Start(C, S),
    /// The connection has waited for too long.
    Refuse(C),
    /// Nothing can start before then; `None`: nothing waits.
    Wait(Option<Duration>),
}

/// Most addresses that are asked in vain before a pause.
const LOOKS_MAX: usize = 256;
/// That pause.
const PAUSE: Duration = Duration::from_millis(1);

struct Waiting<C> {
    addr: IpAddr,
    since: Duration,
    connection: C,
}

/// Connections that wait for their handshake.
pub(super) struct Door<C> {
    max: usize,
    patience: Duration,
    count: usize,
    /// Orders turns of the same time.
    turn: u64,
    queues: HashMap<AddressBlock, VecDeque<Waiting<C>>>,
    /// When each of these addresses is asked next.
    turns: BTreeSet<(Duration, u64, AddressBlock)>,
    /// The same addresses by how many of theirs wait.
    by_count: BTreeSet<(usize, AddressBlock)>,
}

impl<C> Door<C> {
    /// At most `max` connections wait, each for `patience`.
    pub(super) fn new(max: usize, patience: Duration) -> Self {
        let (queues, turns, by_count) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { max, patience, count: 0, turn: 0, queues, turns, by_count }
    }

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// A connection arrives. Returns the one that is refused instead, if too many wait.
    pub(super) fn arrive(&mut self, addr: IpAddr, connection: C, now: Duration) -> Option<C> {
        let block = AddressBlock::of(addr);
        let mut refused = None;
        if self.count >= self.max {
            let own = self.queues.get(&block).map_or(0, VecDeque::len);
            match self.by_count.last().copied() {
                // One is left, so its turn stays.
                Some((count, crowd)) if count > own + 1 => refused = self.pop(crowd, VecDeque::pop_back),
                _ => return Some(connection),
            }
        }
        let queue = self.queues.entry(block).or_default();
        queue.push_back(Waiting { addr, since: now, connection });
        let count = queue.len();
        self.count += 1;
        self.by_count.remove(&(count - 1, block));
        self.by_count.insert((count, block));
        if count == 1 {
            self.ask_at(block, now);
        }
        refused
    }

    /// Takes the next connection that can start, or is refused. `start` is called for the address whose turn it is; its
    /// error is when the address is to be asked again.
    pub(super) fn next<S>(
        &mut self,
        now: Duration,
        mut start: impl FnMut(IpAddr) -> Result<S, Duration>,
    ) -> Next<C, S> {
        for _ in 0..LOOKS_MAX {
            let Some((at, turn, block)) = self.turns.first().copied() else { return Next::Wait(None) };
            if at > now {
                return Next::Wait(Some(at));
            }
            self.turns.remove(&(at, turn, block));
            let front = self.queues.get(&block).and_then(VecDeque::front);
            let Some((addr, since)) = front.map(|waiting| (waiting.addr, waiting.since)) else { continue };
            let late = since.saturating_add(self.patience);
            let started = if late <= now { None } else { Some(start(addr)) };
            if let Some(Err(again)) = started {
                // Later than now, so that the others have their turn.
                self.ask_at(block, again.min(late).max(now.saturating_add(Duration::from_nanos(1))));
                continue;
            }
            let Some(connection) = self.pop(block, VecDeque::pop_front) else { continue };
            if self.queues.contains_key(&block) {
                self.ask_at(block, now);
            }
            return match started {
                Some(Ok(started)) => Next::Start(connection, started),
                _ => Next::Refuse(connection),
            };
        }
        Next::Wait(Some(now.saturating_add(PAUSE)))
    }

    /// The address is asked then.
    fn ask_at(&mut self, block: AddressBlock, at: Duration) {
        self.turns.insert((at, self.turn, block));
        self.turn += 1;
    }

    /// Takes a connection out of the queue of an address, whose turn is taken if it is the last one.
    fn pop(
        &mut self,
        block: AddressBlock,
        take: fn(&mut VecDeque<Waiting<C>>) -> Option<Waiting<C>>,
    ) -> Option<C> {
        let queue = self.queues.get_mut(&block)?;
        let waiting = take(queue)?;
        let left = queue.len();
        self.count -= 1;
        self.by_count.remove(&(left + 1, block));
        if left == 0 {
            self.queues.remove(&block);
        } else {
            self.by_count.insert((left, block));
        }
        Some(waiting.connection)
    }
}

#[cfg(test)]
mod tests;
