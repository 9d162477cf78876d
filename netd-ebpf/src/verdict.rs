//! What a program says of a packet: why, and whether it waits; or that it has been sent on its way already. Never counts.

use netd_abi::{Action, Why};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reason, and the interface that paces what goes on for it.
    Says {
        /// Why it goes on or does not.
        why: Why,
        /// Index of the interface in whose queue it waits; 0 for none.
        pacer: u32,
        /// 1 where no program behind this one is asked of what goes on, else 0.
        is_last: u32,
    },
    /// The kernel was told where to send it; with this answer.
    Done(i32),
}

impl Outcome {
    /// What becomes of the packet, or the answer that the kernel wants.
    #[inline(always)]
    pub const fn action(self) -> Result<Action, i32> {
        match self {
            Self::Says { why, pacer, .. } => Ok(match (why.action(), pacer) {
                (Action::Continue, 1..) => Action::Pace(pacer),
                (action, _) => action,
            }),
            Self::Done(answer) => Err(answer),
        }
    }

    /// 1 where no program behind this one is asked of what goes on, else 0.
    #[inline(always)]
    pub const fn is_last(self) -> u32 {
        match self {
            Self::Says { is_last, .. } => is_last,
            Self::Done(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_waits_where_there_is_a_pacer_and_what_is_dropped_does_not() {
        for why in Why::ALL {
            assert_eq!(Outcome::Says { why, pacer: 0, is_last: 0 }.action(), Ok(why.action()));
            let paced = Outcome::Says { why, pacer: 7, is_last: 0 }.action();
            assert_eq!(paced, Ok(if why.action() == Action::Drop { Action::Drop } else { Action::Pace(7) }), "{}", why.name());
        }
        assert_eq!(Outcome::Done(7).action(), Err(7));
    }
}
