//! A published port reaches the container from wherever it should, over both families, and stops when it is withdrawn.

use lab::{HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6};
use netd_api::{addr::Family, publish::PortRange, view::PortState};

const HOSTS: [(&str, &str); 2] = [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)];

#[test]
fn a_published_port_reaches_the_container_and_stops_when_withdrawn() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    for (host, outside) in HOSTS {
        let answer = lab.outside().fetches((host, 8080)).expect_from(&a);
        assert_eq!(answer.seen.ip().to_string(), outside, "the container sees who asks");
    }
    a.withdraws("8080:80");
    for (host, _) in HOSTS {
        lab.outside().tries((host, 8080)).expect_refused();
    }
    assert!(lab.ports().is_empty());
    lab.ends_clean();
}

#[test]
fn a_published_udp_port_answers_from_the_address_that_was_asked() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens_udp(53);
    a.publishes("5353:53/udp");
    for (host, outside) in HOSTS {
        let answer = lab.outside().asks((host, 5353)).expect_from(&a);
        assert_eq!(answer.seen.ip().to_string(), outside);
        lab.here().asks((host, 5353)).expect_from(&a);
        // The same port of the other protocol is not published.
        lab.outside().tries((host, 5353)).expect_refused();
    }
    lab.here().asks("127.0.0.1:5353").expect_from(&a);
    a.withdraws("5353:53/udp");
    for (host, _) in HOSTS {
        lab.outside().tries_to_ask((host, 5353)).expect_refused();
    }
    lab.ends_clean();
}

#[test]
fn the_host_reaches_a_published_port_by_each_of_its_addresses_and_by_loopback() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    for host in [HOST_V4, HOST_V6, "127.0.0.1", "127.9.9.9"] {
        lab.here().fetches((host, 8080)).expect_from(&a);
    }
    for family in Family::BOTH {
        lab.here().fetches((net.gateway(family), 8080)).expect_from(&a);
    }
    // IPv6 has no route_localnet: refused at once, never a hang.
    lab.here().tries("[::1]:8080").expect_refused();
    lab.ends_clean();
}

#[test]
fn an_address_that_the_host_gets_later_serves_published_ports_too() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    lab.here().takes_address("192.0.2.77/24", lab::UPLINK).takes_address("2001:db8::77/64", lab::UPLINK);
    lab.outside().fetches("192.0.2.77:8080").expect_from(&a);
    lab.outside().fetches("[2001:db8::77]:8080").expect_from(&a);
    lab.ends_clean();
}

#[test]
fn a_range_of_ports_reaches_the_same_range() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80).listens(84).listens(89);
    let ports = a.publishes("8000-8009:80-89");
    assert_eq!(ports.iter().map(|port| port.host.count()).sum::<u32>(), 10);
    for (host, _) in HOSTS {
        for offset in [0, 4, 9] {
            let answer = lab.outside().fetches((host, 8000 + offset)).expect_from(&a);
            assert_ne!(answer.seen.port(), 0);
        }
        lab.outside().tries((host, 8001)).expect_refused();
    }
    a.withdraws("8000-8009:80-89");
    lab.outside().tries((HOST_V4, 8000)).expect_refused();
    lab.ends_clean();
}

#[test]
fn a_free_host_port_is_chosen_the_same_for_both_families() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    let first = a.publishes("80");
    let second = a.publishes("0:80");
    let port = first[0].host.first;
    assert_eq!(first[0].target, PortRange::one(80));
    assert_ne!(port, second[0].host.first);
    for (host, _) in HOSTS {
        lab.outside().fetches((host, port)).expect_from(&a);
        lab.outside().fetches((host, second[0].host.first)).expect_from(&a);
    }
    lab.ends_clean();
}

#[test]
fn a_port_of_one_host_address_is_not_on_the_others() {
    let lab = Lab::new();
    lab.here().takes_address("192.0.2.11/24", lab::UPLINK).takes_address("2001:db8::11/64", lab::UPLINK);
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b").listens(80));
    a.publishes("192.0.2.1:8080:80");
    b.publishes("192.0.2.11:8080:80");
    a.publishes("[2001:db8::1]:8080:80");
    b.publishes("[2001:db8::11]:8080:80");
    for (address, container) in [("192.0.2.1", &a), ("192.0.2.11", &b), ("2001:db8::1", &a), ("2001:db8::11", &b)] {
        lab.outside().fetches((address, 8080)).expect_from(container);
    }
    a.withdraws("192.0.2.1:8080:80");
    lab.outside().tries("192.0.2.1:8080").expect_refused();
    lab.outside().fetches("192.0.2.11:8080").expect_from(&b);
    lab.here().tries("127.0.0.1:8080").expect_refused();
    lab.ends_clean();
}

#[test]
fn one_port_on_two_loopback_addresses_reaches_two_containers() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b").listens(80));
    a.publishes("127.0.0.1:8080:80");
    b.publishes("127.0.0.2:8080:80");
    lab.here().fetches("127.0.0.1:8080").expect_from(&a);
    lab.here().fetches("127.0.0.2:8080").expect_from(&b);
    lab.ends_clean();
}

#[test]
fn chosen_ports_on_all_addresses_and_on_one_do_not_clash() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80).listens(81);
    let all = a.publishes("80")[0].host.first;
    let one = a.publishes("127.0.0.1:0:81")[0].host.first;
    assert_ne!(all, one);
    lab.here().fetches(("127.0.0.1", all)).expect_from(&a);
    lab.here().fetches(("127.0.0.1", one)).expect_from(&a);
    lab.outside().fetches((HOST_V4, all)).expect_from(&a);
    lab.outside().tries((HOST_V4, one)).expect_refused();
    lab.ends_clean();
}

#[test]
fn a_port_of_a_container_of_one_family_is_refused_on_the_other() {
    let lab = Lab::new();
    let a = lab.new_network("four").made().container("a").listens(80);
    let b = lab.new_network("six").subnet("fd00:6::/64").made();
    assert!(b.inspect().subnets.iter().any(|subnet| subnet.subnet.family() == Family::V6));
    a.publishes("8080:80");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.outside().tries((HOST_V6, 8080)).expect_refused();
    lab.ends_clean();
}

#[test]
fn ports_given_at_creation_are_published_and_removal_takes_them_along() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).publish("8080:80").publish("5353:53/udp").made().listens(80).listens_udp(53);
    let ports = lab.ports();
    assert_eq!(ports.len(), 2, "all of them are told: {ports:?}");
    assert!(ports.iter().all(|port| port.state == PortState::Active && port.targets.len() == 2), "{ports:?}");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.outside().asks((HOST_V6, 5353)).expect_from(&a);
    a.removed();
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    let b = lab.new_container("b").on(&net).publish("8080:80").made().listens(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&b);
    lab.ends_clean();
}

#[test]
fn the_next_network_takes_over_a_port_when_the_first_is_left() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let a = lab.new_container("a").on(&one).on(&two).publish("8080:80").made().listens(80);
    for (host, _) in HOSTS {
        lab.outside().fetches((host, 8080)).expect_from(&a);
    }
    a.disconnects(&one);
    assert_eq!(lab.ports()[0].targets[0], a.address_on(&two, Family::V4));
    for (host, _) in HOSTS {
        lab.outside().fetches((host, 8080)).expect_from(&a);
    }
    lab.ends_clean();
}

#[test]
fn publishing_and_withdrawing_does_not_disturb_what_flows_elsewhere() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    let b = net.container("b").listens(80);
    a.publishes("8080:80");
    let (four, six) = (lab.outside().streams((HOST_V4, 8080)), lab.outside().streams((HOST_V6, 8080)));
    for round in 0..10 {
        let spec = format!("{}:80", 9000 + round);
        b.publishes(&spec);
        lab.outside().fetches((HOST_V4, 9000 + round)).expect_from(&b);
        b.withdraws(&spec);
    }
    four.expect_flowing();
    six.expect_flowing();
    drop((four, six));
    lab.ends_clean();
}
