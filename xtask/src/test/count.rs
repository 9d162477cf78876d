//! How many tests passed and failed, read from the test runners' own closing lines. Never guesses: a step that fails without one counts as a failure.

use std::fmt;
use std::ops::AddAssign;

use super::Tier;

/// Tests that passed, and tests or whole steps that failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u32,
    pub(super) failed: u32,
}

impl Count {
    pub(super) const FAILURE: Count = Count { passed: 0, failed: 1 };

    /// Reads a closing line of Rust's test runner. A test that it ignored was skipped, and so counts as failed.
    pub(super) fn closing_line(line: &str) -> Option<Count> {
        let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        let number = |name: &str| counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse::<u32>().ok());
        Some(Count { passed: number("passed")?, failed: number("failed")? + number("ignored")? })
    }

    pub(super) fn is_good(self) -> bool {
        self.failed == 0
    }

    /// A tier in which no test ran has proven nothing.
    pub(super) fn or_nothing_ran(self, tier: Tier) -> Count {
        if self == Count::default() {
            println!("tier {tier} ran no test at all");
            return Count::FAILURE;
        }
        self
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read_and_other_lines_are_not() {
        let good = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        let bad = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(Count::closing_line(good), Some(Count { passed: 12, failed: 0 }));
        assert_eq!(Count::closing_line(bad), Some(Count { passed: 5, failed: 3 }));
        assert_eq!(Count::closing_line("test ports ... ok"), None);
    }

    #[test]
    fn a_tier_without_a_test_has_failed() {
        assert_eq!(Count::default().or_nothing_ran(Tier::Lab), Count::FAILURE);
        assert_eq!(Count { passed: 1, failed: 0 }.or_nothing_ran(Tier::Lab).failed, 0);
    }
}
