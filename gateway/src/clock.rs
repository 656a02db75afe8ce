//! Time as a parameter: the gateway asks a [`Clock`], so tests can make time jump.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use catchment_partial::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Wall-clock time. May jump forward and back.
    fn wall(&self) -> Timestamp;
    /// Monotonic time since some fixed moment. Never goes back.
    fn mono(&self) -> Duration;
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        };
        Timestamp::from_nanos(nanos)
    }

    fn mono(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A duration in nanoseconds, saturating at the maximum of a timestamp.
pub(crate) fn nanos(length: Duration) -> i64 {
    i64::try_from(length.as_nanos()).unwrap_or(i64::MAX)
}

/// A clock that moves only by its methods, for tests and simulation.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    mono: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that shows this wall-clock time.
    pub fn at(wall: Timestamp) -> Self {
        Self { wall: AtomicI64::new(wall.as_nanos()), mono: Mutex::new(Duration::ZERO) }
    }

    /// Advances wall-clock and monotonic time.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(nanos(by), Ordering::SeqCst);
        *self.mono.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Sets wall-clock time, as an administrator or a time server does.
    pub fn set(&self, wall: Timestamp) {
        self.wall.store(wall.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_nanos(self.wall.load(Ordering::SeqCst))
    }

    fn mono(&self) -> Duration {
        *self.mono.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
