//! What netd's switching on of forwarding must not open: routing between interfaces that are not ours. Never drops a stranger's packet
//! where the host forwarded before.
//!
//! The kernel asks the interface a packet came in by whether it forwards, so that one is looked up. A frame inside a stranger's bridge
//! comes by here too where br_netfilter is on; it has the same bridge on both sides and was never routed. The same interface twice on
//! anything but a bridge is routing.

use super::chain::{Chain, Rule};

pub(super) const FORWARD: Rule =
    Rule { says: "iifname . meta nfproto @switched_on goto forward_between_strangers", why: "forwarding is on here because of netd" };

pub(super) const CHAINS: [Chain; 1] = [Chain {
    name: "forward_between_strangers",
    base: None,
    rules: &[
        Rule { says: "meta iifkind \"bridge\" iifname . oifname @within accept", why: "a frame inside a bridge, seen by br_netfilter" },
        Rule { says: "drop", why: "the host did not route this before netd came" },
    ],
}];
