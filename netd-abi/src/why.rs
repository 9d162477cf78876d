//! Why a packet went on or was dropped: one list for the programs, metrics, flows and status. Never holds a reason of the kernel's own.

use crate::policy::Verdict;

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

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $number:literal, $name:literal;)*) => {
        /// The reason for what happened to a packet. Numbers are never reused: they index pinned maps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Why {
            $($(#[$doc])* $reason = $number,)*
        }

        impl Why {
            /// All reasons, in the order of their numbers.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$reason),*];

            /// Its stable name in metrics and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// Counted for its attachment and passed on.
    Forward = 0, "forward";
    /// On one of our blocks, but its interface is no attachment: nobody answers for the packet, so it does not pass.
    DropUnknownInterface = 1, "drop_unknown_interface";
    /// Its attachment has a slot that the counters do not have; passed on, and counted here alone.
    ForwardUncounted = 2, "forward_uncounted";
    /// Passed on, though a policy in audit would drop it.
    AuditPolicy = 3, "audit_policy";
    /// A policy does not allow it.
    DropPolicy = 4, "drop_policy";
    /// A policy does not allow it, and its sender was told.
    RejectPolicy = 5, "reject_policy";
    /// Guard: another hardware address than the container's.
    DropSourceMac = 6, "drop_source_mac";
    /// Guard: an IP address that is not the container's.
    DropSourceAddress = 7, "drop_source_address";
    /// Guard: ARP that speaks for somebody else (RFC 826).
    DropArpSpoof = 8, "drop_arp_spoof";
    /// Guard: neighbour discovery that speaks for somebody else, or a redirect (RFC 4861).
    DropNdSpoof = 9, "drop_nd_spoof";
    /// Guard: a router advertisement (RFC 6105).
    DropRouterAdvertisement = 10, "drop_router_advertisement";
    /// Guard: what only a DHCP server sends (RFC 7610).
    DropDhcpServer = 11, "drop_dhcp_server";
    /// Guard: a source route, in IPv4's options or an IPv6 routing header of type 0 (RFC 7126, RFC 5095).
    DropSourceRoute = 12, "drop_source_route";
    /// Headers that contradict themselves or the packet's length.
    DropMalformed = 13, "drop_malformed";
    /// More IPv6 extension headers than are looked through, where a policy would have to know what is behind them.
    DropExtensionHeaders = 14, "drop_extension_headers";
    /// A later fragment whose first one was not seen, where a policy would have to know its ports.
    DropFragmentWithoutFirst = 15, "drop_fragment_without_first";
    /// A later fragment that would write over the transport header of the first (RFC 1858).
    DropFragmentOverlap = 16, "drop_fragment_overlap";
    /// Neither IP nor ARP, where a policy allows only some IP.
    DropNotIp = 17, "drop_not_ip";
    /// A TCP reset that netd made because of a policy.
    MadeReset = 18, "made_reset";
    /// An ICMP error that netd made because of a policy.
    MadeUnreachable = 19, "made_unreachable";
}

impl Why {
    /// How many reasons there are.
    pub const COUNT: u32 = Self::ALL.len() as u32;

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

    /// What it says of the packet. Those that netd made itself go on, and are counted apart ([`Why::is_made`]).
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Forward | Self::ForwardUncounted | Self::MadeReset | Self::MadeUnreachable => Verdict::Forward,
            Self::AuditPolicy => Verdict::Audit,
            Self::RejectPolicy => Verdict::Reject,
            _ => Verdict::Drop,
        }
    }

    /// Whether netd made the packet, so that no interface counted it as the container's.
    #[must_use]
    pub const fn is_made(self) -> bool {
        matches!(self, Self::MadeReset | Self::MadeUnreachable)
    }

    /// What becomes of the packet, where its attachment is not paced.
    #[must_use]
    pub const fn action(self) -> Action {
        if self.verdict().passes() { Action::Continue } else { Action::Drop }
    }

    /// The reason for what a policy says.
    #[must_use]
    pub const fn of_policy(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Forward => Self::Forward,
            Verdict::Drop => Self::DropPolicy,
            Verdict::Reject => Self::RejectPolicy,
            Verdict::Audit => Self::AuditPolicy,
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
    fn names_say_the_verdict() {
        for why in Why::ALL {
            let word = why.name().split('_').next().unwrap();
            assert_eq!(word, if why.is_made() { "made" } else { why.verdict().name() }, "{}", why.name());
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
