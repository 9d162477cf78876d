//! Loopback stays loopback: nobody but the host reaches its loopback services and the ports published there.

use std::net::SocketAddr;

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_LINK, OUTSIDE_V4, UPLINK,
    packet::{Frame, Seen},
};
use netd_api::{addr::Family, fault::Code};

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// A SYN or an answer to it at this port.
fn from_port(port: u16) -> impl Fn(&Seen) -> Option<Seen> {
    move |seen| seen.ports().filter(|ports| ports.0 == port || ports.1 == port).map(|_| seen.clone())
}

#[test]
fn a_port_published_on_loopback_is_reached_by_the_host_alone() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    let b = net.container("b");
    a.publishes("127.0.0.1:8080:80");
    lab.here().fetches("127.0.0.1:8080").expect_from(&a);
    for host in [HOST_V4, HOST_V6] {
        lab.outside().tries((host, 8080)).expect_refused();
        b.tries((host, 8080)).expect_refused();
    }
    // Somebody on the LAN who sends to 127.0.0.1 by hand.
    let (lan, inside) = (lab.outside().wire(OUTSIDE_LINK), a.wire("eth0"));
    let frame = Frame {
        from_mac: lab.outside().mac(OUTSIDE_LINK),
        to_mac: lab.here().mac(UPLINK),
        from: at(OUTSIDE_V4, 4444),
        to: at("127.0.0.1", 8080),
    };
    lan.send(&frame.syn());
    inside.expect_none("a packet for a loopback port", from_port(4444));
    lan.expect_none("an answer from a loopback port", |seen| match seen {
        Seen::Ip(from, ..) if from.is_loopback() => Some(seen.clone()),
        _ => None,
    });
    lab.ends_clean();
}

#[test]
fn no_container_reaches_a_loopback_service_of_the_host() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    lab.here().serves_at("127.0.0.1:9000").serves_udp_at("127.0.0.1:9001");
    lab.here().fetches("127.0.0.1:9000").expect_from(lab.here());
    let wire = a.wire("eth0");
    let mut frame = Frame {
        from_mac: a.mac("eth0"),
        to_mac: lab.here().mac(&net.bridge()),
        from: SocketAddr::new(a.address(Family::V4), 4444),
        to: at("127.0.0.1", 9000),
    };
    wire.send(&frame.syn());
    frame.to.set_port(9001);
    wire.send(&frame.udp(b"hello"));
    // Nor with a forged source, which would be answered to loopback.
    frame.from = at("127.0.0.1", 4445);
    wire.send(&frame.udp(b"hello"));
    wire.expect_none("an answer from the host's loopback", |seen| match seen {
        Seen::Ip(from, ..) if from.is_loopback() => seen.ports().filter(|ports| ports.0 != 4445),
        _ => None,
    });
    a.tries((net.gateway(Family::V4), 9000)).expect_refused();
    lab.ends_clean();
}

#[test]
fn a_port_on_the_ipv6_loopback_is_refused_with_the_reason() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    let fault = a.cannot_publish("[::1]:8080:80");
    assert_eq!(fault.code, Code::Impossible);
    assert!(fault.what.contains("::1") && !fault.hint.is_empty(), "{fault:?}");
    lab.ends_clean();
}
