//! What passed and what failed, added up over all runners.

use std::ops::AddAssign;

/// Counts of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// A single failure.
    pub(crate) const FAILURE: Self = Self { passed: 0, failed: 1 };

    /// Counts a check, and prints how it ended.
    pub(crate) fn check(&mut self, what: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("{what} ... ok");
            }
            Err(error) => {
                self.failed += 1;
                println!("{what} ... FAILED\n    {error:#}");
            }
        }
    }

    /// The counts of one line of libtest, `test result: ok. 3 passed; 0 failed; …`; `None` for every other line.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            let mut parts = counts.split(';').filter_map(|part| part.trim().split_once(' '));
            parts.find(|(_, name)| *name == word)?.0.parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")? })
    }

    /// Prints the closing line, the last of all. Returns whether something passed and nothing failed.
    pub(crate) fn end(self) -> bool {
        println!("\n{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_libtest_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(Tally::of_line(line), Some(Tally { passed: 12, failed: 3 }));
        let line =
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Tally::of_line(line), Some(Tally::default()));
        for other in ["test a::b ... ok", "running 3 tests", "test result: ok", "", "12 passed, 3 failed"] {
            assert_eq!(Tally::of_line(other), None, "{other}");
        }
    }

    #[test]
    fn nothing_is_no_success() {
        assert!(!Tally::default().end());
        assert!(!Tally { passed: 9, failed: 1 }.end());
        assert!(Tally { passed: 1, failed: 0 }.end());
    }
}
