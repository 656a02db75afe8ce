//! When the handshake of an accepted connection may begin: its address has a token, and a handshake slot is free.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use catchment_settings::{
    connection_slots::{AddressBlock, ConnectionSlot, ConnectionSlots, Full},
    token_bucket::Rate,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{
    AcceptConfig, AcceptEvents,
    door::{Door, Next},
    rates::AddressRates,
};
use crate::failure::HandshakeFailure;

/// A handshake can be evicted after `handshake_timeout` divided by this, when all handshake slots are in use.
const LATE_PART: u32 = 2;
/// For each handshake that may run at once, so many connections may wait.
const WAITING_PER_HANDSHAKE: usize = 8;
/// When an address is asked again that was refused a handshake slot.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// How long an address may make handshakes at full speed before its rate holds: at the default rate as many as a
/// gateway has connections, so that a site behind one address returns without delay.
const BURST: Duration = Duration::from_secs(4);
/// Tokens of a failed handshake, in addition to the one of any handshake.
const FAILURE_TOKENS: u64 = 4;

/// A connection before its handshake.
pub(super) type Arrived = (TcpStream, SocketAddr);

/// What a handshake needs before it begins.
pub(super) struct Turns {
    /// When the loop began: the times of `rates` and of the door count from here.
    begun: Instant,
    rates: Mutex<AddressRates>,
    slots: Arc<ConnectionSlots>,
    /// At the last look all slots were in use.
    full: AtomicBool,
    events: Arc<dyn AcceptEvents>,
    waiting_max: usize,
    patience: Duration,
}

impl Turns {
    pub(super) fn new(config: &AcceptConfig, events: Arc<dyn AcceptEvents>) -> Self {
        let AcceptConfig { handshakes_max, handshake_timeout: patience, .. } = *config;
        let per_address = (handshakes_max / 4 * 3).max(1);
        let rate = Rate::new(config.handshake_rate_per_address, BURST);
        Self {
            begun: Instant::now(),
            // Failures lock nobody out: what they cost is regained in half of the time that a connection waits.
            rates: Mutex::new(AddressRates::new(rate.with_debt_max(patience / 2))),
            slots: ConnectionSlots::evicting_after(handshakes_max, per_address, patience / LATE_PART),
            full: AtomicBool::new(false),
            events,
            waiting_max: handshakes_max.saturating_mul(WAITING_PER_HANDSHAKE),
            patience,
        }
    }

    /// Where connections wait.
    pub(super) fn door(&self) -> Door<Arrived> {
        Door::new(self.waiting_max, self.patience)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Completes at the next turn; never without one.
    pub(super) async fn until(&self, turn: Option<Duration>) {
        match turn {
            Some(turn) => sleep_until(self.begun + turn).await,
            None => std::future::pending().await,
        }
    }

    /// A connection arrives.
    pub(super) fn arrive(&self, door: &mut Door<Arrived>, arrived: Arrived) {
        if let Some((_, addr)) = door.arrive(arrived.1.ip(), arrived, self.now()) {
            self.events.handshake_failed(addr, HandshakeFailure::Throttled);
        }
    }

    /// Starts the handshakes that can start. Returns when others may.
    pub(super) fn start_waiting(
        &self,
        door: &mut Door<Arrived>,
        start: impl Fn(Arrived, ConnectionSlot),
    ) -> Option<Duration> {
        let full = Cell::new(false);
        let next_turn = loop {
            let now = self.now();
            match door.next(now, |addr| self.try_start(addr, now, &full)) {
                Next::Start(arrived, slot) => start(arrived, slot),
                Next::Refuse((_, addr)) => self.events.handshake_failed(addr, HandshakeFailure::Throttled),
                Next::Wait(turn) => break turn,
            }
        };
        if full.get() && !self.full.load(Relaxed) {
            self.events.handshakes_full();
        }
        self.full.store(full.get(), Relaxed);
        self.events.handshakes(self.slots.taken());
        self.events.handshakes_waiting(door.len());
        next_turn
    }

    /// A token and a slot for an address, or when to ask again. `full`: set if no slot is left for anybody.
    fn try_start(&self, addr: IpAddr, now: Duration, full: &Cell<bool>) -> Result<ConnectionSlot, Duration> {
        let block = AddressBlock::of(addr);
        let wait = self.rates().wait(block, now);
        if !wait.is_zero() {
            return Err(now.saturating_add(wait));
        }
        let slot = self.slots.try_acquire(addr).map_err(|reason| {
            full.set(full.get() || reason == Full::All);
            now.saturating_add(ASK_AGAIN)
        })?;
        self.rates().take(block, 1, now);
        Ok(slot)
    }

    /// A handshake has ended, well or not.
    pub(super) fn ended(&self) {
        self.events.handshakes(self.slots.taken());
    }

    /// A handshake has failed. If that was its peer's doing, it costs the address more than a good one.
    pub(super) fn failed(&self, addr: SocketAddr, reason: HandshakeFailure) {
        if reason.is_of_peer() {
            self.rates().take(AddressBlock::of(addr.ip()), FAILURE_TOKENS, self.now());
        }
        self.events.handshake_failed(addr, reason);
    }

    fn rates(&self) -> MutexGuard<'_, AddressRates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
