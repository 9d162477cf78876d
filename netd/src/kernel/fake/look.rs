//! What of the objects is shown to who looks at some of them only.

use netd_api::{addr::Family, names::IfName};
use netd_core::{
    firewall::{Element, element::Publish},
    objects::{Ns, Objects},
};

pub(super) fn at(objects: &Objects, keys: &Objects) -> Objects {
    let keep = |ns: &Ns, link: &IfName| {
        keys.addresses.iter().any(|key| key.ns == *ns && key.link == *link)
            || keys.routes.iter().any(|key| key.ns == *ns && key.link == *link)
    };
    Objects {
        netns: objects.netns.iter().filter(|(path, _)| keys.netns.contains_key(*path)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        bridges: objects.bridges.iter().filter(|(name, _)| keys.bridges.contains_key(*name)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        veths: objects.veths.iter().filter(|(name, _)| keys.veths.contains_key(*name)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ifbs: objects.ifbs.iter().filter(|(name, _)| keys.ifbs.contains_key(*name)).map(|(k, v)| (k.clone(), *v)).collect(),
        addresses: objects.addresses.iter().filter(|address| keep(&address.ns, &address.link)).cloned().collect(),
        routes: objects.routes.iter().filter(|route| keep(&route.ns, &route.link)).cloned().collect(),
        sysctls: objects.sysctls.iter().filter(|(key, _)| keys.sysctls.contains_key(*key)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        table: objects.table,
        elements: objects.elements.iter().filter(|element| keys.elements.iter().any(|key| same_place(key, element))).cloned().collect(),
        filters: objects.filters,
        reservations: objects.reservations.intersection(&keys.reservations).copied().collect(),
        left_slots: objects.left_slots.intersection(&keys.left_slots).copied().collect(),
    }
}

/// Whether two elements cannot both be: the same, or two targets of one published port.
pub(super) fn same_place(one: &Element, other: &Element) -> bool {
    let place = |publish: &Publish| (publish.address, publish.protocol, publish.port, Family::of(publish.target));
    match (one, other) {
        (Element::Publish(one), Element::Publish(other)) => place(one) == place(other),
        _ => one == other,
    }
}
