//! Source addresses that must change: on the way out, because the outside does not know ours; on the way in, because the answer would not
//! come back through the host. Never changes one that the receiver can answer to.
//!
//! Only the first packet of a flow comes by here. A neighbour in one network would answer directly, past the translation, so both
//! addresses are looked up together: a bridged frame has no input interface here (br_netfilter).

use super::chain::{Base, Chain, Rule};

pub(super) const CHAINS: [Chain; 2] = [
    Chain {
        name: "postrouting_masquerade",
        base: Some(Base { kind: "nat", hook: "postrouting", hook_number: 4, priority: "srcnat", priority_number: 100 }),
        rules: &[
            Rule { says: "oifname @bridges goto postrouting_to_container", why: "a container gets" },
            Rule {
                says: "ip saddr @masquerade4 ip daddr < 224.0.0.0 masquerade",
                why: "outside knows the host's address only; not multicast",
            },
            Rule {
                says: "ip6 saddr @masquerade6 ip6 daddr < ff00:: masquerade",
                why: "outside knows the host's address only; not multicast",
            },
        ],
    },
    Chain {
        name: "postrouting_to_container",
        base: None,
        rules: &[
            Rule { says: "ip saddr 127.0.0.0/8 masquerade", why: "the host's 127.0.0.1 at a published port" },
            Rule {
                says: "ct status dnat ip saddr . ip daddr @hairpin4 masquerade",
                why: "a published port of the own network: answer through the host",
            },
            Rule {
                says: "ct status dnat ip6 saddr . ip6 daddr @hairpin6 masquerade",
                why: "a published port of the own network: answer through the host",
            },
        ],
    },
];
