//! A network is a segment of its own: members talk, leave under the host's address, and have the addresses that were asked for.

use lab::{HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6, UPLINK, eventually};
use netd_api::{addr::Family, fault::Code};

#[test]
fn members_of_a_network_talk_over_both_families() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80).listens_udp(53);
    let b = net.container("b");
    for (tcp, udp) in [(a.v4(80), a.v4(53)), (a.v6(80), a.v6(53))] {
        let answer = b.fetches(tcp).expect_from(&a);
        assert_eq!(answer.seen.ip(), b.address(Family::of(tcp.ip())), "no NAT within a network");
        b.asks(udp).expect_from(&a);
        assert!(b.pings(tcp.ip()), "{tcp}");
    }
    lab.ends_clean();
}

#[test]
fn members_reach_each_other_by_link_local_addresses_unless_they_may_not_talk() {
    let lab = Lab::new();
    for (net, open) in [(lab.network("web"), true), (lab.new_network("cells").dual().no_icc().made(), false)] {
        let a = net.container(&format!("a-{net}")).listens(80);
        let b = net.container(&format!("b-{net}"));
        let to = a.link_local("eth0", &b, 80);
        if open {
            b.fetches(to).expect_from(&a);
        } else {
            b.tries(to).expect_nothing();
        }
    }
    lab.ends_clean();
}

#[test]
fn the_host_reaches_its_containers_and_they_reach_the_host() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80).listens_udp(53);
    lab.here().serves(7000);
    for family in Family::BOTH {
        let address = a.address(family);
        lab.here().fetches((address, 80)).expect_from(&a);
        lab.here().asks((address, 53)).expect_from(&a);
        assert!(lab.here().pings(address));
        a.fetches((net.gateway(family), 7000)).expect_from(lab.here());
    }
    lab.ends_clean();
}

#[test]
fn containers_reach_the_outside_under_the_hosts_address() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    lab.outside().serves(80).serves_udp(53);
    for (outside, host) in [(OUTSIDE_V4, HOST_V4), (OUTSIDE_V6, HOST_V6)] {
        let answer = a.fetches((outside, 80)).expect_from(lab.outside());
        assert_eq!(answer.seen.ip().to_string(), host);
        a.asks((outside, 53)).expect_from(lab.outside());
        assert!(a.pings(outside));
    }
    lab.ends_clean();
}

#[test]
fn a_network_of_one_family_has_nothing_of_the_other() {
    let lab = Lab::new();
    let four = lab.new_network("four").made();
    let a = four.container("a");
    assert_eq!(four.inspect().subnets.len(), 1);
    assert_eq!(a.sysctl("ipv6/conf/eth0/disable_ipv6").as_deref(), Some("1"), "no link-local address that a neighbour could poison");
    assert!(!a.run("ip", &["-6", "address", "show", "dev", "eth0"]).contains("inet6"));
    assert!(a.run("ip", &["address", "show", "dev", "lo"]).contains("::1/128"), "IPv6 on lo stays");
    let six = lab.new_network("six").subnet("fd00:6::/64").made();
    let b = six.container("b").listens(80);
    let c = six.container("c");
    assert_eq!(six.inspect().subnets.iter().filter(|subnet| subnet.subnet.family() == Family::V6).count(), 1);
    c.fetches(b.v6(80)).expect_from(&b);
    lab.ends_clean();
}

#[test]
fn a_chosen_subnet_overlaps_no_route_address_or_resolver_of_the_host() {
    let lab = Lab::new();
    let chosen = |name: &str| {
        let net = lab.network(name);
        let subnet = net.subnet(Family::V4).net();
        net.removed();
        subnet
    };
    let first = chosen("one");
    lab.here().routes(first, OUTSIDE_V4);
    let second = chosen("two");
    assert!(!first.contains(&second.addr()) && !second.contains(&first.addr()), "{second} overlaps the route {first}");
    let host_address = second.hosts().next().expect("a subnet has hosts");
    lab.here().takes_address(&format!("{host_address}/32"), UPLINK);
    let third = chosen("three");
    assert!(!third.contains(&host_address), "{third} covers the host's {host_address}");
    let resolver = third.hosts().next().expect("a subnet has hosts");
    lab.resolves_with(&resolver.to_string());
    let fourth = chosen("four");
    assert!(!fourth.contains(&resolver), "{fourth} covers the resolver {resolver}");
    lab.here().run("ip", &["route", "del", &first.to_string()]);
    lab.here().run("ip", &["address", "del", &format!("{host_address}/32"), "dev", UPLINK]);
    lab.ends_clean();
}

#[test]
fn addresses_come_from_the_range_leave_out_the_excluded_and_are_not_reused_at_once() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.9.0.0/24").gateway("10.9.0.254").range("10.9.0.8/29").exclude("10.9.0.9/32").made();
    assert_eq!(net.gateway(Family::V4).to_string(), "10.9.0.254");
    let mut given = Vec::new();
    for name in ["a", "b", "c"] {
        let container = net.container(name);
        given.push(container.address(Family::V4).to_string());
        container.removed();
    }
    let mut distinct = given.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "an address was reused at once: {given:?}");
    let all: Vec<String> = (0..7).map(|i| net.container(&format!("x{i}")).address(Family::V4).to_string()).collect();
    assert!(!all.contains(&"10.9.0.9".to_owned()), "{all:?}");
    assert!(all.iter().all(|address| (8..16).contains(&address.rsplit('.').next().unwrap().parse::<u8>().unwrap())), "{all:?}");
    let subnet = &net.inspect().subnets[0];
    assert_eq!((subnet.used, subnet.free), (7, 0));
    assert_eq!(lab.new_container("late").on(&net).refused().code, Code::Exhausted);
    lab.ends_clean();
}

#[test]
fn static_addresses_and_hardware_addresses_are_as_asked_for() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.9.0.0/24").subnet("fd00:9::/64").made();
    let a = lab.new_container("a").on(&net).address("10.9.0.77").address("fd00:9::77").mac("02:00:00:00:00:77").ifname("net0").made();
    let attachment = a.attachment(&net);
    assert_eq!(attachment.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.9.0.77/24", "fd00:9::77/64"]);
    assert_eq!(a.mac("net0"), [2, 0, 0, 0, 0, 0x77]);
    assert_eq!(a.links().len(), 2, "lo and net0");
    let clash = lab.new_container("b").on(&net).address("10.9.0.77").refused();
    assert_eq!(clash.code, Code::BadAddress);
    assert!(clash.what.contains('a'), "{clash}");
    assert_eq!(lab.new_container("c").on(&net).address("10.8.0.1").refused().code, Code::BadAddress);
    lab.ends_clean();
}

#[test]
fn point_to_point_subnets_work() {
    let lab = Lab::new();
    let net = lab.new_network("pair").subnet("10.9.9.0/31").subnet("fd00:9::/127").internal().made();
    let a = net.container("a").listens(80);
    let b = net.container("b");
    b.fetches(a.v4(80)).expect_from(&a);
    b.fetches(a.v6(80)).expect_from(&a);
    assert_eq!(lab.new_container("c").on(&net).refused().code, Code::Exhausted);
    lab.ends_clean();
}

#[test]
fn the_mtu_follows_the_uplink() {
    let lab = Lab::bare();
    lab.here().run("ip", &["link", "set", UPLINK, "mtu", "1400"]);
    lab.starts();
    let net = lab.network("web");
    let a = net.container("a");
    let mtus = || {
        let bridge = lab.here().link(&net.bridge());
        (bridge["mtu"].as_u64().unwrap(), a.link("eth0")["mtu"].as_u64().unwrap(), u64::from(net.inspect().mtu))
    };
    assert_eq!(mtus(), (1400, 1400, 1400));
    lab.here().run("ip", &["link", "set", UPLINK, "mtu", "1380"]);
    eventually("the MTU follows", || (mtus() == (1380, 1380, 1380)).then_some(()));
    lab.here().run("ip", &["link", "set", UPLINK, "mtu", "1500"]);
    let own = lab.new_network("own").mtu(1300).made();
    assert_eq!(own.container("b").link("eth0")["mtu"], 1300);
    lab.ends_clean();
}

#[test]
fn a_network_has_the_bridge_the_labels_and_the_options_it_was_given() {
    let lab = Lab::new();
    let net = lab.new_network("web").bridge("br-web").label("tier", "front").dual().made();
    let view = net.inspect();
    assert_eq!(view.bridge.as_str(), "br-web");
    assert_eq!(view.labels.len(), 1);
    assert!(lab.here().links().contains(&"br-web".to_owned()));
    let before = lab.here().mac("br-web");
    let a = net.container("a");
    let b = net.container("b");
    assert_eq!(lab.here().mac("br-web"), before, "the bridge's hardware address is pinned");
    assert_ne!(a.mac("eth0"), b.mac("eth0"));
    let members = net.inspect().containers;
    assert_eq!(members.len(), 2);
    let fault = net.cannot_be_removed();
    assert_eq!(fault.code, Code::InUse);
    assert!(fault.what.contains('a') && fault.what.contains('b'), "{fault}");
    a.removed();
    b.removed();
    assert_eq!(lab.here().mac("br-web"), before);
    net.removed();
    lab.ends_clean();
}

#[test]
fn prune_removes_networks_without_containers_and_no_others() {
    let lab = Lab::new();
    let used = lab.network("used");
    let _a = used.container("a");
    lab.network("unused");
    let pruned = lab.prunes();
    assert_eq!(pruned, ["unused"]);
    used.inspect();
    lab.ends_clean();
}

#[test]
fn an_address_given_to_another_container_reaches_it_at_once() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.9.0.0/24").subnet("fd00:9::/64").made();
    let peer = net.container("peer");
    for name in ["old", "new"] {
        let container = lab.new_container(name).on(&net).address("10.9.0.50").address("fd00:9::50").made().listens(80).listens_udp(53);
        peer.fetches("10.9.0.50:80").expect_from(&container);
        peer.fetches("[fd00:9::50]:80").expect_from(&container);
        peer.asks("10.9.0.50:53").expect_from(&container);
        lab.here().fetches("10.9.0.50:80").expect_from(&container);
        lab.here().fetches("[fd00:9::50]:80").expect_from(&container);
        container.removed();
    }
    lab.ends_clean();
}
