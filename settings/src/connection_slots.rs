//! Slots for connections: how many in all, how many of one address, and who gives way when none is left.
//!
//! Invariants: never more than the bound hold a slot, in all and by address; a connection that its peer has not used
//! yet (see [`ConnectionSlot::mark_used`]) never keeps another one out. The address with the most of them loses its
//! oldest first, so a crowd from one address costs that address. Every operation takes logarithmic time, and no
//! call-back runs under the lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::{IpAddr, Ipv6Addr},
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

type Evict = Box<dyn FnOnce() + Send>;

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The address has all of its slots in use.
    Address,
    /// All slots are in use.
    All,
}

/// Addresses that count as one: a host has a whole /64 of IPv6 to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum AddressBlock {
    V4(u32),
    V6(u64),
}

impl AddressBlock {
    fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self::V4(addr.to_bits()),
            IpAddr::V6(addr) => Self::V6(network(addr)),
        }
    }
}

/// The first half of the address.
fn network(addr: Ipv6Addr) -> u64 {
    u64::try_from(addr.to_bits() >> 64).unwrap_or(u64::MAX)
}

/// A slot that may have to be given up.
struct EvictableSlot {
    since: Instant,
    evict: Option<Evict>,
}

/// Slots in the order of their age, by address; and the addresses by the number of them.
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
    /// Slots whose peer has not used it yet.
    silent: EvictionQueue,
    /// Slots whose peer has used it, where those give way too (see [`ConnectionSlots::evicting_after`]).
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
    /// So many slots in all, and of one address. A slot whose peer has used it is kept as long as it is wanted.
    pub fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Self::with(max, per_address_max, None)
    }

    /// As [`Self::new`], for what should soon be over: a slot whose peer has used it gives way too, after so long; or
    /// at once when its address has more than twice as many as the address that needs one.
    pub fn evicting_after(max: usize, per_address_max: usize, late_after: Duration) -> Arc<Self> {
        Self::with(max, per_address_max, Some(late_after))
    }

    fn with(max: usize, per_address_max: usize, late_after: Option<Duration>) -> Arc<Self> {
        let (state, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { max, per_address_max, late_after, state, freed })
    }

    /// Slots in use.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Whether all are in use and none would give way because its peer has not used it.
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        state.taken >= self.max && state.silent.slots.is_empty()
    }

    /// A slot, if one is free or another connection gives way.
    ///
    /// # Errors
    /// Which bound is reached.
    pub fn try_acquire(self: &Arc<Self>, addr: IpAddr) -> Result<ConnectionSlot, Full> {
        let block = AddressBlock::of(addr);
        let mut state = self.lock();
        let own = state.addresses.get(&block).copied().unwrap_or(0);
        let evicted = if own >= self.per_address_max {
            Some(self.evict_within(&mut state, block).ok_or(Full::Address)?)
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

    /// As [`Self::try_acquire`], but waits while all are in use. May be dropped at any await.
    ///
    /// # Errors
    /// The address has all of its slots in use.
    pub async fn acquire(self: &Arc<Self>, addr: IpAddr) -> Result<ConnectionSlot, Full> {
        loop {
            let freed = pin!(self.freed.notified());
            match self.try_acquire(addr) {
                Err(Full::All) => self.wait(freed).await,
                other => return other,
            }
        }
    }

    /// As [`Self::acquire`], and also waits while the address has all of its slots in use: for slots that none keeps.
    pub async fn acquire_patiently(self: &Arc<Self>, addr: IpAddr) -> ConnectionSlot {
        loop {
            let freed = pin!(self.freed.notified());
            match self.try_acquire(addr) {
                Ok(slot) => return slot,
                Err(_) => self.wait(freed).await,
            }
        }
    }

    /// Waits until another try may succeed. A notice that came before this is not missed: it is kept for the next one
    /// that waits.
    async fn wait(&self, freed: impl Future<Output = ()>) {
        match self.late_after {
            // Another grows late without a word.
            Some(late_after) => tokio::select! {
                () = freed => {}
                () = sleep((late_after / 4).max(Duration::from_millis(1))) => {}
            },
            None => freed.await,
        }
    }

    /// Frees a slot of this address.
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

    /// Frees a slot of any address for one that has `own` slots.
    fn evict_any(&self, state: &mut State, block: AddressBlock, own: usize) -> Option<EvictableSlot> {
        if let Some((_, crowd)) = state.silent.most_crowded() {
            return self.evict_within(state, crowd);
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

/// A slot in no queue yet: its connection has not been looked at.
const FRESH: u8 = 0;
/// A slot in the queue of the silent ones, unless evicted.
const SILENT: u8 = 1;
/// A slot in the queue of the late ones, unless evicted.
const LATE: u8 = 2;
/// A slot in no queue any more: it cannot be evicted.
const KEPT: u8 = 3;

/// One of the slots, until it is dropped. It may be taken away before: the connection must end then.
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    block: AddressBlock,
    // Changed under the lock of the slots alone.
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
    /// From now on the slot may be taken away, which calls this, from any thread; at once if it was. Meant for when
    /// the connection has been looked at and nothing was there: one that nobody has had time for gives way to nobody.
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

    /// The peer has used its connection: the slot is its own from here on.
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

    /// The peer has made use of its slot: others give way first.
    pub fn touch(&self) {
        let mut state = self.slots.lock();
        let Some(slot) = state.silent.remove(self.block, self.number.load(Relaxed)) else { return };
        let number = state.next;
        state.next += 1;
        state.silent.push(self.block, number, EvictableSlot { since: Instant::now(), ..slot });
        self.number.store(number, Relaxed);
    }

    /// Whether the slot was taken away.
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
        // The call-back of `held` is dropped here, not under the lock.
    }
}

#[cfg(test)]
mod tests;
