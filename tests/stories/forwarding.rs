//! What netd switches on at the host is as little as containers need, keeps strangers apart in both families, and is given back.

use std::net::SocketAddr;

use lab::{HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6, Station, UPLINK, eventually, packet::Frame};
use netd_api::addr::Family;

/// What the forwarding of the host as a whole and of its uplink is.
fn forwarding(lab: &Lab) -> Vec<(String, Option<String>)> {
    let mut names = vec!["ipv4/ip_forward".to_owned(), "ipv6/conf/all/forwarding".to_owned()];
    for interface in ["all", "default", "lo", UPLINK] {
        for key in ["ipv4/conf/IF/forwarding", "ipv4/conf/IF/route_localnet", "ipv6/conf/IF/forwarding", "ipv6/conf/IF/force_forwarding"] {
            names.push(key.replace("IF", interface));
        }
    }
    names.into_iter().map(|name| (name.clone(), lab.here().sysctl(&name))).collect()
}

/// A station behind another interface, with both families, which the outside would reach through the host.
fn dual_stack_neighbour(lab: &Lab) -> Station {
    let neighbour = lab.neighbour();
    lab.here().takes_address("2001:db8:51::1/64", "vpn0");
    neighbour.takes_address("2001:db8:51::2/64", "eth0").routes("default", "2001:db8:51::1");
    neighbour.serves(80);
    lab.outside().routes("198.51.100.0/24", HOST_V4).routes("2001:db8:51::/64", HOST_V6);
    lab.here().fetches("198.51.100.2:80").expect_from(&neighbour);
    lab.here().fetches("[2001:db8:51::2]:80").expect_from(&neighbour);
    neighbour
}

#[test]
fn forwarding_is_given_back_with_the_last_network_and_over_a_restart() {
    let lab = Lab::new();
    let before = forwarding(&lab);
    for crash in [false, true] {
        let one = lab.network("one");
        let two = lab.network("two");
        lab.outside().serves(90);
        let a = two.container("a");
        let with = forwarding(&lab);
        assert_ne!(with, before);
        assert_eq!(with[0], before[0], "the host as a whole does not begin to forward");
        one.removed();
        assert_eq!(forwarding(&lab), with, "another network still needs it");
        if crash {
            lab.netd().crash();
        }
        for outside in [OUTSIDE_V4, OUTSIDE_V6] {
            a.fetches((outside, 90)).expect_from(lab.outside());
        }
        lab.outside().stops_serving();
        a.removed();
        two.removed();
        assert_eq!(forwarding(&lab), before, "what netd switched on it undoes");
    }
    lab.ends_clean();
}

#[test]
fn strangers_are_not_routed_through_a_host_that_did_not_forward_in_either_family() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    let neighbour = dual_stack_neighbour(&lab);
    eventually("the new uplink is known", || lab.status().uplinks.iter().any(|uplink| uplink.as_str() == "vpn0").then_some(()));
    // It is a way out for containers in both families, and no way for strangers.
    a.fetches("198.51.100.2:80").expect_from(&neighbour);
    a.fetches("[2001:db8:51::2]:80").expect_from(&neighbour);
    lab.outside().tries("198.51.100.2:80").expect_nothing();
    lab.outside().tries("[2001:db8:51::2]:80").expect_nothing();
    lab.neighbour_leaves();
    lab.ends_clean();
}

#[test]
fn strangers_are_routed_as_before_through_a_host_that_forwards_in_both_families() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/ip_forward", "1").sets("ipv6/conf/all/forwarding", "1");
    let neighbour = dual_stack_neighbour(&lab);
    for address in ["198.51.100.2:80", "[2001:db8:51::2]:80"] {
        lab.outside().fetches(address).expect_from(&neighbour);
    }
    lab.starts();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    for address in ["198.51.100.2:80", "[2001:db8:51::2]:80"] {
        lab.outside().fetches(address).expect_from(&neighbour);
    }
    lab.netd().stop();
    for address in ["198.51.100.2:80", "[2001:db8:51::2]:80"] {
        lab.outside().fetches(address).expect_from(&neighbour);
    }
    lab.netd().start();
    lab.ends_clean();
}

#[test]
fn icmp_errors_find_their_way_through_every_translation() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    a.publishes("8080:80");
    a.publishes("5353:53/udp");
    for (host, outside) in [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)] {
        // Nobody listens: from the outside to the masqueraded container, and from the container through its published port.
        a.tries_to_ask((outside, 99)).expect_refused();
        a.tries((outside, 99)).expect_refused();
        lab.outside().tries_to_ask((host, 5353)).expect_refused();
        lab.outside().tries((host, 8080)).expect_refused();
    }
    lab.ends_clean();
}

#[test]
fn a_container_that_calls_itself_a_router_changes_neither_host_nor_neighbour() {
    let lab = Lab::new();
    let net = lab.network("web");
    // Without the guard, which would drop it.
    let (a, b) = (lab.new_container("a").on(&net).unguarded().made(), net.container("b"));
    let from = a.link_local("eth0", &a, 0);
    let everybody: SocketAddr = "[ff02::1]:0".parse().unwrap();
    let advertisement = Frame { from_mac: a.mac("eth0"), to_mac: [0x33, 0x33, 0, 0, 0, 1], from, to: everybody };
    let routes = |station: &Station| station.run("ip", &["-6", "route", "show"]);
    let before = [routes(lab.here()), routes(&b)];
    let (wire, heard) = (a.wire("eth0"), b.wire("eth0"));
    wire.send(&advertisement.router_advertisement());
    heard.expect("the advertisement", |seen| match seen {
        lab::packet::Seen::Ip(from, _, 58, body) if *from == advertisement.from.ip() && body[0] == 134 => Some(()),
        _ => None,
    });
    assert_eq!([routes(lab.here()), routes(&b)], before, "an advertisement of a container was believed");
    for (station, interface) in [(lab.here(), net.bridge()), (&b, "eth0".to_owned())] {
        assert_eq!(station.sysctl(&format!("ipv6/conf/{interface}/accept_ra")).as_deref(), Some("0"));
    }
    assert!(b.pings(net.gateway(Family::V6)));
    lab.ends_clean();
}
