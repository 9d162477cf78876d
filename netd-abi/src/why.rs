//! Why a packet went on or was dropped: one list for the programs, metrics, flows and status. Never holds a reason of the kernel's own.

/// What the kernel is told to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on to the next program and then into the stack.
    Continue,
    /// Free the packet.
    Drop,
    /// Wait in the queue of the interface with this index, and come back after it.
    Pace(u32),
}

/// The reason for what happened to a packet. Numbers are never reused: they index pinned maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Why {
    /// Counted for its attachment and passed on.
    Forward = 0,
    /// On one of our blocks, but its interface is no attachment: nobody answers for the packet, so it does not pass.
    DropUnknownInterface = 1,
    /// Its attachment has a slot that the counters do not have; passed on, and counted here alone.
    ForwardUncounted = 2,
}

impl Why {
    /// How many reasons there are.
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Forward, Self::DropUnknownInterface, Self::ForwardUncounted];

    /// The number that stands for it in maps and records.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The reason with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        if number < Self::COUNT { Some(Self::ALL[number as usize]) } else { None }
    }

    /// Its stable name in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::DropUnknownInterface => "drop_unknown_interface",
            Self::ForwardUncounted => "forward_uncounted",
        }
    }

    /// What becomes of the packet, where its attachment is not paced.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Forward | Self::ForwardUncounted => Action::Continue,
            Self::DropUnknownInterface => Action::Drop,
        }
    }

    /// Where map `DROPS` counts packets that went this way for this reason.
    #[must_use]
    pub const fn counter_of(self, direction: crate::Direction) -> u32 {
        self.number() * 2 + direction.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Direction;

    #[test]
    fn each_number_leads_back_to_its_reason() {
        for (number, why) in (0..).zip(Why::ALL) {
            assert_eq!(why.number(), number);
            assert_eq!(Why::from_number(number), Some(why));
        }
        assert_eq!(Why::from_number(Why::COUNT), None);
    }

    #[test]
    fn names_say_the_action() {
        for why in Why::ALL {
            assert_eq!(why.name().starts_with("drop_"), why.action() == Action::Drop, "{}", why.name());
        }
    }

    #[test]
    fn every_reason_has_a_counter_in_each_direction() {
        let drops = crate::MAPS.iter().find(|map| map.name == "DROPS").unwrap();
        assert_eq!(Why::Forward.counter_of(Direction::FromContainer), 0);
        let last = Why::ALL[Why::ALL.len() - 1];
        assert!(last.counter_of(Direction::ToContainer) < drops.entries);
    }
}
