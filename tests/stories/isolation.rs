//! Who cannot reach whom: networks do not reach each other, internal ones have no way out, the outside reaches no container that is not published.

use lab::{Container, HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6, Station};
use netd_api::addr::Family;

/// Whether `from` reaches `to` in no way: TCP, UDP and ping.
#[track_caller]
fn cannot_reach(from: &Station, to: &Container<'_>, family: Family) {
    let address = to.address(family);
    from.tries((address, 80)).expect_nothing();
    from.tries_to_ask((address, 53)).expect_nothing();
    assert!(from.cannot_ping(address), "{from} pings {address}");
}

#[test]
fn networks_do_not_reach_each_other() {
    for filtered_bridge in ["0", "1"] {
        let lab = Lab::bare();
        lab.bridge_filter(filtered_bridge);
        lab.starts();
        let (one, two) = (lab.network("one"), lab.network("two"));
        let a = one.container("a").listens(80).listens_udp(53);
        let b = two.container("b").listens(80).listens_udp(53);
        for family in Family::BOTH {
            cannot_reach(&a, &b, family);
            cannot_reach(&b, &a, family);
        }
        lab.ends_clean();
    }
}

#[test]
fn the_outside_reaches_no_container_address() {
    let lab = Lab::new();
    let plain = lab.network("plain");
    let unmasked = lab.new_network("unmasked").dual().no_masquerade().made();
    for net in [&plain, &unmasked] {
        let a = net.container(&format!("in-{net}")).listens(80).listens_udp(53);
        lab.outside().routes(net.subnet(Family::V4), HOST_V4).routes(net.subnet(Family::V6), HOST_V6);
        for family in Family::BOTH {
            cannot_reach(lab.outside(), &a, family);
        }
        // Published, it is reached through the host address, but still not by its own.
        let host = if net.name() == plain.name() { 8080 } else { 8081 };
        a.publishes(&format!("{host}:80"));
        for address in [HOST_V4, HOST_V6] {
            lab.outside().fetches((address, host)).expect_from(&a);
        }
        for family in Family::BOTH {
            cannot_reach(lab.outside(), &a, family);
        }
    }
    // Without masquerade, the container is seen under its own address.
    lab.outside().serves(90);
    let b = unmasked.container("b");
    for (outside, family) in [(OUTSIDE_V4, Family::V4), (OUTSIDE_V6, Family::V6)] {
        assert_eq!(b.fetches((outside, 90)).expect_from(lab.outside()).seen.ip(), b.address(family));
    }
    lab.ends_clean();
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    let lab = Lab::new();
    let net = lab.new_network("vault").dual().internal().made();
    let other = lab.network("other");
    let a = net.container("a").listens(80).listens_udp(53);
    let b = net.container("b");
    let c = other.container("c").listens(80).listens_udp(53);
    lab.outside().serves(80).serves_udp(53);
    lab.here().serves(7000);
    for (family, outside, host) in [(Family::V4, OUTSIDE_V4, HOST_V4), (Family::V6, OUTSIDE_V6, HOST_V6)] {
        b.fetches((a.address(family), 80)).expect_from(&a);
        lab.here().fetches((a.address(family), 80)).expect_from(&a);
        a.fetches((net.gateway(family), 7000)).expect_from(lab.here());
        a.tries((outside, 80)).expect_nothing();
        a.tries_to_ask((outside, 53)).expect_nothing();
        assert!(a.cannot_ping(outside));
        cannot_reach(&a, &c, family);
        cannot_reach(&c, &a, family);
        lab.outside().routes(net.subnet(family), host);
        cannot_reach(lab.outside(), &a, family);
    }
    // Not even with a route that the container's root gives itself.
    a.routes("default", net.gateway(Family::V4)).routes("default", net.gateway(Family::V6));
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.tries((outside, 80)).expect_nothing();
        assert!(a.cannot_ping(outside));
    }
    lab.ends_clean();
}

#[test]
fn members_of_a_network_without_icc_reach_the_outside_but_not_each_other() {
    for filtered_bridge in ["0", "1"] {
        let lab = Lab::bare();
        lab.bridge_filter(filtered_bridge);
        lab.starts();
        let net = lab.new_network("cells").dual().no_icc().made();
        let a = net.container("a").listens(80).listens_udp(53);
        let b = net.container("b").listens(80).listens_udp(53);
        lab.outside().serves(90);
        for (family, outside) in [(Family::V4, OUTSIDE_V4), (Family::V6, OUTSIDE_V6)] {
            cannot_reach(&a, &b, family);
            cannot_reach(&b, &a, family);
            a.fetches((outside, 90)).expect_from(lab.outside());
            lab.here().fetches((a.address(family), 80)).expect_from(&a);
        }
        lab.ends_clean();
    }
}

#[test]
fn a_routed_network_is_reached_from_outside_by_its_own_addresses() {
    let lab = Lab::new();
    let net = lab.new_network("dmz").dual().routed().made();
    let a = net.container("a").listens(80).listens_udp(53);
    lab.outside().serves(90);
    for (family, outside, host) in [(Family::V4, OUTSIDE_V4, HOST_V4), (Family::V6, OUTSIDE_V6, HOST_V6)] {
        lab.outside().routes(net.subnet(family), host);
        let address = a.address(family);
        lab.outside().fetches((address, 80)).expect_from(&a);
        lab.outside().asks((address, 53)).expect_from(&a);
        assert!(lab.outside().pings(address));
        assert_eq!(a.fetches((outside, 90)).expect_from(lab.outside()).seen.ip(), address);
    }
    lab.ends_clean();
}

#[test]
fn a_network_can_be_routed_in_one_family_only() {
    let lab = Lab::new();
    let net = lab.new_network("mixed").dual().routed_in(Family::V6).made();
    let a = net.container("a").listens(80).listens_udp(53);
    lab.outside().serves(90).routes(net.subnet(Family::V4), HOST_V4).routes(net.subnet(Family::V6), HOST_V6);
    cannot_reach(lab.outside(), &a, Family::V4);
    lab.outside().fetches(a.v6(80)).expect_from(&a);
    assert_eq!(a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside()).seen.ip().to_string(), HOST_V4);
    assert_eq!(a.fetches((OUTSIDE_V6, 90)).expect_from(lab.outside()).seen.ip(), a.address(Family::V6));
    lab.ends_clean();
}

#[test]
fn a_routed_network_is_reachable_for_other_networks_as_for_the_outside_but_reaches_none_of_them() {
    let lab = Lab::new();
    let routed = lab.new_network("dmz").dual().routed().made();
    let plain = lab.network("plain");
    let vault = lab.new_network("vault").dual().internal().made();
    let a = routed.container("a").listens(80).listens_udp(53);
    let b = plain.container("b").listens(80).listens_udp(53);
    let c = vault.container("c").listens(80).listens_udp(53);
    for family in Family::BOTH {
        b.fetches((a.address(family), 80)).expect_from(&a);
        cannot_reach(&a, &b, family);
        cannot_reach(&a, &c, family);
        cannot_reach(&c, &a, family);
    }
    lab.ends_clean();
}
