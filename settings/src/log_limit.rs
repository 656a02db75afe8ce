//! Rate limit of log lines caused by peers. Pure: the time is an argument.
//!
//! A line has a kind (its place in the program) and a peer that caused it. In each period, a peer gets a few lines of
//! each kind, and all peers together a few more; further lines are counted, and reported in one line per kind and
//! period. Invariant: a kind remembers no more peers than it has lines, so the program's number of kinds bounds the
//! table.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Maximum length of a stored peer name or text in bytes; the rest is cut off.
pub const TEXT_BYTES_MAX: usize = 128;

/// Limits on the number of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines of one kind by one peer per period.
    pub per_peer: u32,
    /// Lines of one kind by all peers per period.
    pub total: u32,
    /// The period.
    pub period: Duration,
}

impl Default for Limits {
    /// Six lines per minute show what a peer does, sixty that many peers do it.
    fn default() -> Self {
        Self { per_peer: 6, total: 60, period: Duration::from_secs(60) }
    }
}

/// Lines of a kind that were suppressed since the last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The text of the first of these lines.
    pub like: String,
    /// Number of lines.
    pub lines: u64,
    /// The peer with the most of them, as far as peers are remembered, and its number.
    pub most: Option<(String, u64)>,
}

/// Decides which lines may be written.
#[derive(Debug, Default)]
pub struct Limiter {
    limits: Limits,
    /// At most as many as the program has places that log.
    kinds: BTreeMap<&'static str, Kind>,
}

/// The lines of a kind.
#[derive(Debug, Default)]
struct Kind {
    /// Start of the period.
    began: Duration,
    /// Lines written in the period.
    lines: u32,
    /// Peers that caused these lines, and how many.
    peers: HashMap<String, u32>,
    /// Suppressed lines that are not reported yet.
    unreported: Option<Unreported>,
}

#[derive(Debug)]
struct Unreported {
    due: Duration,
    like: String,
    lines: u64,
    /// Lines by remembered peer; at most as many peers as lines are written in a period.
    peers: HashMap<String, u64>,
}

/// The beginning of a text, up to [`TEXT_BYTES_MAX`].
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

impl Limiter {
    /// A limiter with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, kinds: BTreeMap::new() }
    }

    /// Whether a line may be written at time `now` (since any fixed start). `text` is for the report of suppressed
    /// lines.
    pub fn permits(&mut self, now: Duration, kind: &'static str, peer: &str, text: &str) -> bool {
        let Limits { per_peer, total, period } = self.limits;
        let kind = self.kinds.entry(kind).or_default();
        if now.saturating_sub(kind.began) >= period {
            (kind.began, kind.lines) = (now, 0);
            kind.peers.clear();
        }
        let peer = cut(peer);
        let written = kind.peers.get(peer).copied().unwrap_or(0);
        if written < per_peer && kind.lines < total {
            kind.lines += 1;
            kind.peers.insert(peer.to_owned(), written + 1);
            return true;
        }
        let unreported = kind.unreported.get_or_insert_with(|| Unreported {
            due: now.saturating_add(period),
            like: cut(text).to_owned(),
            lines: 0,
            peers: HashMap::new(),
        });
        unreported.lines += 1;
        if let Some(lines) = unreported.peers.get_mut(peer) {
            *lines += 1;
        } else if unreported.peers.len() < total as usize {
            unreported.peers.insert(peer.to_owned(), 1);
        }
        false
    }

    /// Summaries to report now: for each kind, one period after its first suppressed line.
    pub fn due(&mut self, now: Duration) -> Vec<Summary> {
        let mut summaries = Vec::new();
        for kind in self.kinds.values_mut() {
            if let Some(Unreported { like, lines, peers, .. }) =
                kind.unreported.take_if(|unreported| unreported.due <= now)
            {
                let most = peers.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
                summaries.push(Summary { like, lines, most });
            }
        }
        summaries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { per_peer: 3, total: 10, period: Duration::from_secs(60) };

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn each_peer_gets_a_few_lines() {
        let mut limiter = Limiter::new(LIMITS);
        let mut written = |peer: &str, lines| {
            (0..lines).filter(|_| limiter.permits(second(1), "a", peer, "a delivery ends")).count()
        };
        assert_eq!(written("berlin/bad", 132_003), 3);
        assert_eq!(written("berlin/good", 2), 2);
        assert_eq!(limiter.due(second(60)), []);
        let summary = Summary {
            like: "a delivery ends".to_owned(),
            lines: 132_000,
            most: Some(("berlin/bad".to_owned(), 132_000)),
        };
        assert_eq!(limiter.due(second(61)), [summary]);
        assert_eq!(limiter.due(second(62)), [], "reported once");
        assert!(limiter.permits(second(62), "a", "berlin/bad", ""), "the next period");
    }

    #[test]
    fn many_peers_get_a_few_more_lines_and_take_bounded_memory() {
        let mut limiter = Limiter::new(LIMITS);
        let line = |n: u32| limiter.permits(second(1), "a", &format!("10.0.{}.{}", n / 256, n % 256), "no");
        assert_eq!((0..60_000).map(line).filter(|permitted| *permitted).count(), 10);
        let kind = limiter.kinds.get("a").unwrap();
        assert!(kind.peers.len() <= 10 && kind.unreported.as_ref().unwrap().peers.len() <= 10);
        assert_eq!(limiter.due(second(99)).first().unwrap().lines, 59_990);
        assert!(limiter.permits(second(1), "b", "10.0.0.1", "yes"), "each kind has its own");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut limiter = Limiter::new(Limits { per_peer: 0, ..LIMITS });
        let long = "ü".repeat(1_000);
        assert!(!limiter.permits(second(1), "a", &long, &format!("x{long}")));
        let summary = limiter.due(second(99)).remove(0);
        assert_eq!(summary.like.len(), TEXT_BYTES_MAX - 1);
        assert_eq!(summary.most.unwrap().0.len(), TEXT_BYTES_MAX);
    }
}
