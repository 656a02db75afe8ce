//! A regular expression over values in order of their bytes.
//!
//! The states after each byte of a value are kept, so the next value begins after what it has in common with this one;
//! and once no value with some prefix can match, all values with that prefix are skipped. A regular expression that
//! begins with literal text, or is a choice of texts, thus costs a few binary searches, and any other a few bytes a
//! value. States are determinised when they are met, in bounded memory.

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
};

/// Most memory of the states of all expressions of a selector, and of one; together with the expressions, which the
/// selector limits.
const CACHE_BYTES: usize = 2 << 20;
const CACHE_BYTES_MIN: usize = 64 << 10;
/// A cache that was cleared this often is given up if it is not worth it: the regex library then matches the values.
const CLEARS_MIN: usize = 8;
const BYTES_A_STATE_MIN: usize = 10;
/// Work of making a state, in bytes matched.
const STATE_WORK: usize = 64;

/// A regular expression, with its states met so far.
pub(super) struct Automaton {
    dfa: DFA,
    cache: Cache,
    /// `states[n]` is the state after `n` bytes of the last value; may be empty.
    states: Vec<LazyStateID>,
    /// How often the cache had been cleared when `states` began.
    clears: usize,
}

/// The result for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) matches: bool,
    /// No value matches that begins with this many bytes of this one.
    pub(super) dead_prefix: Option<usize>,
    /// Work, in bytes matched.
    pub(super) work: usize,
}

/// What an automaton cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Whether it matches this value: it has Unicode word boundaries, and the value is not ASCII.
    Value,
    /// Anything more: it makes too many states.
    All,
}

impl Automaton {
    /// Takes one of `count` patterns of a selector. `None`: the automaton does not support it.
    pub(super) fn new(pattern: &str, count: usize) -> Option<Self> {
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity((CACHE_BYTES / count.max(1)).max(CACHE_BYTES_MIN))
            .skip_cache_capacity_check(true)
            // It then stops at values that are not ASCII.
            .unicode_word_boundary(true)
            .minimum_cache_clear_count(Some(CLEARS_MIN))
            .minimum_bytes_per_state(Some(BYTES_A_STATE_MIN));
        let dfa = DFA::builder().configure(config).build(pattern).ok()?;
        let cache = dfa.create_cache();
        Some(Self { dfa, cache, states: Vec::new(), clears: 0 })
    }

    /// Whether the expression matches a value from its beginning on, as patterns are that begin with `\A` and end with
    /// `\z`. The first `shared` bytes of the value are those of the previous one.
    ///
    /// # Errors
    /// It cannot tell, of this value or of any: the regex library can.
    pub(super) fn test(&mut self, value: &[u8], shared: usize) -> Result<Verdict, Unknown> {
        let mut state = self.rewind(shared)?;
        let begin = self.states.len() - 1;
        let mut work = 1;
        for (byte, place) in value.iter().zip(0..).skip(begin) {
            let known = (!state.is_tagged()).then(|| self.dfa.next_state_untagged(&self.cache, state, *byte));
            work += 1;
            state = match known {
                Some(next) if !next.is_unknown() => next,
                _ => {
                    work += STATE_WORK;
                    self.dfa.next_state(&mut self.cache, state, *byte).map_err(|_| Unknown::All)?
                }
            };
            if state.is_quit() {
                return Err(Unknown::Value);
            }
            if state.is_dead() {
                return Ok(Verdict { matches: false, dead_prefix: Some(place + 1), work });
            }
            self.states.push(state);
        }
        let end = self.dfa.next_eoi_state(&mut self.cache, state).map_err(|_| Unknown::All)?;
        Ok(Verdict { matches: end.is_match(), dead_prefix: None, work })
    }

    /// Returns to the state after `shared` bytes of the last value, or to an earlier one.
    fn rewind(&mut self, shared: usize) -> Result<LazyStateID, Unknown> {
        if self.cache.clear_count() != self.clears {
            // The states kept are gone.
            self.states.clear();
        }
        self.states.truncate(shared + 1);
        if let Some(state) = self.states.last() {
            return Ok(*state);
        }
        let start = Input::new(b"").anchored(Anchored::Yes);
        let state = self.dfa.start_state_forward(&mut self.cache, &start).map_err(|_| Unknown::All)?;
        self.states.push(state);
        self.clears = self.cache.clear_count();
        Ok(state)
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.dfa.memory_usage() + self.cache.memory_usage()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::selector::Selector;

    fn check(pattern: &str, values: &[String]) -> Result<(), TestCaseError> {
        // A selector is refused if its pattern is none without what stands around it.
        if regex::Regex::new(pattern).is_err() {
            return Ok(());
        }
        let Ok(regex) = regex::Regex::new(&format!("\\A(?s:{pattern})\\z")) else { return Ok(()) };
        let Some(mut automaton) = Automaton::new(regex.as_str(), 1) else { return Ok(()) };
        let mut before = String::new();
        for value in values {
            let shared = before.bytes().zip(value.bytes()).take_while(|(a, b)| a == b).count();
            before.clone_from(value);
            let Ok(verdict) = automaton.test(value.as_bytes(), shared) else {
                prop_assert!(!value.is_ascii(), "{} on {:?}", pattern, value);
                continue;
            };
            prop_assert_eq!(verdict.matches, regex.is_match(value), "{} on {:?}", pattern, value);
            if let Some(prefix) = verdict.dead_prefix {
                let dead =
                    values.iter().filter(|other| other.as_bytes().starts_with(&value.as_bytes()[..prefix]));
                for other in dead {
                    prop_assert!(!regex.is_match(other), "{} on {:?} after {:?}", pattern, other, value);
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_matches_as_the_library_does(
            pattern in r"[a-cé(){}|?*+.^$0-2,\[\]\\wbdAz-]{0,16}",
            mut values in prop::collection::vec("[a-cé\n0-2]{0,6}", 1..40),
        ) {
            values.sort();
            check(&pattern, &values)?;
        }
    }

    #[test]
    fn chosen_patterns_match_as_the_library_does() {
        let letters = ["a", "b", "é", "\n", "K", "\u{212a}", ""];
        let mut values: Vec<String> = letters
            .iter()
            .flat_map(|a| letters.iter().flat_map(move |b| letters.map(|c| format!("{a}{b}{c}"))))
            .collect();
        values.sort();
        for pattern in [
            "",
            "a|",
            "(?i)k+",
            "(?i:é).",
            "a{2,}|b",
            "(?m)^a$.*",
            r"\ba.*",
            r"(?-u:\b)a.*",
            "a$",
            "^a",
            r"\Ba",
            "(?U)a*b",
            r"\pL+",
            "[^a]*",
        ] {
            check(pattern, &values).unwrap();
        }
        assert!(Selector::parse(r#"{a=~"(?i)k+"}"#).is_ok());
    }

    #[test]
    fn a_dead_prefix_is_as_short_as_it_can_be() {
        let mut automaton = Automaton::new(r"\A(?s:press-1.*)\z", 1).unwrap();
        let verdict = automaton.test(b"press-0001", 0).unwrap();
        assert_eq!((verdict.matches, verdict.dead_prefix), (false, Some(7)));
        assert!(automaton.test(b"press-1", 6).unwrap().matches);
        assert_eq!(automaton.test(b"quench", 0).unwrap().dead_prefix, Some(1));
    }

    #[test]
    fn an_expression_with_too_many_states_is_given_up_within_its_memory() {
        let mut automaton = Automaton::new(r"\A(?s:.*a.{200})\z", 1).unwrap();
        let values = (0_u64..20_000)
            .map(|n| format!("{:0200b}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).replace('1', "a"));
        let mut values: Vec<String> = values.map(|v| v.repeat(2)).collect();
        values.sort();
        let given_up = values.iter().any(|value| automaton.test(value.as_bytes(), 0) == Err(Unknown::All));
        assert!(given_up && automaton.bytes() < 8 << 20, "{given_up}, {}", automaton.bytes());
    }
}
