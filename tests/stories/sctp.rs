//! SCTP ports: the packets that begin an association are led to the container, with or without SCTP sockets on this kernel.

use std::net::SocketAddr;

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_LINK, OUTSIDE_V4, OUTSIDE_V6, UPLINK,
    packet::{Frame, Seen},
};
use netd_api::addr::Family;

#[test]
fn an_sctp_init_is_led_to_the_container() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    let ports = a.publishes("9000:90/sctp");
    assert_eq!(ports.len(), 1);
    let (lan, inside) = (lab.outside().wire(OUTSIDE_LINK), a.wire("eth0"));
    for (host, outside, family) in [(HOST_V4, OUTSIDE_V4, Family::V4), (HOST_V6, OUTSIDE_V6, Family::V6)] {
        let at = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port);
        let frame = Frame {
            from_mac: lab.outside().mac(OUTSIDE_LINK),
            to_mac: lab.here().mac(UPLINK),
            from: at(outside, 4444),
            to: at(host, 9000),
        };
        lan.send(&frame.sctp_init());
        let (from, to) = inside.expect("the INIT", |seen| match seen {
            Seen::Ip(from, to, 132, _) if seen.ports() == Some((4444, 90)) => Some((*from, *to)),
            _ => None,
        });
        assert_eq!((from.to_string().as_str(), to), (outside, a.address(family)));
    }
    a.withdraws("9000:90/sctp");
    lab.ends_clean();
}
