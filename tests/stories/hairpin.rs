//! Containers reach published ports through the host: their own, their neighbour's, and those of other networks, with br_netfilter on and off.

use lab::{Container, HOST_V4, HOST_V6, Lab, Network};
use netd_api::addr::Family;

/// A host whose bridges hand their packets to the firewall, or do not.
fn lab_with_bridge_filter(value: &str) -> Lab {
    let lab = Lab::bare();
    lab.bridge_filter(value);
    lab.starts();
    lab
}

fn server<'lab>(net: &Network<'lab>, name: &str, tcp: &str, udp: &str) -> Container<'lab> {
    let container = net.container(name).listens(80).listens_udp(53);
    container.publishes(tcp);
    container.publishes(udp);
    container
}

#[test]
fn a_container_reaches_its_own_and_its_neighbours_published_port() {
    for filtered in ["0", "1"] {
        let lab = lab_with_bridge_filter(filtered);
        let net = lab.network("web");
        let a = server(&net, "a", "8080:80", "5353:53/udp");
        let b = net.container("b");
        for (host, family) in [(HOST_V4, Family::V4), (HOST_V6, Family::V6)] {
            for client in [&a, &b] {
                client.fetches((host, 8080)).expect_from(&a);
                client.asks((host, 5353)).expect_from(&a);
                client.fetches((net.gateway(family), 8080)).expect_from(&a);
                client.asks((net.gateway(family), 5353)).expect_from(&a);
            }
        }
        lab.ends_clean();
    }
}

#[test]
fn a_container_reaches_the_published_port_of_another_network_through_the_host() {
    for filtered in ["0", "1"] {
        let lab = lab_with_bridge_filter(filtered);
        let (one, two) = (lab.network("one"), lab.network("two"));
        let a = server(&one, "a", "8080:80", "5353:53/udp");
        let b = two.container("b");
        for (host, family) in [(HOST_V4, Family::V4), (HOST_V6, Family::V6)] {
            for address in [host.parse().unwrap(), two.gateway(family), one.gateway(family)] {
                b.fetches((address, 8080)).expect_from(&a);
                b.asks((address, 5353)).expect_from(&a);
            }
            b.tries((a.address(family), 80)).expect_nothing();
        }
        lab.ends_clean();
    }
}

#[test]
fn ports_of_a_network_without_icc_are_reached_through_the_host() {
    for filtered in ["0", "1"] {
        let lab = lab_with_bridge_filter(filtered);
        let net = lab.new_network("cells").dual().no_icc().made();
        let a = server(&net, "a", "8080:80", "5353:53/udp");
        for host in [HOST_V4, HOST_V6] {
            lab.outside().fetches((host, 8080)).expect_from(&a);
            // With br_netfilter the packet is translated inside the bridge, which lets no isolated port talk to itself.
            if filtered == "0" {
                a.fetches((host, 8080)).expect_from(&a);
            }
        }
        lab.ends_clean();
    }
}
