//! Ticks of a kernel timer. The event loop's own timers have a resolution of a millisecond: all connections would send
//! at the same moments, and waiting behind that burst would count as the server's time.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer that fires at equal intervals.
pub(crate) struct Ticks(AsyncFd<OwnedFd>);

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

impl Ticks {
    /// Starts the timer: the first tick comes after `first`, then one `every` interval.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn start(first: Duration, every: Duration) -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // A time of zero would disarm the timer.
        let it_value = timespec(first.max(Duration::from_nanos(1)));
        let times = Itimerspec { it_interval: timespec(every), it_value };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe because not every type owns its descriptor; this one does"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Waits for the next tick; missed ticks count as one. Cancel-safe.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) async fn next(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut count)?)) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn ticks_come_after_one_another() {
        super::super::event_loop().unwrap().block_on(async {
            let started = Instant::now();
            let every = Duration::from_micros(300);
            let ticks = Ticks::start(Duration::from_millis(2), every).unwrap();
            for _ in 0..5 {
                ticks.next().await.unwrap();
            }
            assert!(started.elapsed() >= Duration::from_millis(2), "the first tick came too early");
        });
    }
}
