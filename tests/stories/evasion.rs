//! Ways around a policy or a guard that are none: each is tried, and what would have let it through is there.

use std::net::{IpAddr, SocketAddr};

use lab::{
    Container, HOST_V6, Lab, OUTSIDE_LINK, OUTSIDE_V6, UPLINK,
    network::parsed,
    packet::{Frame, odd::DESTINATION},
    policy::yaml::{annotated_policy, network_policy},
};
use netd_api::addr::Family;

const CLOSED: &str = "{podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress]}";

fn frame(from: &Container<'_>, to: &Container<'_>) -> Frame {
    let at = |container: &Container<'_>, port| SocketAddr::new(container.address(Family::V4), port);
    Frame { from_mac: from.mac("eth0"), to_mac: to.mac("eth0"), from: at(from, 4444), to: at(to, 53) }
}

/// What the kernel puts together for its connection tracking it cuts again, and of IPv6 it may forget by which interface the parts came: where a part has
/// no room for all headers before it.
#[test]
fn what_the_host_cuts_again_is_not_taken_for_the_hosts_own() {
    const LETTER: [u8; 1_200] = [b'n'; 1_200];
    const EXTENSION: usize = 200;
    let lab = Lab::new();
    let net = lab.network("web");
    let closed = lab.new_container("closed").on(&net).label("app", "closed").made();
    closed.publishes("5300:53/udp");
    let letters = closed.mailbox(53);
    let (from_mac, to_mac) = (lab.outside().mac(OUTSIDE_LINK), lab.here().mac(UPLINK));
    let sends = |port: u16, id: u32| {
        let frame = Frame { from_mac, to_mac, from: parsed(&format!("[{OUTSIDE_V6}]:{port}")), to: parsed(&format!("[{HOST_V6}]:5300")) };
        let datagram = &frame.udp(&LETTER)[14 + 40..];
        let part = |offset: usize, length: usize, more: bool| {
            let whole = frame.fragment(17, &datagram[offset..offset + length], offset, more, id);
            if offset > 0 {
                return whole;
            }
            // Before the first one's fragment header stands one of options for experiments (RFC 4727) that nobody knows and all pass over: every part of what
            // is cut again begins with it, and these have no room for it.
            let mut header = vec![44, (EXTENSION / 8 - 1) as u8];
            for _ in 0..2 {
                let length = (EXTENSION / 2 - 3) as u8;
                header.extend([&[0x1e, length][..], &[0; EXTENSION / 2 - 3]].concat());
            }
            header.resize(EXTENSION, 0);
            frame.of_protocol(DESTINATION, &[&header, &whole[14 + 40..]].concat())
        };
        let wire = lab.outside().wire(OUTSIDE_LINK);
        [part(0, 400, true), part(400, 400, true), part(800, datagram.len() - 800, false)].iter().for_each(|part| wire.send(part));
    };
    sends(4001, 1);
    letters.expect(&LETTER);
    lab.applies(&network_policy("default/closed", CLOSED));
    sends(4002, 2);
    lab::eventually("its first part is dropped", || (closed.counted(&net, "drop_policy") > 0).then_some(()));
    letters.expect_empty();
    lab.ends_clean();
}

/// Policies let neighbour discovery pass, as a link needs it; the kernel would route what says so, and a letter fits into it.
#[test]
fn no_letter_leaves_the_link_as_neighbour_discovery() {
    let lab = Lab::new();
    let net = lab.network("web");
    let caged = lab.new_container("caged").on(&net).label("app", "caged").made();
    lab.applies(&network_policy("default/caged", "{podSelector: {matchLabels: {app: caged}}, policyTypes: [Egress]}"));
    let out = lab.outside().wire(OUTSIDE_LINK);
    let own = SocketAddr::new(caged.address(Family::V6), 0);
    let octets = |address: IpAddr| if let IpAddr::V6(address) = address { address.octets() } else { unreachable!("an IPv6 address") };
    let gateway = lab.here().mac(&net.bridge());
    let leaving = Frame { from_mac: caged.mac("eth0"), to_mac: gateway, from: own, to: parsed(&format!("[{OUTSIDE_V6}]:0")) };
    let wire = caged.wire("eth0");
    for letter in [leaving.neighbour_solicitation(own.ip()), leaving.neighbour_advertisement(own.ip(), leaving.from_mac)] {
        wire.send(&letter);
    }
    out.expect_no_frame("a message of its link", |frame| (frame.get(22..38) == Some(&octets(own.ip()))).then(|| frame[54]));
    lab.ends_clean();
}

#[test]
fn who_is_on_two_networks_sends_by_no_hardware_address_but_its_own() {
    let lab = Lab::new();
    let (net, other) = (lab.network("web"), lab.network("other"));
    let (victim, server) = (net.container("victim"), net.container("server"));
    let both = lab.new_container("both").on(&net).on(&other).made();
    let sees = server.wire("eth0");
    let of_other = SocketAddr::new(both.address_on(&other, Family::V4), 4444);
    let good = Frame { from: of_other, ..frame(&both, &server) };
    both.wire("eth0").send(&good.udp(b"good"));
    sees.expect_frame("what it sends by its own", |seen| seen.ends_with(b"good").then_some(()));
    both.wire("eth0").send(&Frame { from_mac: victim.mac("eth0"), ..good }.udp(b"evil"));
    both.expect_counted(&net, "drop_source_mac", 1);
    sees.expect_no_frame("what it sends by another's", |seen| seen.ends_with(b"evil").then_some(()));
    lab.ends_clean();
}

#[test]
fn a_port_that_leads_to_somebody_else_is_judged_anew_for_those_who_used_it() {
    let lab = Lab::new();
    let net = lab.network("web");
    let server = |name: &str| lab.new_container(name).on(&net).label("app", name).made().listens_udp(53);
    let (one, two) = (server("one"), server("two"));
    let caged = lab.new_container("caged").on(&net).label("app", "caged").made();
    let to_one =
        "{podSelector: {matchLabels: {app: caged}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: one}}}]}]}";
    lab.applies(&network_policy("default/to-one", to_one));
    one.publishes("5300:53/udp");
    let askers = [lab::HOST_V4, HOST_V6].map(|host| caged.asker((host, 5300)));
    askers.iter().for_each(|asker| asker.comes_to("one"));
    one.withdraws("5300:53/udp");
    two.publishes("5300:53/udp");
    askers.iter().for_each(lab::ask::Asker::comes_to_nobody);
    two.withdraws("5300:53/udp");
    one.publishes("5300:53/udp");
    askers.iter().for_each(|asker| asker.comes_to("one"));
    lab.ends_clean();
}

#[test]
fn nobody_refuses_in_anothers_name_what_the_bridge_sends_to_all() {
    let lab = Lab::new();
    let net = lab.network("web");
    let refusing = lab.new_container("refusing").on(&net).label("app", "closed").made();
    let b = net.container("b");
    lab.applies(&annotated_policy("default/closed", "netd.io/reject", CLOSED));
    let (wire, meant) = (b.wire("eth0"), frame(&b, &refusing));
    // A hardware address that nobody has.
    let to_nobody = Frame { to_mac: [2, 0, 0, 0, 0, 0x99], ..meant };
    wire.send(&to_nobody.syn());
    refusing.expect_counted(&net, "reject_policy", 1);
    assert_eq!(refusing.counted(&net, "made_reset"), 0);
    wire.send(&meant.syn());
    refusing.expect_counted(&net, "reject_policy", 2);
    lab::eventually("what is meant for it is refused", || {
        (b.counted(&net, "made_reset") + refusing.counted(&net, "made_reset") > 0).then_some(())
    });
    lab.ends_clean();
}

/// What a tunnel of the host carries comes by no interface, as what the host says itself; but no socket of the host sent it.
#[test]
fn what_a_tunnel_of_the_host_carries_for_others_is_not_taken_for_the_hosts_own() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/ip_forward", "1");
    lab.starts();
    let net = lab.network("web");
    let closed = lab.new_container("closed").on(&net).label("app", "closed").made();
    let sees = closed.wire("eth0");
    let tunnel = ["link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4789", "remote"];
    lab.here().run("ip", &[&tunnel[..], &[&closed.address(Family::V4).to_string()]].concat());
    lab.here().run("ip", &["link", "set", "vx0", "up"]);
    lab.here().takes_address("198.51.100.1/24", "vx0");
    lab.here().run("ip", &["neighbour", "add", "198.51.100.7", "lladdr", "02:00:00:00:00:07", "dev", "vx0"]);
    lab.outside().routes("198.51.100.0/24", lab::HOST_V4);
    let is_carried = |frame: &[u8], word: &[u8]| frame.windows(word.len()).any(|part| part == word).then_some(());
    let sends = |word: &[u8]| lab.outside().posts_letter(parsed("198.51.100.7:9"), word);
    sends(b"before");
    sees.expect_frame("what it carries", |frame| is_carried(frame, b"before"));
    lab.applies(&network_policy("default/closed", CLOSED));
    sends(b"after");
    lab::eventually("it is dropped", || (closed.counted(&net, "drop_policy") > 0).then_some(()));
    // What the host itself sends through it is the host's own.
    lab.here().posts_letter(parsed("198.51.100.7:9"), b"the host");
    sees.expect_frame("what the host says", |frame| is_carried(frame, b"the host"));
    sees.expect_no_frame("what it carries", |frame| is_carried(frame, b"after"));
    lab.here().run("ip", &["link", "del", "vx0"]);
    lab.ends_clean();
}

/// A container that speaks in the name of another has the host complain to that one, in words of the first one's choice.
#[test]
fn what_the_host_complains_about_to_somebody_who_never_sent_it_does_not_reach_him() {
    let lab = Lab::new();
    let (net, other) = (lab.network("web"), lab.network("other"));
    let closed = lab.new_container("closed").on(&net).label("app", "closed").made();
    let liar = lab.new_container("liar").on(&other).unguarded().made();
    let (says, sees) = (liar.wire("eth0"), closed.wire("eth0"));
    let to_mac = lab.here().mac(&other.bridge());
    lab.here().sets(&format!("ipv4/conf/{}/rp_filter", other.bridge()), "0");
    let lies = |word: &[u8]| {
        for family in Family::BOTH {
            let from = SocketAddr::new(closed.address(family), 4444);
            let lie = Frame { from_mac: liar.mac("eth0"), to_mac, from, to: SocketAddr::new(other.gateway(family), 999) };
            says.send(&lie.udp(word));
        }
    };
    let complaint = |word: &'static [u8]| move |frame: &[u8]| frame.windows(word.len()).any(|part| part == word).then(|| frame.to_vec());
    lies(b"before");
    sees.expect_frame("a complaint", complaint(b"before"));
    lab.applies(&network_policy("default/closed", CLOSED));
    lies(b"after");
    closed.expect_counted(&net, "drop_policy", 2);
    sees.expect_no_frame("a complaint", complaint(b"after"));
    // About what it sent itself it is told.
    for family in Family::BOTH {
        closed.tries_to_ask((net.gateway(family), 999)).expect_refused();
    }
    lab.ends_clean();
}
