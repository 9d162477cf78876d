//! Connections of containers through published ports: judged where they start, counted once where they end, and remembered only as long as they may begin.

use std::{net::SocketAddr, time::Duration};

use lab::{
    Container, HOST_V4, Lab, Network,
    counted::Way,
    network::parsed,
    packet::Frame,
    policy::yaml::{annotated_policy, network_policy},
    prog::{Answer, Programs},
};
use netd_api::addr::Family;

use crate::fast_path::PATHS;

/// Into servers come clients only.
const CLIENTS: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}";
/// Nobody comes in.
const CLOSED: &str = "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}";
const TIMES: u64 = 20;

/// A server of whom two ports are published, another one, and a client, all on one network: the server sees the host's address.
struct Stage<'lab> {
    net: Network<'lab>,
    server: Container<'lab>,
    client: Container<'lab>,
    programs: Programs,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab) -> Self {
        let net = lab.network("web");
        let server = lab.new_container("server").on(&net).label("app", "server").made().listens_udp(53);
        let client = lab.new_container("client").on(&net).label("app", "client").made();
        server.publishes("5300:53/udp");
        server.publishes("5400:54/udp");
        let programs = lab.programs();
        Self { net, server, client, programs }
    }

    /// The programs' words for frames at a container's end.
    fn run(&self, way: Way, at: &Container<'_>, frames: &[Vec<u8>]) -> Vec<Answer> {
        let host_end = at.attachment(&self.net).host_ifname.to_string();
        self.programs.run_all(&host_end, Some(&self.net.bridge()), frames.iter().map(|frame| (way, frame)))
    }

    /// The client asks a published port from one of its own.
    fn asks(&self, from: u16, port: u16) -> Vec<u8> {
        self.asks_from([from].into_iter(), port).swap_remove(0)
    }

    /// The same from many.
    fn asks_from(&self, from: impl Iterator<Item = u16>, port: u16) -> Vec<Vec<u8>> {
        let to = SocketAddr::new(parsed(HOST_V4), port);
        let frame = Frame { from_mac: self.client.mac("eth0"), to_mac: STRANGE_MAC, from: self.client.v4(0), to };
        from.map(|from| Frame { from: SocketAddr::new(frame.from.ip(), from), ..frame }.udp(b"netd")).collect()
    }

    /// The same, as it comes to the server.
    fn comes(&self, from: u16, port: u16) -> Vec<u8> {
        let from = SocketAddr::new(self.net.gateway(Family::V4), from);
        Frame { from_mac: STRANGE_MAC, to_mac: self.server.mac("eth0"), from, to: self.server.v4(port) }.udp(b"netd")
    }
}

/// Nobody's hardware address.
const STRANGE_MAC: [u8; 6] = [2, 0x6e, 0x64, 0, 0, 0x99];

#[test]
fn a_connection_through_a_published_port_is_a_hit_of_the_servers_rule_once_a_packet() {
    for path in PATHS {
        let lab = Lab::bare();
        lab.bridge_filter("0");
        lab.configures(path);
        lab.starts();
        let stage = Stage::on(&lab);
        lab.applies(&network_policy("default/clients", CLIENTS));
        let hits = || lab.policy("default/clients").rules.iter().map(|rule| rule.hits.packets).sum::<u64>();
        for _ in 0..TIMES {
            stage.client.asks((HOST_V4, 5300)).expect_from(&stage.server);
        }
        lab::eventually("a question and an answer each", || (hits() == 2 * TIMES).then_some(()));
        lab.ends_clean();
    }
}

#[test]
fn an_audited_server_has_its_audit_by_a_published_port_too_once_a_packet() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    lab.applies(&annotated_policy("default/tried", "netd.io/audit", CLOSED));
    let asker = stage.client.asker((HOST_V4, 5300));
    for _ in 0..TIMES {
        asker.asks().expect_from(&stage.server);
    }
    stage.server.expect_counted(&stage.net, "audit_policy", 2 * TIMES);
    assert_eq!(stage.client.counted(&stage.net, "audit_policy"), 0);
    // What is judged anew, as the client has a policy now, is audited on.
    lab.applies(&network_policy("default/free", "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{}]}"));
    for _ in 0..TIMES {
        asker.asks().expect_from(&stage.server);
    }
    stage.server.expect_counted(&stage.net, "audit_policy", 4 * TIMES);
    lab.ends_clean();
}

#[test]
fn who_came_by_a_published_port_is_forgotten_when_no_connection_can_begin_of_it_any_more() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    lab.applies(&network_policy("default/clients", CLIENTS));
    let (asks, comes) = (|from| vec![stage.asks(from, 5300)], |from| vec![stage.comes(from, 53)]);
    assert_eq!(stage.run(Way::To, &stage.server, &comes(1000)), [Answer::Drop], "nobody comes as the host");
    assert_eq!(stage.run(Way::From, &stage.client, &asks(1000)), [Answer::Continue]);
    // By whatever port, as masquerading may change it, for a moment; by its own for as long as a question may be asked again.
    assert_eq!(stage.run(Way::To, &stage.server, &comes(1001)), [Answer::Continue]);
    lab.lets_age_judged(Duration::from_secs(100));
    assert_eq!(stage.run(Way::To, &stage.server, &comes(1002)), [Answer::Drop]);
    assert_eq!(stage.run(Way::To, &stage.server, &comes(1000)), [Answer::Continue]);
    assert_eq!(stage.run(Way::From, &stage.client, &asks(2000)), [Answer::Continue]);
    lab.lets_age_judged(Duration::from_secs(131));
    assert_eq!(stage.run(Way::To, &stage.server, &comes(2000)), [Answer::Drop]);
    // What has begun goes on.
    assert_eq!(stage.run(Way::To, &stage.server, &comes(1000)), [Answer::Continue]);
    lab.ends_clean_uncounted();
}

#[test]
fn of_those_who_come_by_published_ports_the_one_of_longest_ago_gives_way_and_is_judged_by_the_address_that_is_seen() {
    const ROOM: u16 = 8_192;
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    lab.applies(&network_policy("default/clients", CLIENTS));
    assert_eq!(stage.run(Way::From, &stage.client, &[stage.asks(1000, 5300)]), [Answer::Continue]);
    let others = stage.asks_from(2000..2000 + 2 * ROOM, 5400);
    assert!(stage.run(Way::From, &stage.client, &others).iter().all(|answer| *answer == Answer::Continue));
    assert_eq!(stage.run(Way::To, &stage.server, &[stage.comes(1000, 53)]), [Answer::Drop]);
    assert_eq!(stage.server.denials(&stage.net), ["drop_policy"]);
    assert_eq!(stage.run(Way::To, &stage.server, &[stage.comes(1999 + 2 * ROOM, 54)]), [Answer::Continue], "others find room as ever");
    lab.ends_clean_uncounted();
}
