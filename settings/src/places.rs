//! Places for connections: how many in all, how many of one address, and who gives way when none is left.
//!
//! Invariants: never more than the bound hold a place, in all and by address; a connection that its peer has not used
//! yet (see [`Place::heard`]) never keeps another one out. The address with the most of them loses its oldest first, so
//! a crowd from one address costs that address. Every operation takes logarithmic time, and no call-back runs under the
//! lock.

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

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The address has all of its places in use.
    Address,
    /// All places are in use.
    All,
}

/// Addresses that count as one: a host has a whole /64 of IPv6 to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Block {
    V4(u32),
    V6(u64),
}

impl Block {
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

/// A place that may have to be given up.
struct Seat {
    since: Instant,
    evict: Option<Evict>,
}

/// Seats in the order of their age, by address; and the addresses by the number of them.
#[derive(Default)]
struct Line {
    seats: HashMap<Block, BTreeMap<u64, Seat>>,
    crowds: BTreeSet<(usize, Block)>,
}

impl Line {
    fn push(&mut self, block: Block, number: u64, seat: Seat) {
        let seats = self.seats.entry(block).or_default();
        self.crowds.remove(&(seats.len(), block));
        seats.insert(number, seat);
        self.crowds.insert((seats.len(), block));
    }

    fn remove(&mut self, block: Block, number: u64) -> Option<Seat> {
        let seats = self.seats.get_mut(&block)?;
        let seat = seats.remove(&number)?;
        self.crowds.remove(&(seats.len() + 1, block));
        if seats.is_empty() {
            self.seats.remove(&block);
        } else {
            self.crowds.insert((seats.len(), block));
        }
        Some(seat)
    }

    /// The oldest seat of an address.
    fn oldest(&self, block: Block) -> Option<(u64, Instant)> {
        self.seats.get(&block)?.first_key_value().map(|(number, seat)| (*number, seat.since))
    }

    /// The address with the most seats.
    fn fullest(&self) -> Option<(usize, Block)> {
        self.crowds.last().copied()
    }
}

#[derive(Default)]
struct State {
    taken: usize,
    next: u64,
    addresses: HashMap<Block, usize>,
    /// Places whose peer was not heard yet.
    silent: Line,
    /// Places whose peer was heard, where those give way too (see [`Places::giving_way_after`]).
    late: Line,
}

impl State {
    fn leave(&mut self, block: Block) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(count) = self.addresses.get_mut(&block) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.addresses.remove(&block);
            }
        }
    }
}

/// A bounded number of places.
pub struct Places {
    max: usize,
    per_address_max: usize,
    late_after: Option<Duration>,
    state: Mutex<State>,
    freed: Notify,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("max", &self.max).field("taken", &self.taken()).finish_non_exhaustive()
    }
}

impl Places {
    /// So many places in all, and of one address. A place whose peer was heard is kept as long as it is wanted.
    pub fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Self::with(max, per_address_max, None)
    }

    /// As [`Self::new`], for what should soon be over: a place whose peer was heard gives way too, after so long; or at
    /// once when its address has more than twice as many as the address that needs one.
    pub fn giving_way_after(max: usize, per_address_max: usize, late_after: Duration) -> Arc<Self> {
        Self::with(max, per_address_max, Some(late_after))
    }

    fn with(max: usize, per_address_max: usize, late_after: Option<Duration>) -> Arc<Self> {
        let (state, freed) = (Mutex::default(), Notify::new());
        Arc::new(Self { max, per_address_max, late_after, state, freed })
    }

    /// Places in use.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Whether all are in use and none would give way because its peer was not heard.
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        state.taken >= self.max && state.silent.seats.is_empty()
    }

    /// A place, if one is free or another connection gives way.
    ///
    /// # Errors
    /// Which bound is reached.
    pub fn try_take(self: &Arc<Self>, addr: IpAddr) -> Result<Place, Full> {
        let block = Block::of(addr);
        let mut state = self.lock();
        let own = state.addresses.get(&block).copied().unwrap_or(0);
        let evicted = if own >= self.per_address_max {
            Some(self.give_way_within(&mut state, block).ok_or(Full::Address)?)
        } else if state.taken >= self.max {
            Some(self.give_way(&mut state, block, own).ok_or(Full::All)?)
        } else {
            None
        };
        state.taken += 1;
        *state.addresses.entry(block).or_insert(0) += 1;
        let number = state.next;
        state.next += 1;
        drop(state);
        if let Some(evict) = evicted.and_then(|seat| seat.evict) {
            evict();
        }
        let (number, standing) = (AtomicU64::new(number), AtomicU8::new(FRESH));
        Ok(Place { places: Arc::clone(self), block, number, standing })
    }

    /// As [`Self::try_take`], but waits while all are in use. May be dropped at any await.
    ///
    /// # Errors
    /// The address has all of its places in use.
    pub async fn take(self: &Arc<Self>, addr: IpAddr) -> Result<Place, Full> {
        loop {
            let freed = pin!(self.freed.notified());
            match self.try_take(addr) {
                Err(Full::All) => self.wait(freed).await,
                other => return other,
            }
        }
    }

    /// As [`Self::take`], and also waits while the address has all of its places in use: for places that none keeps.
    pub async fn take_patiently(self: &Arc<Self>, addr: IpAddr) -> Place {
        loop {
            let freed = pin!(self.freed.notified());
            match self.try_take(addr) {
                Ok(place) => return place,
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

    /// Frees a place of this address.
    fn give_way_within(&self, state: &mut State, block: Block) -> Option<Seat> {
        if let Some((number, _)) = state.silent.oldest(block) {
            let seat = state.silent.remove(block, number);
            state.leave(block);
            return seat;
        }
        let (number, since) = state.late.oldest(block)?;
        self.is_late(since).then(|| {
            state.leave(block);
            state.late.remove(block, number)
        })?
    }

    /// Frees a place of any address for one that has `own` places.
    fn give_way(&self, state: &mut State, block: Block, own: usize) -> Option<Seat> {
        if let Some((_, crowd)) = state.silent.fullest() {
            return self.give_way_within(state, crowd);
        }
        let (count, crowd) = state.late.fullest()?;
        let (number, since) = state.late.oldest(crowd)?;
        let unfair = crowd != block && count > 2 * (own + 1);
        (unfair || self.is_late(since)).then(|| {
            state.leave(crowd);
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

/// A place in no line yet: its connection has not been looked at.
const FRESH: u8 = 0;
/// A place in the line of the silent ones, unless evicted.
const SILENT: u8 = 1;
/// A place in the line of the late ones, unless evicted.
const LATE: u8 = 2;
/// A place in no line any more: it cannot be evicted.
const KEPT: u8 = 3;

/// One of the places, until it is dropped. It may be taken away before: the connection must end then.
pub struct Place {
    places: Arc<Places>,
    block: Block,
    // Changed under the lock of the places alone.
    number: AtomicU64,
    standing: AtomicU8,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("block", &self.block).field("standing", &self.standing).finish()
    }
}

impl Place {
    /// From now on the place may be taken away, which calls this, from any thread; at once if it was. Meant for when
    /// the connection has been looked at and nothing was there: one that nobody has had time for gives way to nobody.
    pub fn give_way(&self, evict: impl FnOnce() + Send + 'static) {
        let mut state = self.places.lock();
        if self.standing.load(Relaxed) == FRESH {
            let seat = Seat { since: Instant::now(), evict: Some(Box::new(evict)) };
            state.silent.push(self.block, self.number.load(Relaxed), seat);
            self.standing.store(SILENT, Relaxed);
            drop(state);
            self.places.freed.notify_one();
            return;
        }
        match self.seat(&mut state) {
            Some(seat) => seat.evict = Some(Box::new(evict)),
            None if self.standing.load(Relaxed) == KEPT => {}
            None => {
                drop(state);
                evict();
            }
        }
    }

    /// The peer was heard: the place is its own from here on.
    pub fn heard(&self) {
        let mut state = self.places.lock();
        let seat = match self.standing.load(Relaxed) {
            FRESH => Some(Seat { since: Instant::now(), evict: None }),
            SILENT => state.silent.remove(self.block, self.number.load(Relaxed)),
            _ => return,
        };
        let Some(seat) = seat else { return };
        if self.places.late_after.is_some() {
            let number = self.number.load(Relaxed);
            state.late.push(self.block, number, Seat { since: Instant::now(), ..seat });
            self.standing.store(LATE, Relaxed);
        } else {
            self.standing.store(KEPT, Relaxed);
        }
    }

    /// The peer has made use of its place: others give way first.
    pub fn renew(&self) {
        let mut state = self.places.lock();
        let Some(seat) = state.silent.remove(self.block, self.number.load(Relaxed)) else { return };
        let number = state.next;
        state.next += 1;
        state.silent.push(self.block, number, Seat { since: Instant::now(), ..seat });
        self.number.store(number, Relaxed);
    }

    /// Whether the place was taken away.
    pub fn is_evicted(&self) -> bool {
        matches!(self.standing.load(Relaxed), SILENT | LATE) && self.seat(&mut self.places.lock()).is_none()
    }

    fn line<'s>(&self, state: &'s mut State) -> Option<&'s mut Line> {
        match self.standing.load(Relaxed) {
            SILENT => Some(&mut state.silent),
            LATE => Some(&mut state.late),
            _ => None,
        }
    }

    fn seat<'s>(&self, state: &'s mut State) -> Option<&'s mut Seat> {
        self.line(state)?.seats.get_mut(&self.block)?.get_mut(&self.number.load(Relaxed))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        let held = match self.line(&mut state) {
            Some(line) => line.remove(self.block, self.number.load(Relaxed)),
            None => Some(Seat { since: Instant::now(), evict: None }),
        };
        if held.is_some() {
            state.leave(self.block);
            drop(state);
            self.places.freed.notify_one();
        }
        // The call-back of `held` is dropped here, not under the lock.
    }
}

#[cfg(test)]
mod tests;
