//! Uplinks are followed as they come and go; the host's own routing, and that of strangers, is as it was.

use std::net::SocketAddr;

use lab::{HOST_V4, Lab, OUTSIDE_LINK, OUTSIDE_V4, UPLINK, eventually, packet::Frame};

#[test]
fn the_host_does_not_begin_to_route_for_strangers() {
    let lab = Lab::new();
    lab.network("web").container("a");
    let neighbour = lab.neighbour();
    neighbour.serves(80);
    lab.outside().routes("198.51.100.0/24", HOST_V4);
    lab.here().fetches("198.51.100.2:80").expect_from(&neighbour);
    eventually("the new uplink is known", || lab.status().uplinks.iter().any(|uplink| uplink.as_str() == "vpn0").then_some(()));
    lab.outside().tries("198.51.100.2:80").expect_nothing();
    lab.neighbour_leaves();
    lab.ends_clean();
}

#[test]
fn what_the_host_routes_already_it_routes_on() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/ip_forward", "1");
    let neighbour = lab.neighbour();
    neighbour.serves(80);
    lab.outside().routes("198.51.100.0/24", HOST_V4);
    lab.outside().fetches("198.51.100.2:80").expect_from(&neighbour);
    lab.starts();
    let stream = lab.outside().streams("198.51.100.2:80");
    lab.network("web").container("a");
    lab.outside().fetches("198.51.100.2:80").expect_from(&neighbour);
    stream.expect_flowing();
    drop(stream);
    lab.ends_clean();
}

#[test]
fn a_new_uplink_is_a_way_out_and_a_way_in() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    let neighbour = lab.neighbour();
    neighbour.serves(90);
    eventually("the new uplink is a way out", || a.tries("198.51.100.2:90").answer());
    assert_eq!(a.fetches("198.51.100.2:90").expect_from(&neighbour).seen.ip().to_string(), "198.51.100.1");
    neighbour.fetches("198.51.100.1:8080").expect_from(&a);
    lab.neighbour_leaves();
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.ends_clean();
}

#[test]
fn an_uplink_that_lives_from_router_advertisements_goes_on_hearing_them() {
    let lab = Lab::bare();
    lab.here().run("ip", &["-6", "route", "del", "default"]);
    let wire = lab.outside().wire(OUTSIDE_LINK);
    let router = lab.outside().link_local(OUTSIDE_LINK, lab.outside(), 0);
    let everybody: SocketAddr = "[ff02::1]:0".parse().unwrap();
    let advertisement = Frame { from_mac: lab.outside().mac(OUTSIDE_LINK), to_mac: [0x33, 0x33, 0, 0, 0, 1], from: router, to: everybody };
    let heard = || lab.here().run("ip", &["-6", "route", "show", "default"]).contains("proto ra");
    let advertised = |when: &str| {
        eventually(when, || {
            wire.send(&advertisement.router_advertisement());
            heard().then_some(())
        });
    };
    advertised("an advertisement is heard without netd");
    lab.starts();
    let a = lab.network("web").container("a");
    lab.outside().serves(90);
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    assert!(heard(), "the default route was lost when forwarding was switched on");
    lab.here().run("ip", &["-6", "route", "del", "default"]);
    advertised("an advertisement is heard with netd");
    assert_eq!(lab.here().sysctl(&format!("ipv6/conf/{UPLINK}/accept_ra")).as_deref(), Some("2"));
    lab.ends_clean();
}
