//! Who may reach whom through the host: networks are apart, outside reaches what is published or routed. Never looks at an address:
//! the interface says which network a packet comes from or goes to.
//!
//! Three lookups at most decide for a stranger's packet, and none of them grows with the number of networks. A packet of a known flow
//! costs one or two lookups and the `ct state`. Invalid packets (no flow of conntrack's) are dropped only where they would need a
//! translation and cannot get one; everywhere else they pass, as the two directions of a flow may take different ways.

use super::{
    chain::{Base, Chain, Rule},
    strangers,
};

pub(super) const CHAINS: [Chain; 3] = [
    Chain {
        name: "forward",
        base: Some(Base { kind: "filter", hook: "forward", hook_number: 2, priority: "filter", priority_number: 0 }),
        rules: &[
            Rule { says: "iifname @bridges goto forward_from_container", why: "a container sends" },
            Rule { says: "oifname @bridges goto forward_to_container", why: "a container gets" },
            strangers::FORWARD,
        ],
    },
    Chain {
        name: "forward_from_container",
        base: None,
        rules: &[
            Rule { says: "ct state established,related accept", why: "the flow was allowed when it began" },
            Rule { says: "iifname . oifname @within accept", why: "one network; --no-icc is the bridge's work" },
            // RFC 4861, RFC 2710 and RFC 3810: the kernel routes them, conntrack follows none of them, and policies let them pass on a link.
            Rule {
                says: "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
                       nd-neighbor-advert, nd-redirect, mld2-listener-report } drop",
                why: "neighbours and listeners of one link; no data leaves as such",
            },
            Rule { says: "iifname @internal drop", why: "an internal network reaches the host only" },
            Rule { says: "oifname @internal drop", why: "an internal network is reached by the host only" },
            Rule { says: "ct status dnat accept", why: "published ports are reachable from every network" },
            Rule { says: "oifname . meta nfproto @routed accept", why: "a routed network is reachable" },
            Rule { says: "oifname @bridges drop", why: "networks are isolated from each other" },
            Rule {
                says: "ct state invalid ip saddr @masquerade4 drop",
                why: "no flow, no masquerade: it would leave with its inner address",
            },
            Rule {
                says: "ct state invalid ip6 saddr @masquerade6 drop",
                why: "no flow, no masquerade: it would leave with its inner address",
            },
        ],
    },
    Chain {
        name: "forward_to_container",
        base: None,
        rules: &[
            Rule { says: "ct state established,related accept", why: "the flow was allowed when it began" },
            Rule { says: "oifname @internal drop", why: "an internal network is reached by the host only" },
            Rule { says: "ct status dnat accept", why: "a published port" },
            Rule { says: "oifname . meta nfproto @routed accept", why: "a routed network is reachable" },
            Rule { says: "drop", why: "neither published nor routed" },
        ],
    },
];
