//! Each connection of a container is recorded with both ends, its verdict and what it carried; a flood costs little, and what is lost is told.

use std::net::SocketAddr;

use lab::{
    Container, Lab, Network, eventually,
    packet::Frame,
    policy::{
        reach::tcp,
        yaml::{cluster_policy, network_policy},
    },
};
use netd_api::{
    addr::Family,
    flow::{FlowEvent, FlowQuery, FlowView},
    policy::FlowVerdict,
};

use crate::fast_path::on_either_path;

const ONLY_80: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 80}]}]}";
/// How many connections are begun and never made.
const FLOOD: u32 = 100_000;
/// Where they seem to come from: none is the network's broadcast address, to which a server would answer.
const FLOODERS: &str = "10.77.128.0/18";

fn server<'lab>(lab: &'lab Lab, net: &Network<'lab>) -> Container<'lab> {
    lab.new_container("a").on(net).label("app", "server").namespace("shop").made().listens(80).listens(81).listens_udp(53)
}

#[test]
fn a_connection_that_ended_is_recorded_at_both_ends() {
    on_either_path(|lab| {
        let net = lab.network("web");
        let (a, b) = (server(lab, &net), lab.new_container("b").on(&net).label("app", "client").made());
        for family in Family::BOTH {
            let client = b.fetches((a.address(family), 80)).expect_from(&a).seen;
            let inwards = a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.remote.port == client.port());
            assert_eq!((inwards.direction.as_str(), inwards.protocol.as_str(), inwards.network.as_str()), ("ingress", "tcp", "web"));
            assert_eq!((inwards.container.address, inwards.container.port), (a.address(family), 80));
            assert_eq!((inwards.remote.address, inwards.remote.name.as_ref()), (client.ip(), Some(b.name())));
            assert_eq!(inwards.container.namespace.as_ref().map(|it| it.as_str()), Some("shop"));
            let app = |labels: &netd_api::spec::Labels| labels.get("app").map(|it| it.to_string());
            assert_eq!((app(&inwards.container.labels), app(&inwards.remote.labels)), (Some("server".into()), Some("client".into())));
            assert!(inwards.sent.packets >= 3 && inwards.received.packets >= 4, "{inwards:?}");
            assert!(inwards.sent.bytes > inwards.sent.packets * 54 && inwards.last_seen >= inwards.began, "{inwards:?}");
            assert!(inwards.flags_received.contains('S') && inwards.flags_sent.contains('S'), "{inwards:?}");
            let outwards = b.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.container.port == client.port());
            assert_eq!((outwards.direction.as_str(), outwards.remote.name.as_ref()), ("egress", Some(a.name())));
            assert_eq!((outwards.sent, outwards.received), (inwards.received, inwards.sent), "what one sends the other receives");
        }
    });
}

#[test]
fn a_connection_that_is_there_is_shown_and_told_as_it_begins_to_who_follows() {
    on_either_path(|lab| {
        let net = lab.network("web");
        let (a, b) = (server(lab, &net), net.container("b"));
        let follow = |after| lab.flows(&FlowQuery { after: Some(after), ..FlowQuery::default() });
        let last = follow(lab.flows(&FlowQuery::default()).last).last;
        let stream = b.streams(a.v4(80));
        let port = stream.answer.seen.port();
        lab::eventually("its beginning is told", || {
            follow(last).flows.into_iter().find(|flow| flow.event == FlowEvent::New && flow.remote.port == port && flow.number > last)
        });
        let first = a.expect_flow(FlowEvent::Open, FlowVerdict::Forward, |flow| flow.remote.port == port);
        lab::eventually("it carries more and more", || {
            a.flows().into_iter().find(|flow| flow.remote.port == port && flow.sent.bytes > first.sent.bytes)
        });
        drop(stream);
        a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.remote.port == port);
    });
}

#[test]
fn a_denied_connection_is_recorded_with_the_policy_that_denied_it() {
    on_either_path(|lab| {
        let net = lab.network("web");
        let (a, b) = (server(lab, &net), net.container("b"));
        lab.applies(&network_policy("shop/only-80", ONLY_80));
        b.reaches_not(&a, tcp(81));
        let flow = a.expect_flow(FlowEvent::Denied, FlowVerdict::Drop, |flow| flow.container.port == 81);
        assert_eq!((flow.reason.as_str(), flow.policy.map(|it| it.to_string()).as_deref()), ("drop_policy", Some("shop/only-80")));
        assert_eq!((flow.direction.as_str(), flow.remote.name.as_ref()), ("ingress", Some(b.name())));
        let deny =
            "{tier: Admin, priority: 0, subject: {namespaces: {}}, egress: [{name: no-way-out, action: Deny, to: [{namespaces: {}}]}]}";
        lab.applies(&cluster_policy("caged", deny));
        b.reaches_not(&a, tcp(80));
        let flow = b.expect_flow(FlowEvent::Denied, FlowVerdict::Drop, |flow| flow.remote.port == 80);
        assert_eq!((flow.direction.as_str(), flow.policy.map(|it| it.to_string()).as_deref()), ("egress", Some("caged")));
        assert!(flow.rule.as_ref().is_some_and(|rule| rule.contains("no-way-out")), "{:?}", flow.rule);
    });
}

#[test]
fn flows_of_every_protocol_and_of_the_outside_and_the_host_are_recorded() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = server(&lab, &net);
    a.publishes("8080:80");
    lab.outside().fetches((lab::HOST_V4, 8080)).expect_from(&a);
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.remote.address.to_string() == lab::OUTSIDE_V4 && !flow.remote.host);
    lab.here().fetches(a.v4(80)).expect_from(&a);
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.remote.host && flow.remote.name.is_none());
    lab.here().asks(a.v6(53)).expect_from(&a);
    lab.here().pings(a.address(Family::V6));
    lab.here().pings(a.address(Family::V4));
    for protocol in ["udp", "icmp", "icmpv6"] {
        lab::eventually(protocol, || a.flows().into_iter().find(|flow| flow.protocol == protocol));
    }
    lab.ends_clean();
}

#[test]
fn flows_can_be_asked_for_by_container_verdict_and_time() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    lab.applies(&network_policy("shop/only-80", ONLY_80));
    b.reaches(&a, tcp(80));
    b.reaches_not(&a, tcp(81));
    a.expect_flow(FlowEvent::Denied, FlowVerdict::Drop, |_| true);
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |_| true);
    let dropped = lab.flows(&FlowQuery { verdict: Some(FlowVerdict::Drop), ..FlowQuery::default() }).flows;
    assert!(!dropped.is_empty() && dropped.iter().all(|flow| flow.verdict == FlowVerdict::Drop));
    let of_b = lab.flows(&FlowQuery { container: Some(b.name().clone()), ..FlowQuery::default() }).flows;
    assert!(of_b.iter().all(|flow| flow.container.name.as_ref() == Some(b.name())));
    let later = lab.flows(&FlowQuery { since: Some(u64::from(u32::MAX)), ..FlowQuery::default() }).flows;
    assert_eq!(later.len(), 0, "none has ended in the next century");
    let numbers: Vec<u64> = lab.flows(&FlowQuery::default()).flows.iter().map(|flow| flow.number).filter(|number| *number > 0).collect();
    assert!(numbers.is_sorted(), "the oldest comes first: {numbers:?}");
    lab.ends_clean();
}

/// So many SYNs from as many addresses and ports to a port of the server, of which nobody wants to hear again.
fn floods(flooder: &Container<'_>, a: &Container<'_>, port: u16) {
    let to = SocketAddr::new(a.address(Family::V4), port);
    let wire = flooder.wire("eth0");
    let (from_mac, to_mac) = (flooder.mac("eth0"), a.mac("eth0"));
    for number in 0..FLOOD {
        let [_, _, high, low] = number.to_be_bytes();
        let from = SocketAddr::new([10, 77, 128 | high & 63, low].into(), 1024 + u16::try_from(number % 60_000).unwrap());
        wire.send(&Frame { from_mac, to_mac, from, to }.syn());
    }
}

#[test]
fn a_flood_of_new_connections_breaks_none_that_is_there_and_its_loss_is_told() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.77.0.0/16").made();
    let (a, b) = (server(&lab, &net), net.container("b"));
    let flooder = lab.new_container("flooder").on(&net).unguarded().made();
    // The server answers none, nor asks where they are: its kernel would do so in bursts, and the queue of a CPU (net.core.netdev_max_backlog) and the room for
    // neighbours are the whole machine's, so that packets of other stories were lost.
    a.run("ip", &["route", "add", "blackhole", FLOODERS]);
    lab.applies(&network_policy("shop/only-80", ONLY_80));
    let stream = b.streams(a.v4(80));
    let before = lab.policy_status();
    // Those that are allowed fill the table of what is new, those that are denied the buffer of records.
    floods(&flooder, &a, 80);
    stream.expect_flowing();
    floods(&flooder, &a, 81);
    stream.expect_flowing();
    a.expect_counted(&net, "drop_policy", u64::from(FLOOD));
    b.fetches(a.v4(80)).expect_from(&a);
    let lost = lab.flows(&FlowQuery::default()).lost;
    let after = lab.policy_status();
    assert!(lost > 0 || after.events != before.events, "what was not recorded is told: {:?}", after.events);
    assert!(after.tables.iter().all(|table| table.used <= table.of), "{:?}", after.tables);
    drop(stream);
    lab.ends_clean();
}

#[test]
fn what_the_bridge_sends_to_all_is_no_connection_of_those_whom_it_is_not_for() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, open) = (net.container("a"), net.container("open"));
    let closed = lab.new_container("closed").on(&net).label("app", "closed").made();
    lab.applies(&network_policy("default/closed", "{podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress]}"));
    let [from, to] = [&a, &open].map(|container| SocketAddr::new(container.address(Family::V4), 81));
    // A hardware address that nobody has.
    let frame = Frame { from_mac: a.mac("eth0"), to_mac: [2, 0, 0, 0, 0, 0x99], from, to };
    a.wire("eth0").send(&frame.udp(b"to nobody"));
    closed.expect_counted(&net, "drop_policy", 1);
    let of = |container: &Container<'_>| lab.flows(&FlowQuery { container: Some(container.name().clone()), ..FlowQuery::default() }).flows;
    let to_port = |flows: Vec<FlowView>| flows.iter().filter(|flow| [flow.container.port, flow.remote.port].contains(&81)).count();
    assert_eq!([&a, &open, &closed].map(|container| to_port(of(container))), [1, 0, 0], "it is the sender's alone");
    a.wire("eth0").send(&Frame { to_mac: open.mac("eth0"), ..frame }.udp(b"to somebody"));
    eventually("whom it is for has it", || (to_port(of(&open)) == 1).then_some(()));
    lab.ends_clean();
}

#[test]
fn what_is_denied_again_and_again_is_one_record_with_a_number() {
    const TIMES: u64 = 300;
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    lab.applies(&network_policy("shop/only-80", ONLY_80));
    let wire = b.wire("eth0");
    let at = |container: &Container<'_>, port| SocketAddr::new(container.address(Family::V4), port);
    let frame = Frame { from_mac: b.mac("eth0"), to_mac: a.mac("eth0"), from: at(&b, 4321), to: at(&a, 81) };
    (0..TIMES).for_each(|_| wire.send(&frame.syn()));
    a.expect_counted(&net, "drop_policy", TIMES);
    let records = || a.flows().into_iter().filter(|flow| flow.event == FlowEvent::Denied).map(|flow| flow.received.packets);
    lab::eventually("all are told", || (records().sum::<u64>() == TIMES).then_some(()));
    // The first at once, the rest when it would have been told again.
    assert_eq!(records().collect::<Vec<_>>(), [1, TIMES - 1]);
    lab.ends_clean();
}

#[test]
fn of_connections_on_the_same_ports_each_is_told_as_closed_or_counted_as_lost() {
    const PORT: u16 = 4321;
    const TIMES: u64 = 20;
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    for _ in 0..TIMES {
        b.fetches_from(b.v4(PORT), a.v4(80)).expect_from(&a);
    }
    // Both ends have a record each.
    lab::eventually("all are accounted for", || {
        let view = lab.flows(&FlowQuery::default());
        let closed =
            view.flows.iter().filter(|flow| flow.event == FlowEvent::Closed && [flow.container.port, flow.remote.port].contains(&PORT));
        (closed.count() as u64 + view.lost == 2 * TIMES).then_some(())
    });
    let lost = lab.policy_status().events["end_not_told"];
    assert!(lost > 0 && lost == lab.flows(&FlowQuery::default()).lost, "{lost} lost");
    lab.ends_clean();
}

#[test]
fn a_connection_goes_on_being_the_same_record_over_a_restart() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    let stream = b.streams(a.v4(80));
    lab.netd().restart();
    stream.expect_flowing();
    let port = stream.answer.seen.port();
    let open = a.expect_flow(FlowEvent::Open, FlowVerdict::Forward, |flow| flow.remote.port == port);
    assert_eq!(open.direction, "ingress", "who began it is still known");
    drop(stream);
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.remote.port == port && flow.sent.bytes >= open.sent.bytes);
    lab.ends_clean();
}
