//! What a program says of a packet: why, and whether it waits. Never counts.

use netd_abi::{Action, Why};

/// The reason, and the interface that paces what goes on for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why it goes on or does not.
    pub why: Why,
    /// Index of the interface in whose queue it waits; 0 for none.
    pub pacer: u32,
}

impl Verdict {
    /// What becomes of the packet.
    #[inline(always)]
    #[must_use]
    pub const fn action(self) -> Action {
        match (self.why.action(), self.pacer) {
            (Action::Continue, 1..) => Action::Pace(self.pacer),
            (action, _) => action,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_waits_where_there_is_a_pacer_and_what_is_dropped_does_not() {
        for why in Why::ALL {
            assert_eq!(Verdict { why, pacer: 0 }.action(), why.action());
            let paced = Verdict { why, pacer: 7 }.action();
            assert_eq!(paced, if why.action() == Action::Drop { Action::Drop } else { Action::Pace(7) }, "{}", why.name());
        }
    }
}
