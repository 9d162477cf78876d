//! Loopback stays loopback, though route_localnet is on and ports are published there. Never touches what goes over lo within the host,
//! but for one refusal.
//!
//! The drop comes before any translation, so the answer to a translated 127.0.0.1 is not met by it: it still has the bridge's address then.
//! The kernel itself drops ::1 on other interfaces (ipv6_rcv), with no switch that allows it, so no rule does it again.
//!
//! A port published over IPv6 cannot be reached from ::1, as IPv6 has no route_localnet. For TCP the socket that holds the port refuses; for
//! UDP and SCTP it would swallow, so they are refused here: on the way in, as a packet refused on the way out is EPERM to its sender. A map
//! may be asked for a key alone only from Linux 6.5 on; hence a set of their own.

use super::chain::{Base, Chain, Rule};

pub(super) const CHAINS: [Chain; 2] = [
    Chain {
        name: "prerouting_loopback",
        base: Some(Base { kind: "filter", hook: "prerouting", hook_number: 0, priority: "raw", priority_number: -300 }),
        rules: &[
            Rule { says: "iif \"lo\" accept", why: "the host with itself" },
            Rule { says: "ip daddr 127.0.0.0/8 drop", why: "loopback services of the host are for the host" },
            Rule { says: "ip saddr 127.0.0.0/8 drop", why: "nobody outside has a loopback address" },
        ],
    },
    Chain {
        name: "input_loopback",
        base: Some(Base { kind: "filter", hook: "input", hook_number: 1, priority: "filter", priority_number: 0 }),
        rules: &[
            Rule { says: "iif != \"lo\" accept", why: "only the host with itself" },
            Rule {
                says: "ip6 daddr ::1 ct state new meta l4proto . th dport @refuse6 reject with icmpv6 port-unreachable",
                why: "a published port has no way from ::1: refused, never a hang",
            },
        ],
    },
];
