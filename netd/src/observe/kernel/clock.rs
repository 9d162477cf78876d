//! The programs' time, and what it is on a calendar. Never waits.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in both times. Those of records are told by it: as the clock on the wall goes now, not as it went when they were written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clock {
    /// CLOCK_MONOTONIC in nanoseconds, as bpf_ktime_get_coarse_ns has it.
    pub(crate) mono_ns: u64,
    /// Seconds since 1970.
    pub(crate) real: f64,
}

impl Clock {
    /// Now.
    pub(crate) fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a timespec that lives through the call. A Linux without this clock does not exist, and then zero would stay.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        let mono_ns = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { mono_ns, real }
    }

    /// When a moment of the programs' time was, in seconds since 1970.
    pub(crate) fn real(self, at_ns: u64) -> f64 {
        let ago_ns = i128::from(self.mono_ns) - i128::from(at_ns);
        self.real - ago_ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_now_are_told_by_the_distance() {
        let clock = Clock { mono_ns: 5_000_000_000, real: 1_700_000_000.0 };
        assert_eq!(clock.real(3_500_000_000), 1_699_999_998.5);
        assert_eq!(clock.real(5_004_000_000), 1_700_000_000.004);
        assert!((Clock::now().real(Clock::now().mono_ns) - Clock::now().real).abs() < 1.0);
    }
}
