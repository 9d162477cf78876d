//! Published ports: a host address and port become a container's. Never decides whether the packet may go on: forwarding does.
//!
//! Only the first packet of a flow comes by here. The map of single addresses is asked before the one for any address; a key has the protocol
//! in it, so that what has no ports matches nothing. From a link-local IPv6 client no way leads back, as its address means nothing beyond its link.

use super::chain::{Base, Chain, Rule};

const LOCAL: &[Rule] = &[Rule { says: "fib daddr type local goto published", why: "for an address of this host" }];

pub(super) const CHAINS: [Chain; 3] = [
    Chain {
        name: "prerouting_publish",
        base: Some(Base { kind: "nat", hook: "prerouting", hook_number: 0, priority: "dstnat", priority_number: -100 }),
        rules: LOCAL,
    },
    Chain {
        name: "output_publish",
        base: Some(Base { kind: "nat", hook: "output", hook_number: 3, priority: "-100", priority_number: -100 }),
        rules: LOCAL,
    },
    Chain {
        name: "published",
        base: None,
        rules: &[
            Rule { says: "ip6 daddr ::1 return", why: "IPv6 has no way from ::1 to another interface" },
            Rule { says: "ip6 saddr fe80::/10 return", why: "a link-local address is known on its link only" },
            Rule { says: "dnat ip to ip daddr . meta l4proto . th dport map @publish4", why: "published on this address" },
            Rule { says: "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @publish4_any", why: "published on any address" },
            Rule { says: "dnat ip6 to ip6 daddr . meta l4proto . th dport map @publish6", why: "published on this address" },
            Rule { says: "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @publish6_any", why: "published on any address" },
        ],
    },
];
