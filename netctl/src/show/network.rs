//! Networks as rows and as pages. Never says more of a network than the daemon does.

use netd_api::{
    addr::Family,
    spec::Driver,
    view::{NetworkView, SubnetView},
};

use super::{
    joined, labels,
    table::{Paint, facts, table},
};

pub(super) fn rows(networks: &[NetworkView], paint: Paint) -> String {
    let row = |network: &NetworkView| {
        [
            network.name.to_string().into(),
            driver(network.driver).into(),
            joined(network.subnets.iter().map(|subnet| subnet.subnet)).into(),
            reach(network).into(),
            network.containers.len().to_string().into(),
            network.bridge.to_string().into(),
        ]
    };
    table(["NAME", "DRIVER", "SUBNETS", "REACH", "ATTACHED", "BRIDGE"], networks.iter().map(row), paint)
}

pub(super) fn page(network: &NetworkView, paint: Paint) -> String {
    let facts = facts(
        [
            ("Name", network.name.to_string().into()),
            ("Driver", driver(network.driver).into()),
            ("Bridge", network.bridge.to_string().into()),
            ("MTU", network.mtu.to_string().into()),
            ("Reach", reach(network).into()),
            ("Among its containers", if network.icc { "allowed" } else { "forbidden" }.into()),
            ("Labels", labels(&network.labels).into()),
        ],
        paint,
    );
    let subnet = |subnet: &SubnetView| {
        [
            subnet.subnet.to_string().into(),
            subnet.gateway.map_or("-".to_owned(), |gateway| gateway.to_string()).into(),
            subnet.ip_range.to_string().into(),
            subnet.used.to_string().into(),
            free(subnet.free).into(),
            joined(&subnet.excludes).into(),
        ]
    };
    let subnets = table(["SUBNET", "GATEWAY", "RANGE", "USED", "FREE", "EXCLUDED"], network.subnets.iter().map(subnet), paint);
    if network.containers.is_empty() {
        return format!("{facts}\n{subnets}\nno container is attached\n");
    }
    let members = network.containers.iter().map(|member| {
        [
            member.container.to_string().into(),
            member.ifname.to_string().into(),
            joined(&member.addresses).into(),
            member.mac.to_string().into(),
        ]
    });
    let members = table(["CONTAINER", "INTERFACE", "ADDRESSES", "MAC"], members, paint);
    format!("{facts}\n{subnets}\n{members}")
}

fn driver(driver: Driver) -> &'static str {
    match driver {
        Driver::Bridge => "bridge",
    }
}

/// How its packets get out and others in, in one word where both families agree.
fn reach(network: &NetworkView) -> String {
    if network.internal {
        return "internal".to_owned();
    }
    let way = |family: Family| match (network.routed.contains(&family), network.masquerade) {
        (true, _) => "routed",
        (false, true) => "masqueraded",
        (false, false) => "unmasqueraded",
    };
    let has = |family: Family| network.subnets.iter().any(|subnet| subnet.subnet.family() == family);
    match (has(Family::V4), has(Family::V6)) {
        (true, true) if way(Family::V4) != way(Family::V6) => format!("{} v4, {} v6", way(Family::V4), way(Family::V6)),
        (false, true) => way(Family::V6).to_owned(),
        _ => way(Family::V4).to_owned(),
    }
}

/// The daemon counts to 2^64 - 1.
fn free(free: u64) -> String {
    if free == u64::MAX { "2^64 and more".to_owned() } else { free.to_string() }
}
