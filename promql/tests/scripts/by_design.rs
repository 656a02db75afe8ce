//! The committed list of evals that do not give what the scripts expect, and why.

use std::collections::BTreeMap;

/// Lines of `SCRIPT:LINE HASH REASON`; the scripts' expressions themselves are not ours to publish.
const LIST: &str = include_str!("by_design.txt");

/// The list, and which of its entries were needed.
#[derive(Debug)]
pub(crate) struct ByDesign(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    hash: String,
    used: bool,
}

impl ByDesign {
    /// Loads the list.
    pub(crate) fn load() -> Self {
        let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entry = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (place, hash) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            assert!(words.next().is_some_and(|reason| !reason.is_empty()), "no reason: {line}");
            (place, Entry { hash, used: false })
        };
        Self(lines.map(entry).collect())
    }

    /// Whether this eval is in the list.
    pub(crate) fn lists(&mut self, place: &str, expression: &str) -> bool {
        match self.0.get_mut(place) {
            Some(entry) if entry.hash == hash(expression) => {
                entry.used = true;
                true
            }
            _ => false,
        }
    }

    /// Entries without their eval.
    pub(crate) fn unused(&self) -> Vec<String> {
        let unused = self.0.iter().filter(|(_, entry)| !entry.used);
        unused.map(|(place, _)| format!("{place}: by_design.txt lists an eval that is not there")).collect()
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn hash(expression: &str) -> String {
    let hash = expression.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn the_hash_is_fnv_1a() {
    assert_eq!(hash(""), "cbf29ce484222325");
    assert_eq!(hash("a"), "af63dc4c8601ec8c");
}
