//! Numbers of passed and failed checks, summed over all runners.

use std::ops::AddAssign;

/// Counts of checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl TestCounts {
    /// A single failure.
    pub(crate) const FAILURE: Self = Self { passed: 0, failed: 1 };

    /// Counts a check and prints its result.
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

    /// The counts of pytest's last line, `2 failed, 133 passed, 1 skipped in 43.1s`; `None` for every other line.
    pub(crate) fn of_pytest(line: &str) -> Option<Self> {
        let (text, _) = line.trim().trim_matches('=').trim().rsplit_once(" in ")?;
        let (mut counts, mut any) = (Self::default(), false);
        for (count, word) in text.split(", ").filter_map(|part| part.split_once(' ')) {
            let Ok(count) = count.parse::<u64>() else { return None };
            match word {
                "passed" => counts.passed += count,
                "failed" | "error" | "errors" => counts.failed += count,
                "skipped" | "warning" | "warnings" | "deselected" | "xfailed" => {}
                _ => return None,
            }
            any = true;
        }
        any.then_some(counts)
    }

    /// Prints the totals, the last line of all. Returns whether something passed and nothing failed.
    pub(crate) fn report(self) -> bool {
        println!("\n{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_pytest_are_parsed() {
        let counts = |passed, failed| Some(TestCounts { passed, failed });
        assert_eq!(TestCounts::of_pytest("135 passed in 43.12s\n"), counts(135, 0));
        assert_eq!(
            TestCounts::of_pytest("== 2 failed, 130 passed, 3 skipped, 1 error in 67s (0:01:07) =="),
            counts(130, 3)
        );
        assert_eq!(TestCounts::of_pytest("no tests ran in 0.01s"), None);
        assert_eq!(TestCounts::of_pytest("....... [100%]"), None);
    }

    #[test]
    fn results_of_libtest_are_parsed() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(TestCounts::of_line(line), Some(TestCounts { passed: 12, failed: 3 }));
        let line =
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(TestCounts::of_line(line), Some(TestCounts::default()));
        for other in ["test a::b ... ok", "running 3 tests", "test result: ok", "", "12 passed, 3 failed"] {
            assert_eq!(TestCounts::of_line(other), None, "{other}");
        }
    }

    #[test]
    fn zero_tests_are_not_a_success() {
        assert!(!TestCounts::default().report());
        assert!(!TestCounts { passed: 9, failed: 1 }.report());
        assert!(TestCounts { passed: 1, failed: 0 }.report());
    }
}
