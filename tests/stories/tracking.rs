//! What conntrack remembers never outlives what is published: clients that keep their port follow at once, and flowing connections are cut.

use lab::{Container, HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6, eventually};
use netd_api::addr::Family;

const HOSTS: [&str; 2] = [HOST_V4, HOST_V6];

#[test]
fn a_udp_client_that_keeps_its_port_follows_the_published_port() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens_udp(53), net.container("b").listens_udp(53));
    for host in HOSTS {
        let client = lab.outside().asker((host, 5353));
        client.asks_briefly().expect_refused();
        a.publishes("5353:53/udp");
        client.comes_to(&a);
        a.withdraws("5353:53/udp");
        client.comes_to_nobody();
        b.publishes("5353:53/udp");
        client.comes_to(&b);
        b.withdraws("5353:53/udp");
    }
    lab.ends_clean();
}

#[test]
fn a_udp_client_on_the_host_follows_the_published_port_too() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens_udp(53), net.container("b").listens_udp(53));
    for host in ["127.0.0.1", HOST_V4, HOST_V6] {
        let client = lab.here().asker((host, 5353));
        client.asks_briefly().expect_refused();
        a.publishes("5353:53/udp");
        client.comes_to(&a);
        a.withdraws("5353:53/udp");
        b.publishes("5353:53/udp");
        client.comes_to(&b);
        b.withdraws("5353:53/udp");
    }
    lab.ends_clean();
}

#[test]
fn the_entries_of_the_host_port_are_flushed_and_no_others() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens_udp(53);
    // Two host ports to one container port: what is flushed goes by the host's port.
    a.publishes("5353:53/udp");
    a.publishes("5354:53/udp");
    let (kept, cut) = (lab.outside().asker((HOST_V4, 5353)), lab.outside().asker((HOST_V4, 5354)));
    kept.comes_to(&a);
    cut.comes_to(&a);
    a.withdraws("5354:53/udp");
    eventually("the entries of 5354 are gone", || (!lab.conntrack().contains("dport=5354")).then_some(()));
    assert!(lab.conntrack().contains("dport=5353"), "{}", lab.conntrack());
    kept.comes_to(&a);
    lab.ends_clean();
}

#[test]
fn a_flowing_connection_is_cut_when_its_port_is_withdrawn() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    for host in HOSTS {
        a.publishes("8080:80");
        let stream = lab.outside().streams((host, 8080));
        a.withdraws("8080:80");
        stream.expect_cut();
    }
    lab.ends_clean();
}

/// Deleting by an IPv6 address is what kernels do the wrong way round. Ended connections, as nothing makes their entries again.
#[test]
fn with_a_container_its_own_connections_are_forgotten_and_nobody_elses() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let (gone, stays) = (one.container("gone").listens(80), two.container("stays").listens(80));
    gone.publishes("8080:80");
    stays.publishes("9090:80");
    lab.outside().serves(90);
    let tracked = |words: &[&str]| lab.conntrack().lines().any(|line| words.iter().all(|word| line.contains(word)));
    let of = |container: &Container<'_>, family| format!("={} ", container.address(family));
    let addresses = Family::BOTH.map(|family| (of(&gone, family), of(&stays, family)));
    for ((host, outside), own) in HOSTS.into_iter().zip([OUTSIDE_V4, OUTSIDE_V6]).zip([gone.v4(80), gone.v6(80)]) {
        for (container, port) in [(&gone, 8080), (&stays, 9090)] {
            container.fetches((outside, 90)).expect_from(lab.outside());
            lab.outside().fetches((host, port)).expect_from(container);
        }
        // By its own port to itself: both ends are its address.
        gone.fetches((host, 8080)).expect_from(&gone);
        lab.here().fetches(own).expect_from(&gone);
    }
    gone.removed();
    for (gone, stays) in &addresses {
        eventually("its connections are forgotten", || (!tracked(&[gone])).then_some(()));
        for port in ["dport=90 ", "dport=9090 "] {
            assert!(tracked(&[stays, port]), "{stays} {port}: {}", lab.conntrack());
        }
    }
    lab.ends_clean();
}

#[test]
fn a_container_with_the_address_of_a_removed_one_gets_none_of_its_traffic() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.9.0.0/24").made();
    lab.outside().serves_udp(53);
    let peer = net.container("peer").listens_udp(53);
    let old = lab.new_container("a").on(&net).address("10.9.0.50").made();
    old.asks((lab::OUTSIDE_V4, 53)).expect_from(lab.outside());
    old.asks(peer.v4(53)).expect_from(&peer);
    old.removed();
    eventually("the removed container is forgotten", || (!lab.conntrack().contains("10.9.0.50")).then_some(()));
    lab.ends_clean();
}
