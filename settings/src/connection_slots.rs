//! Slots for connections: bounds in total and per address, and eviction when all are in use.
//!
//! Invariants: never more connections than the bounds hold a slot, in total and per address; a connection that its peer
//! has not used yet (see [`ConnectionSlot::mark_used`]) never keeps another one out; a short-lived one of the same
//! address waits for a moment. Of these, the address with the most loses its oldest first, so a crowd from one address
//! costs only that address. Every operation takes logarithmic
//! time, and no callback runs under the lock.

mod address;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

pub use self::address::AddressBlock;

type Evict = Box<dyn FnOnce() + Send>;

/// A short-lived connection that its peer has not used gives way to another one of its address after this, and
/// after a fifth of `late_after` if that is less.
const SILENT_AFTER: Duration = Duration::from_millis(500);

/// Why no slot is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All slots of the address are in use.
    Address,
    /// All slots are in use.
    All,
}

/// A slot that can be evicted.
struct EvictableSlot {
    since: Instant,
    evict: Option<Evict>,
}

/// Slots by address and age, and addresses by their number of slots.
#[derive(Default)]
struct EvictionQueue {
    slots: HashMap<AddressBlock, BTreeMap<u64, EvictableSlot>>,
    by_count: BTreeSet<(usize, AddressBlock)>,
}

impl EvictionQueue {
    fn push(&mut self, block: AddressBlock, number: u64, slot: EvictableSlot) {
        let slots = self.slots.entry(block).or_default();
        self.by_count.remove(&(slots.len(), block));
        slots.insert(number, slot);
        self.by_count.insert((slots.len(), block));
    }

    fn remove(&mut self, block: AddressBlock, number: u64) -> Option<EvictableSlot> {
        let slots = self.slots.get_mut(&block)?;
        let slot = slots.remove(&number)?;
        self.by_count.remove(&(slots.len() + 1, block));
        if slots.is_empty() {
            self.slots.remove(&block);
        } else {
            self.by_count.insert((slots.len(), block));
        }
        Some(slot)
    }

    /// The oldest slot of an address.
    fn oldest(&self, block: AddressBlock) -> Option<(u64, Instant)> {
        self.slots.get(&block)?.first_key_value().map(|(number, slot)| (*number, slot.since))
    }

    /// The address with the most slots.
    fn most_crowded(&self) -> Option<(usize, AddressBlock)> {
        self.by_count.last().copied()
    }
}

#[derive(Default)]
struct State {
    taken: usize,
    next: u64,
    addresses: HashMap<AddressBlock, usize>,
    /// Slots whose peers have not used them yet.
    silent: EvictionQueue,
    /// Slots whose peers have used them, if those can be evicted too (see [`ConnectionSlots::evicting_after`]).
    late: EvictionQueue,
}

impl State {
    fn release(&mut self, block: AddressBlock) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(count) = self.addresses.get_mut(&block) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.addresses.remove(&block);
            }
        }
    }
}

/// A bounded number of slots.
pub struct ConnectionSlots {
    max: usize,
    per_address_max: usize,
    late_after: Option<Duration>,
    state: Mutex<State>,
    freed: Notify,
}

impl fmt::Debug for ConnectionSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSlots")
            .field("max", &self.max)
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}

impl ConnectionSlots {
    /// `max` slots in total, at most `per_address_max` per address. A used slot is never evicted.
    pub fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Self::with(max, per_address_max, None)
    }

    /// Like [`Self::new`], for short-lived connections: a used slot can be evicted too, after `late_after`, or at once
    /// if its address has more than twice as many slots as the address that needs one. To another one of the same
    /// address, an unused slot gives way only after a moment.
    pub fn evicting_after(max: usize, per_address_max: usize, late_after: Duration) -> Arc<Self> {
        Self::with(max, per_address_max, Some(late_after))
    }

    fn with(max: usize, per_address_max: usize, late_after: Option<Duration>) -> Arc<Self> {
        let (state, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { max, per_address_max, late_after, state, freed })
    }

    /// Number of slots in use.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Whether all slots are in use and no unused one can be evicted.
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        state.taken >= self.max && state.silent.slots.is_empty()
    }

    /// Acquires a slot, if one is free or can be evicted.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn try_acquire(self: &Arc<Self>, addr: IpAddr) -> Result<ConnectionSlot, Full> {
        let block = AddressBlock::of(addr);
        let mut state = self.lock();
        let own = state.addresses.get(&block).copied().unwrap_or(0);
        let evicted = if own >= self.per_address_max {
            Some(self.evict_own(&mut state, block).ok_or(Full::Address)?)
        } else if state.taken >= self.max {
            Some(self.evict_any(&mut state, block, own).ok_or(Full::All)?)
        } else {
            None
        };
        state.taken += 1;
        *state.addresses.entry(block).or_insert(0) += 1;
        let number = state.next;
        state.next += 1;
        drop(state);
        if let Some(evict) = evicted.and_then(|slot| slot.evict) {
            evict();
        }
        let (number, standing) = (AtomicU64::new(number), AtomicU8::new(FRESH));
        Ok(ConnectionSlot { slots: Arc::clone(self), block, number, standing })
    }

    /// Like [`Self::try_acquire`], but waits while all slots are in use. Cancellation safe.
    ///
    /// # Errors
    /// All slots of the address are in use.
    pub async fn acquire(self: &Arc<Self>, addr: IpAddr) -> Result<ConnectionSlot, Full> {
        loop {
            let freed = pin!(self.freed.notified());
            match self.try_acquire(addr) {
                Err(Full::All) => self.wait(freed).await,
                other => return other,
            }
        }
    }

    /// Like [`Self::acquire`], but also waits while all slots of the address are in use: for slots that no connection
    /// keeps for long.
    pub async fn acquire_patiently(self: &Arc<Self>, addr: IpAddr) -> ConnectionSlot {
        loop {
            let freed = pin!(self.freed.notified());
            match self.try_acquire(addr) {
                Ok(slot) => return slot,
                Err(_) => self.wait(freed).await,
            }
        }
    }

    /// Waits until another attempt may succeed. An earlier notification is not missed: `Notify` stores it for the next
    /// waiter.
    async fn wait(&self, freed: impl Future<Output = ()>) {
        match self.late_after {
            // Another slot becomes late without a notification.
            Some(late_after) => tokio::select! {
                () = freed => {}
                () = sleep((late_after / 4).max(Duration::from_millis(1))) => {}
            },
            None => freed.await,
        }
    }

    /// Evicts a slot of the address that needs one. A short-lived connection that has just begun stays: its peer may be
    /// honest and far away, and its turn has come.
    fn evict_own(&self, state: &mut State, block: AddressBlock) -> Option<EvictableSlot> {
        let is_young = |since: Instant| {
            self.late_after.is_some_and(|late_after| since.elapsed() < SILENT_AFTER.min(late_after / 5))
        };
        if state.silent.oldest(block).is_some_and(|(_, since)| is_young(since)) {
            return None;
        }
        self.evict_within(state, block)
    }

    /// Evicts a slot of this address.
    fn evict_within(&self, state: &mut State, block: AddressBlock) -> Option<EvictableSlot> {
        if let Some((number, _)) = state.silent.oldest(block) {
            let slot = state.silent.remove(block, number);
            state.release(block);
            return slot;
        }
        let (number, since) = state.late.oldest(block)?;
        self.is_late(since).then(|| {
            state.release(block);
            state.late.remove(block, number)
        })?
    }

    /// Evicts a slot of any address, for an address that has `own` slots.
    fn evict_any(&self, state: &mut State, block: AddressBlock, own: usize) -> Option<EvictableSlot> {
        if let Some((_, crowd)) = state.silent.most_crowded() {
            return if crowd == block {
                self.evict_own(state, crowd)
            } else {
                self.evict_within(state, crowd)
            };
        }
        let (count, crowd) = state.late.most_crowded()?;
        let (number, since) = state.late.oldest(crowd)?;
        let unfair = crowd != block && count > 2 * (own + 1);
        (unfair || self.is_late(since)).then(|| {
            state.release(crowd);
            state.late.remove(crowd, number)
        })?
    }

    fn is_late(&self, since: Instant) -> bool {
        self.late_after.is_some_and(|after| since.elapsed() >= after)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that is in no queue yet: its connection has not been served yet.
const FRESH: u8 = 0;
/// A slot in the queue `silent`, unless evicted.
const SILENT: u8 = 1;
/// A slot in the queue `late`, unless evicted.
const LATE: u8 = 2;
/// A slot that is in no queue any more: it cannot be evicted.
const KEPT: u8 = 3;

/// A slot, held until it is dropped. If it is evicted before, the connection must end.
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    block: AddressBlock,
    // Changed only under the lock of the slots.
    number: AtomicU64,
    standing: AtomicU8,
}

impl fmt::Debug for ConnectionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSlot")
            .field("block", &self.block)
            .field("standing", &self.standing)
            .finish()
    }
}

impl ConnectionSlot {
    /// Allows eviction from now on; eviction calls `evict`, from any thread, or at once if it has already happened.
    /// Call it when the connection has been polled and no data was there: a connection not yet served must not be
    /// evicted.
    pub fn on_evict(&self, evict: impl FnOnce() + Send + 'static) {
        let mut state = self.slots.lock();
        if self.standing.load(Relaxed) == FRESH {
            let slot = EvictableSlot { since: Instant::now(), evict: Some(Box::new(evict)) };
            state.silent.push(self.block, self.number.load(Relaxed), slot);
            self.standing.store(SILENT, Relaxed);
            drop(state);
            self.slots.freed.notify_one();
            return;
        }
        match self.slot(&mut state) {
            Some(slot) => slot.evict = Some(Box::new(evict)),
            None if self.standing.load(Relaxed) == KEPT => {}
            None => {
                drop(state);
                evict();
            }
        }
    }

    /// Records that the peer has used its connection: from now on the slot is not evicted, except as described at
    /// [`ConnectionSlots::evicting_after`].
    pub fn mark_used(&self) {
        let mut state = self.slots.lock();
        let slot = match self.standing.load(Relaxed) {
            FRESH => Some(EvictableSlot { since: Instant::now(), evict: None }),
            SILENT => state.silent.remove(self.block, self.number.load(Relaxed)),
            _ => return,
        };
        let Some(slot) = slot else { return };
        if self.slots.late_after.is_some() {
            let number = self.number.load(Relaxed);
            state.late.push(self.block, number, EvictableSlot { since: Instant::now(), ..slot });
            self.standing.store(LATE, Relaxed);
        } else {
            self.standing.store(KEPT, Relaxed);
        }
    }

    /// Records activity of the peer: other silent slots are evicted first.
    pub fn touch(&self) {
        let mut state = self.slots.lock();
        let Some(slot) = state.silent.remove(self.block, self.number.load(Relaxed)) else { return };
        let number = state.next;
        state.next += 1;
        state.silent.push(self.block, number, EvictableSlot { since: Instant::now(), ..slot });
        self.number.store(number, Relaxed);
    }

    /// Whether the slot was evicted.
    pub fn is_evicted(&self) -> bool {
        matches!(self.standing.load(Relaxed), SILENT | LATE) && self.slot(&mut self.slots.lock()).is_none()
    }

    fn queue<'s>(&self, state: &'s mut State) -> Option<&'s mut EvictionQueue> {
        match self.standing.load(Relaxed) {
            SILENT => Some(&mut state.silent),
            LATE => Some(&mut state.late),
            _ => None,
        }
    }

    fn slot<'s>(&self, state: &'s mut State) -> Option<&'s mut EvictableSlot> {
        self.queue(state)?.slots.get_mut(&self.block)?.get_mut(&self.number.load(Relaxed))
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        let held = match self.queue(&mut state) {
            Some(queue) => queue.remove(self.block, self.number.load(Relaxed)),
            None => Some(EvictableSlot { since: Instant::now(), evict: None }),
        };
        if held.is_some() {
            state.release(self.block);
            drop(state);
            self.slots.freed.notify_one();
        }
        // The callback of `held` is dropped here, not under the lock.
    }
}

#[cfg(test)]
mod tests;
