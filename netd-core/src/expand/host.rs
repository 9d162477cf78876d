//! What the host itself must have for its networks: the table, the programs, and forwarding on the uplinks, given back when it is no longer needed.

use std::collections::BTreeMap;

use netd_api::addr::Family;

use super::filters;
use crate::{
    desired::{Change, Desired, Edit},
    firewall::Element,
    host::Host,
    objects::{Ns, Objects, Sysctl, Table},
};

/// IPv6 forwarding of the whole host, for kernels without `force_forwarding`.
const FORWARD_V6: &str = "net/ipv6/conf/all/forwarding";

pub(super) fn expand(objects: &mut Objects, desired: &Desired, host: &Host) {
    if !desired.networks().is_empty() {
        objects.table = Table::Current;
        objects.filters = filters(host);
    }
    let wanted = wanted_sysctls(desired, host);
    for (sysctl, original) in desired.originals() {
        if !wanted.contains_key(sysctl) && host.features.sysctls {
            objects.sysctls.insert(sysctl.clone(), original.clone());
        }
    }
    for uplink in host.uplinks.keys() {
        for (family, key) in [(Family::V4, v4(uplink)), (Family::V6, v6(uplink, host))] {
            let sysctl = Sysctl { ns: Ns::Host, key };
            let was_off = desired.originals().get(&sysctl).is_some_and(|original| original == "0");
            if was_off && wanted.contains_key(&sysctl) {
                objects.elements.extend([Element::SwitchedOn(uplink.clone(), family), Element::Within(uplink.clone())]);
            }
        }
    }
    objects.sysctls.extend(wanted);
}

/// What forwarding between the uplinks and networks with a way out needs. These are the host's own sysctls: what they were is remembered.
fn wanted_sysctls(desired: &Desired, host: &Host) -> BTreeMap<Sysctl, String> {
    let mut wanted = BTreeMap::new();
    if !host.features.sysctls {
        return wanted;
    }
    let needs = |family| desired.networks().values().any(|network| !network.internal && network.pool(family).is_some());
    let mut set = |key: String, value: &str| wanted.insert(Sysctl { ns: Ns::Host, key }, value.to_owned());
    if needs(Family::V4) {
        for uplink in host.uplinks.keys() {
            set(v4(uplink), "1");
        }
    }
    if needs(Family::V6) && host.features.ipv6 {
        for (name, uplink) in &host.uplinks {
            if uplink.lives_from_ra {
                // Before forwarding: a router does not listen to routers unless told to (ip-sysctl.rst, accept_ra).
                set(format!("net/ipv6/conf/{name}/accept_ra"), "2");
            }
            // A host that forwards anyway needs nothing switched on, and its strangers stay as they are.
            if !(host.features.force_forwarding && host.forwards_v6) {
                set(v6(name, host), "1");
            }
        }
        if !host.features.force_forwarding {
            set(FORWARD_V6.to_owned(), "1");
        }
    }
    wanted
}

fn v4(uplink: &netd_api::names::IfName) -> String {
    format!("net/ipv4/conf/{uplink}/forwarding")
}

fn v6(uplink: &netd_api::names::IfName, host: &Host) -> String {
    if host.features.force_forwarding { format!("net/ipv6/conf/{uplink}/force_forwarding") } else { FORWARD_V6.to_owned() }
}

/// What need not be remembered any longer, once it has been given back.
pub fn given_back(desired: &Desired, host: &Host) -> Change {
    let wanted = wanted_sysctls(desired, host);
    let back = desired.originals().iter().filter(|(sysctl, _)| !wanted.contains_key(*sysctl));
    Change {
        edits: back.map(|(sysctl, value)| Edit::Original { sysctl: sysctl.clone(), before: Some(value.clone()), after: None }).collect(),
    }
}

/// Whether a sysctl is the host's own, so that its value before ours must be remembered: not one of an interface that goes with us.
pub fn is_hosts_own(sysctl: &Sysctl, objects: &Objects) -> bool {
    let ours = |name: &str| objects.bridges.contains_key(name) || objects.veths.contains_key(name) || objects.ifbs.contains_key(name);
    sysctl.ns == Ns::Host && !sysctl.key.split('/').nth(3).is_some_and(ours)
}
