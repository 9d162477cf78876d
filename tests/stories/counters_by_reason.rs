//! Each packet is counted once, by what became of it: the sums are the interfaces' own, to the packet and the byte, whatever goes on.

use std::{net::SocketAddr, time::Duration};

use lab::{
    Container, HOST_V4, HOST_V6, Lab, Network,
    packet::Frame,
    policy::{
        reach::{ECHO, tcp, udp},
        yaml::{annotated_policy, network_policy},
    },
};
use netd_api::addr::Family;

use crate::fast_path::{LONG, on_either_path};

const ONLY_80: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{protocol: TCP}]}]}";
/// How long a stream pours at a time.
const POUR: Duration = Duration::from_millis(700);

fn with_and_without_the_fast_path(story: impl Fn(&Lab, &Network<'_>, &Container<'_>, &Container<'_>)) {
    on_either_path(|lab| {
        let net = lab.network("web");
        let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80).listens_udp(53);
        let b = net.container("b");
        story(lab, &net, &a, &b);
    });
}

#[test]
fn sums_are_exact_while_big_segments_pour_and_others_are_dropped() {
    with_and_without_the_fast_path(|lab, net, a, b| {
        lab.applies(&network_policy("default/only-80", ONLY_80));
        let senders = [a.v4(9), a.v6(9)].map(|to| b.insists_on(to));
        for family in Family::BOTH {
            b.pours(a, a.address(family), POUR);
            lab.here().pours(a, a.address(family), POUR);
            a.pours(b, b.address(family), POUR);
        }
        senders.iter().for_each(|sender| sender.goes_on_for(100));
        drop(senders);
        let view = a.attachment(net);
        let to = view.counters.expect("the programs count on this kernel").to;
        assert!(to.segments > to.packets, "big segments count as what they would be on a wire: {to:?}");
        assert!(a.counted(net, "drop_policy") >= 100);
    });
}

#[test]
fn sums_are_exact_with_every_verdict_at_once() {
    with_and_without_the_fast_path(|lab, net, a, b| {
        let others = |name: &str| lab.new_container(name).on(net).label("app", name).made().listens(80).listens_udp(53);
        let (refusing, tried) = (others("refusing"), others("tried"));
        let closed = |name: &str| format!("{{podSelector: {{matchLabels: {{app: {name}}}}}}}");
        lab.applies(&network_policy("default/only-80", ONLY_80));
        lab.applies(&annotated_policy("default/refusing", "netd.io/reject", &closed("refusing")));
        lab.applies(&annotated_policy("default/tried", "netd.io/audit", &closed("tried")));
        for _ in 0..3 {
            b.reaches(a, tcp(80));
            b.reaches_not(a, udp(53));
            b.is_refused(&refusing, tcp(80));
            b.is_refused(&refusing, udp(53));
            b.reaches(&tried, tcp(80));
            b.reaches(&tried, ECHO);
        }
        b.pours(&tried, tried.address(Family::V4), POUR);
        [&refusing, &tried].iter().for_each(|container| lab.counters_add_up(container, net));
    });
}

#[test]
fn sums_are_exact_over_restarts_and_kills() {
    with_and_without_the_fast_path(|lab, _, a, b| {
        lab.applies(&network_policy("default/only-80", ONLY_80));
        let stream = b.streams(a.v4(80));
        let sender = b.insists_on(a.v6(9));
        for _ in 0..3 {
            lab.netd().restart();
            lab.netd().crash();
            sender.goes_on_for(50);
            stream.expect_flowing();
        }
    });
}

#[test]
fn sums_are_exact_for_published_ports_and_the_outside() {
    with_and_without_the_fast_path(|lab, net, a, b| {
        lab.outside().serves(90);
        a.publishes("8080:80");
        lab.applies(&network_policy("default/only-80", ONLY_80));
        for host in [HOST_V4, HOST_V6] {
            lab.outside().fetches((host, 8080)).expect_from(a);
            b.fetches((host, 8080)).expect_from(a);
            a.fetches((host, 8080)).expect_from(a);
        }
        for outside in [lab::OUTSIDE_V4, lab::OUTSIDE_V6] {
            b.fetches((outside, 90)).expect_from(lab.outside());
        }
        lab.counters_add_up(a, net);
        lab.applies(&network_policy("default/caged", "{podSelector: {}, policyTypes: [Egress]}"));
        for outside in [lab::OUTSIDE_V4, lab::OUTSIDE_V6] {
            b.tries((outside, 90)).expect_silence();
        }
    });
}

#[test]
fn the_hits_of_rules_tell_which_rule_decided() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80).listens(81).listens_udp(53);
    let b = net.container("b");
    lab.applies(&network_policy("default/it", "{podSelector: {}, ingress: [{ports: [{port: 80}]}, {ports: [{port: 81}]}]}"));
    let hits = |rule: Option<u32>| {
        let view = lab.policy("default/it");
        view.rules.iter().filter(|it| it.direction == "ingress" && it.rule == rule).map(|it| it.hits.packets).sum::<u64>()
    };
    b.reaches(&a, tcp(81));
    lab::eventually("the second rule has hits", || (hits(Some(2)) > 0).then_some(()));
    assert_eq!((hits(Some(1)), hits(None)), (0, 0));
    b.reaches_not(&a, udp(53));
    lab::eventually("what no rule matches has hits", || (hits(None) > 0).then_some(()));
    assert_eq!(hits(Some(1)), 0);
    b.reaches(&a, tcp(80));
    lab::eventually("the first rule has hits", || (hits(Some(1)) > 0).then_some(()));
    lab.ends_clean();
}

/// Behind a host end that leaves no segment to the other side, the interface of a container counts each by itself.
#[test]
fn segments_are_what_goes_on_the_wire() {
    let lab = Lab::bare();
    lab.configures(LONG);
    lab.starts();
    let net = lab.network("web");
    let (a, b) = (net.container("a"), net.container("b"));
    let host_end = a.attachment(&net).host_ifname.to_string();
    lab.here().run("ethtool", &["-K", &host_end, "tso", "off", "gso", "off"]);
    let received = || a.link("eth0")["stats64"]["rx"]["packets"].as_u64().expect("iproute2 prints counters");
    let counted = || a.attachment(&net).counters.expect("the programs count on this kernel").to;
    for family in Family::BOTH {
        b.pours(&a, a.address(family), POUR);
    }
    // Both have counted from the first packet on, as nothing came in before the programs were there.
    lab::eventually("each segment is counted as one", || (received() == counted().segments).then_some(()));
    let counted = counted();
    assert!(counted.segments > 5 * counted.packets, "{counted:?}");
    lab.ends_clean_uncounted();
}

#[test]
fn a_rule_has_a_hit_for_each_packet_of_its_connections_on_either_path() {
    const TIMES: u64 = 25;
    with_and_without_the_fast_path(|lab, _, a, b| {
        lab.applies(&network_policy(
            "default/it",
            "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 53, protocol: UDP}]}]}",
        ));
        let hits = |rule: Option<u32>| {
            let rules = lab.policy("default/it").rules;
            rules.iter().filter(|it| it.direction == "ingress" && it.rule == rule).map(|it| it.hits.packets).sum::<u64>()
        };
        for _ in 0..TIMES {
            b.asks(a.v4(53)).expect_from(a);
            b.asks(a.v6(53)).expect_from(a);
        }
        // A question and an answer, over two families.
        lab::eventually("all are there", || (hits(Some(1)) == 4 * TIMES).then_some(()));
        for _ in 0..TIMES {
            b.posts_letter(a.v4(54), b"netd");
            b.posts_letter(a.v6(54), b"netd");
        }
        lab::eventually("what no rule matches is there", || (hits(None) == 2 * TIMES).then_some(()));
        assert_eq!(hits(Some(1)), 4 * TIMES);
    });
}

/// The bridge learns that it leads nowhere and sends nothing there; netd brings it up again.
#[test]
fn sums_are_exact_where_the_interface_of_a_container_goes_down_over_the_bridge() {
    let lab = Lab::bare();
    lab.configures(LONG);
    lab.starts();
    let net = lab.network("web");
    let (a, b) = (net.container("a"), net.container("b"));
    let at = |container: &Container<'_>, port| SocketAddr::new(container.address(Family::V4), port);
    let frame = Frame { from_mac: b.mac("eth0"), to_mac: a.mac("eth0"), from: at(&b, 4444), to: at(&a, 9) };
    let wire = b.wire("eth0");
    let sends = |word: &[u8]| (0..50).for_each(|_| wire.send(&frame.udp(word)));
    sends(b"up");
    a.run("ip", &["link", "set", "eth0", "down"]);
    sends(b"down");
    lab.counters_add_up(&a, &net);
    lab.counters_add_up(&b, &net);
    lab::eventually("it is up again", || a.link("eth0")["flags"].to_string().contains("LOWER_UP").then_some(()));
    sends(b"up again");
    lab.ends_clean();
}
