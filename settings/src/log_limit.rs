//! How many log lines a peer may cause. Pure: the time comes in as an argument.
//!
//! A line has a kind (its place in the program) and a peer (whoever caused it). Of each kind a peer gets a few lines a period,
//! and all peers together a few more; the rest is counted, and reported in one line a kind and period. Invariant: a kind
//! remembers no more peers than it has lines, so the table is bounded by the kinds of the program.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Longest name of a peer and longest text that is remembered, bytes; the rest is cut.
pub const TEXT_BYTES_MAX: usize = 128;

/// How many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one kind by one peer in a period.
    pub per_peer: u32,
    /// Of one kind by all peers in a period.
    pub total: u32,
    /// The period.
    pub period: Duration,
}

impl Default for Limits {
    /// Six lines a minute tell what a peer does, sixty that many do it.
    fn default() -> Self {
        Self { per_peer: 6, total: 60, period: Duration::from_secs(60) }
    }
}

/// What was suppressed of a kind since it was last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The text of the first of these lines.
    pub like: String,
    /// How many lines.
    pub lines: u64,
    /// The peer with the most of them, as far as peers are remembered, and how many.
    pub most: Option<(String, u64)>,
}

/// Decides which lines are written.
#[derive(Debug, Default)]
pub struct Limiter {
    limits: Limits,
    /// As many as the program has places that log.
    kinds: BTreeMap<&'static str, Kind>,
}

/// The lines of a kind.
#[derive(Debug, Default)]
struct Kind {
    /// When the period began.
    began: Duration,
    /// Lines written in it.
    lines: u32,
    /// Peers that wrote one of them, and how many.
    peers: HashMap<String, u32>,
    /// What is not reported yet.
    unreported: Option<Unreported>,
}

#[derive(Debug)]
struct Unreported {
    due: Duration,
    like: String,
    lines: u64,
    /// Lines by peer, of peers that were remembered; at most as many as lines are written in a period.
    peers: HashMap<String, u64>,
}

/// The beginning of a text, as long as is remembered.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

impl Limiter {
    /// With these bounds.
    pub fn new(limits: Limits) -> Self {
        Self { limits, kinds: BTreeMap::new() }
    }

    /// Whether a line may be written, at a time since whatever beginning. `text` is for the report of those that may not.
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

    /// What is to be reported now: each kind a period after its first suppressed line.
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
    fn a_peer_gets_a_few_lines_and_the_others_theirs() {
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
    fn many_peers_get_a_few_lines_more_and_take_no_memory() {
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
