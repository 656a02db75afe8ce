//! Logs to standard error, as text or JSON lines, filtered in `tracing`'s syntax and limited by [`crate::log_limit`].
//!
//! A line whose fields name a peer ([`PEER_FIELDS`]) counts for that peer, a library's line for the library; both are
//! limited at level `info` and above. Lines at `debug` or `trace` are not limited, nor are lines that no peer caused.

use std::{
    fmt::{self, Write as _},
    io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use crate::{
    log_limit::{Limiter, Summary, TEXT_BYTES_MAX},
    text::{REPLACEMENT, is_unprintable},
};

/// Fields that name the cause of a line, the most reliable first: identities from certificates, then addresses, then
/// other things that a peer can trigger repeatedly.
pub const PEER_FIELDS: [&str; 8] =
    ["gateway", "device", "peer", "operator", "aggregator", "addr", "condition", "listener"];
/// Interval of checks for suppressed lines to report.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Format of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not in `tracing`'s syntax.
    #[error("log filter {filter:?}: {reason}; write, for example, info or warn,catchment=debug")]
    Filter {
        /// The filter given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This process already has a subscriber.
    #[error("logging is already started")]
    Twice,
}

/// Sends this process's logs to standard error; without a filter, `info` and above.
///
/// # Errors
/// An invalid filter, or a second call.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<(), LoggingError> {
    let filter = check_filter(filter.unwrap_or("info"))?;
    // Do not report failed writes to standard error: that would panic.
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            let cleaned = move || Cleaned { to: io::stderr(), colours };
            lines.with_writer(cleaned).with_ansi(colours).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Global layers, not per-layer filters: a per-layer filter that refuses an event by its content leaves a mark in
    // the thread's filter state, which hides the next event.
    let registry = tracing_subscriber::registry().with(filter).with(LineLimit).with(lines);
    registry.try_init().map_err(|_| LoggingError::Twice)
}

/// Writes each event as one line, whatever a peer's text contains: replaces characters that are [`is_unprintable`].
/// (JSON escapes them.)
struct Cleaned<W> {
    to: W,
    /// Escape sequences are the layer's own colours; it has already escaped those in values.
    colours: bool,
}

impl<W: io::Write> io::Write for Cleaned<W> {
    /// Writes a whole event; the layer passes each event in one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let acts = |c: char| is_unprintable(c) && c != '\t' && !(self.colours && c == '\u{1b}');
        if line.contains(acts) {
            let line: String = line.chars().map(|c| if acts(c) { REPLACEMENT } else { c }).collect();
            self.to.write_all(format!("{line}\n").as_bytes())?;
        } else {
            self.to.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Number of lines that this process suppressed because there were too many like them.
pub fn lines_suppressed() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

static SUPPRESSED: AtomicU64 = AtomicU64::new(0);
static LIMITER: LazyLock<Mutex<Limiter>> = LazyLock::new(Mutex::default);
/// Start of the limiter's time.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Whether the thread that reports suppressed lines is running.
static REPORTING: AtomicBool = AtomicBool::new(false);

fn limited<T>(change: impl FnOnce(&mut Limiter, Duration) -> T) -> T {
    let now = BEGAN.elapsed();
    change(&mut LIMITER.lock().unwrap_or_else(PoisonError::into_inner), now)
}

/// Whether a line of a kind, caused by a peer, may be written; counts it if not.
pub(crate) fn permitted(kind: &'static str, peer: &str, text: &str) -> bool {
    let permitted = limited(|limiter, now| limiter.permits(now, kind, peer, text));
    if !permitted {
        SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        report_from_now_on();
    }
    permitted
}

/// Starts the reporting thread at the first suppressed line. If the system refuses a thread, the next suppressed line
/// tries again.
fn report_from_now_on() {
    if REPORTING.swap(true, Ordering::Relaxed) {
        return;
    }
    let thread = std::thread::Builder::new().name("log-limit".to_owned());
    let reporting = thread.spawn(|| {
        loop {
            std::thread::sleep(REPORT_EVERY);
            for Summary { like, lines, most } in limited(|limiter, now| limiter.due(now)) {
                let (most_by, most) = most.unwrap_or_default();
                tracing::warn!(lines, like, most_by, most, "log lines were suppressed");
            }
        }
    });
    REPORTING.store(reporting.is_ok(), Ordering::Relaxed);
}

/// Passes the lines that [`Limiter`] permits.
#[derive(Debug)]
struct LineLimit;

impl<S: Subscriber> Layer<S> for LineLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut cause = Cause::default();
        event.record(&mut cause);
        let peer = match (&cause.peer, metadata.target().starts_with("catchment")) {
            (Some((_, peer)), _) => peer.as_str(),
            (None, true) => return true,
            (None, false) => metadata.target(),
        };
        permitted(metadata.name(), peer, &cause.text)
    }
}

/// The peer that caused a line, and the line's text.
#[derive(Debug, Default)]
struct Cause {
    /// Index in [`PEER_FIELDS`], and the value.
    peer: Option<(usize, String)>,
    text: String,
}

impl Visit for Cause {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.text = shortened(value);
            return;
        }
        let Some(place) = PEER_FIELDS.iter().position(|name| *name == field.name()) else { return };
        if self.peer.as_ref().is_none_or(|(known, _)| place < *known) {
            self.peer = Some((place, host(shortened(value))));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The beginning of a value's text.
fn shortened(value: &dyn fmt::Debug) -> String {
    struct Short(String);
    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(text);
            // Enough: the error stops the formatter.
            if self.0.len() > TEXT_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut short = Short(String::new());
    // Fails once it has enough.
    let _ = write!(short, "{value:?}");
    short.0
}

/// An address without its port (IPv6: its /64); anything else unchanged.
fn host(peer: String) -> String {
    let address = peer.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| peer.parse::<IpAddr>());
    match address.map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => peer,
    }
}

/// Parses a filter.
///
/// # Errors
/// The filter is invalid.
pub fn check_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::from_str(filter)
        .map_err(|error| LoggingError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log_limit::Limits;

    #[test]
    fn a_wrong_filter_is_named() {
        assert!(check_filter("warn,catchment=debug").is_ok());
        let message = check_filter("info,catchment=loud").unwrap_err().to_string();
        assert!(message.contains("catchment=loud"), "{message}");
    }

    /// Lines written by `log` through the filter of [`init`].
    fn written(log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let to = lines.clone();
        let writer = move || Cleaned { to: to.clone(), colours: false };
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
        let registry = tracing_subscriber::registry().with(check_filter("info").unwrap());
        tracing::subscriber::with_default(registry.with(LineLimit).with(layer), log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_that_name_a_peer_are_limited_and_counted_and_others_are_not() {
        let per_peer = Limits::default().per_peer as usize;
        let before = lines_suppressed();
        let lines = written(|| {
            for port in 0..1_000 {
                let addr = SocketAddr::from(([10, 0, 0, 1], port));
                tracing::info!(%addr, reason = port, "no connection");
                let gateway = "berlin/g1";
                tracing::warn!(%addr, gateway, "a delivery ends");
                tracing::error!(port, "a line of the program");
                tracing::debug!(%addr, "not asked for");
            }
        });
        let count = |text: &str| lines.lines().filter(|line| line.contains(text)).count();
        assert_eq!((count("no connection"), count("a delivery ends")), (per_peer, per_peer));
        assert_eq!((count("a line of the program"), count("not asked for")), (1_000, 0));
        // Other tests in this process may add to the count.
        assert!(lines_suppressed() - before >= 2 * (1_000 - per_peer as u64));
    }

    #[test]
    fn an_event_is_one_line_whatever_its_values_contain() {
        let text = "a\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[2J\u{202e}b";
        let lines = written(|| {
            tracing::error!(text, shown = %text, "said {text}");
            tracing::error!(tab = %"a\tb", "plain");
        });
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(!lines.replace(['\n', '\t'], "").contains(is_unprintable), "{lines:?}");
        assert!(lines.contains("a\tb"));
    }

    #[test]
    fn lines_of_libraries_are_limited_too() {
        let lines = written(|| (0..1_000).for_each(|n| tracing::warn!(target: "h2::proto", n, "a reset")));
        assert_eq!(lines.lines().count(), Limits::default().per_peer as usize);
    }

    #[test]
    fn a_peer_is_identified_by_its_host_not_its_port() {
        let host = |text: &str| host(text.to_owned());
        assert_eq!(host("10.0.0.1:4711"), "10.0.0.1");
        assert_eq!(host("[::ffff:10.0.0.1]:1"), "10.0.0.1");
        assert_eq!(host("[2001:db8:1:2:3::4]:5"), "2001:db8:1:2::/64");
        assert_eq!(host("gateway berlin/g1"), "gateway berlin/g1");
    }
}
