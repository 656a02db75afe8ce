//! Signals that stop a program in order.

use std::{
    fs,
    future::{Future, poll_fn},
    io,
    task::Poll,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that stop a program, with their names.
struct ShutdownSignals([(&'static str, Option<Signal>); 4]);

impl ShutdownSignals {
    fn new() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        // If they are ignored (`nohup`), the program should continue without its terminal.
        let unless_ignored = |kind: SignalKind| match ignored & (1 << (kind.as_raw_value() - 1)) {
            0 => signal(kind).map(Some),
            _ => Ok(None),
        };
        Ok(Self([
            ("SIGTERM", Some(signal(SignalKind::terminate())?)),
            ("SIGINT", Some(signal(SignalKind::interrupt())?)),
            ("SIGHUP", unless_ignored(SignalKind::hangup())?),
            ("SIGQUIT", unless_ignored(SignalKind::quit())?),
        ]))
    }

    async fn recv(&mut self) -> &'static str {
        poll_fn(|task| {
            let mut signals = self.0.iter_mut().filter_map(|(name, signal)| Some((name, signal.as_mut()?)));
            let come = signals.find_map(|(name, signal)| signal.poll_recv(task).is_ready().then_some(*name));
            come.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The signals that the process ignores, from Linux's `/proc/self/status`: the lowest bit is signal 1.
fn ignored(status: &str) -> u64 {
    let digits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

/// A future that completes at the first SIGTERM, SIGINT, SIGHUP or SIGQUIT after this call, with the signal's name. The
/// last two stay ignored if the process was started that way (`nohup`). A second signal ends the process at once: a
/// person who asks twice does not want to wait. Call it within a tokio runtime.
///
/// # Errors
/// The handlers cannot be installed.
pub fn shutdown_signal() -> io::Result<impl Future<Output = &'static str> + Send + 'static> {
    let mut stops = ShutdownSignals::new()?;
    Ok(async move {
        let name = stops.recv().await;
        tokio::spawn(async move {
            stops.recv().await;
            tracing::warn!("a second signal: ending at once");
            std::process::exit(1);
        });
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_system() {
        assert_eq!(ignored("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!((ignored(""), ignored("SigIgn:\tx\n")), (0, 0));
    }
}
