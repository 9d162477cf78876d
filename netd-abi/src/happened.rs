//! What the programs gave up or could not do: counted in map `HAPPENED`, so that nothing is lost in silence. Never about a single container.

macro_rules! happenings {
    ($($(#[$doc:meta])* $happening:ident = $number:literal, $name:literal;)*) => {
        /// Something that should be seldom. Numbers are never reused: they index a pinned map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Happened {
            $($(#[$doc])* $happening = $number,)*
        }

        impl Happened {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$happening),*];

            /// Its stable name in metrics and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$happening => $name,)*
                }
            }
        }
    };
}

happenings! {
    /// A flow that began was not told to who follows: the ring buffer was full, or more came in a second than are told.
    RecordLost = 0, "record_lost";
    /// A denial was counted but not told one by one: more came in a second than are, or the ring buffer was full.
    DenialNotTold = 1, "denial_not_told";
    /// A flow stayed among those without a reply, which may give way, because there is no room for one more confirmed one.
    FlowNotConfirmed = 2, "flow_not_confirmed";
    /// A new flow could not be remembered: each of its packets is judged by policy alone.
    FlowNotTracked = 3, "flow_not_tracked";
    /// What a policy said of a first fragment could not be remembered.
    FragmentNotTracked = 4, "fragment_not_tracked";
    /// A packet that was not simply passed on could not be counted for its attachment; it is counted by its reason alone.
    ReasonNotCounted = 5, "reason_not_counted";
    /// A packet whose sender should be told could not be turned into the answer; it was dropped in silence.
    AnswerNotMade = 6, "answer_not_made";
    /// Headers could not be brought into reach of the program.
    HeadersOutOfReach = 7, "headers_out_of_reach";
    /// A new flow gave way to another: its next packet is judged as the first of a new one.
    NewFlowGaveWay = 8, "new_flow_gave_way";
    /// A connection took the place of another one of its key before the daemon had told of that one's end.
    EndNotTold = 9, "end_not_told";
}

impl Happened {
    /// The number that stands for it in the map.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_place() {
        for (number, happened) in (0..).zip(Happened::ALL) {
            assert_eq!(happened.number(), number);
        }
        assert!((Happened::ALL.len() as u32) <= crate::maps::HAPPENED.entries);
    }
}
