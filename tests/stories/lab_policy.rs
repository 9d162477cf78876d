//! What the lab says of policies, without netd: probes tell an answer, a refusal and silence apart, made-up frames are what they seem, and the
//! evaluator agrees with the examples of the documentation.

use std::net::{IpAddr, SocketAddr};

use lab::{
    Lab, Station,
    network::parsed,
    packet::{Frame, Seen, icmp::Complaint},
    policy::{
        evaluator::{Attempt, End, allows},
        model::{Cidr, Direction, Namespaces, NetworkPolicy, Peer, Pod, Policy, Port, Protocol, Rule, Selector, Which},
        probe::Got,
        responder::Responder,
    },
};

const ALL: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Icmp];

/// Two namespaces on one cable.
fn cabled(lab: &Lab) -> (Station, Station) {
    let (a, b) = (lab.stranger("a"), lab.stranger("b"));
    a.run("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "b"]);
    for (station, v4, v6) in [(&a, "10.0.0.1/24", "fd00::1/64"), (&b, "10.0.0.2/24", "fd00::2/64")] {
        station.run("ip", &["link", "set", "eth0", "up"]);
        station.takes_address(v4, "eth0").takes_address(v6, "eth0");
    }
    (a, b)
}

fn at(port: u16) -> [SocketAddr; 2] {
    ["10.0.0.2", "fd00::2"].map(|address| SocketAddr::new(parsed(address), port))
}

#[test]
fn a_probe_tells_an_answer_a_refusal_and_silence_apart() {
    let lab = Lab::bare();
    let (a, b) = cabled(&lab);
    let _answers = Responder::at(&b, &[80]);
    for protocol in ALL {
        a.expect_to_get(Got::Reached, &at(80), protocol);
    }
    a.expect_to_get(Got::Refused, &at(81), Protocol::Tcp);
    a.expect_to_get(Got::Refused, &at(81), Protocol::Udp);
    a.expect_to_get(Got::Silence, &at(81), Protocol::Sctp);
    let chain = "add table inet t; add chain inet t in { type filter hook input priority 0; }; ";
    let asked = ["meta l4proto { tcp, udp, sctp }", "icmp type echo-request", "icmpv6 type echo-request"];
    let filter = |verdict: &str| chain.to_owned() + &asked.map(|what| format!("add rule inet t in {what} {verdict}; ")).concat();
    b.run("nft", &[&filter("reject with icmpx type admin-prohibited")]);
    for protocol in ALL {
        a.expect_to_get(Got::Refused, &at(80), protocol);
    }
    b.run("nft", &["flush ruleset"]);
    b.run("nft", &[&filter("drop")]);
    for protocol in ALL {
        a.expect_to_get(Got::Silence, &at(80), protocol);
    }
}

#[test]
fn fragments_made_by_hand_are_a_datagram_to_the_kernel() {
    let lab = Lab::bare();
    let (a, b) = cabled(&lab);
    let (letters, wire) = (b.mailbox(53), a.wire("eth0"));
    let letter = [b'n'; 2800];
    for (number, (from, to)) in (1..).zip([("10.0.0.1:44", "10.0.0.2:53"), ("[fd00::1]:44", "[fd00::2]:53")]) {
        let frame = Frame { from_mac: a.mac("eth0"), to_mac: b.mac("eth0"), from: parsed(from), to: parsed(to) };
        for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
            let parts = frame.udp_in_fragments(&letter, 800, number);
            order.iter().for_each(|part| wire.send(&parts[*part]));
            letters.expect(&letter);
        }
    }
    letters.expect_empty();
    a.posts_letter(at(53)[0], &[7; 9000]);
    letters.expect(&[7; 9000]);
}

#[test]
fn errors_and_neighbours_made_by_hand_are_believed_by_the_kernel() {
    let lab = Lab::bare();
    let (a, b) = cabled(&lab);
    for (own, other, family) in [("10.0.0.1", "10.0.0.2", "-4"), ("fd00::1", "fd00::2", "-6")] {
        let asker = a.asker((other, 53));
        let sees = b.wire("eth0");
        let _ = asker.asks_briefly();
        let sent =
            sees.expect("the question", |seen| matches!(seen, Seen::Ip(_, to, 17, _) if to.to_string() == other).then(|| seen.ports()));
        let (from, to) = sent.expect("UDP has ports");
        let question = Frame {
            from_mac: a.mac("eth0"),
            to_mac: b.mac("eth0"),
            from: parsed(&format!("[{own}]:{from}").replace("[10.0.0.1]", "10.0.0.1")),
            to: SocketAddr::new(parsed(other), to),
        };
        let answer = Frame { from_mac: question.to_mac, to_mac: question.from_mac, from: question.to, to: question.from };
        sees.send(&answer.complains(Complaint::TooBig(1400), &question.udp(b"who is there?")));
        lab::eventually("the path is known to be narrow", || {
            a.run("ip", &[family, "route", "get", other]).contains("mtu 1400").then_some(())
        });
    }
    let claim = Frame { from_mac: b.mac("eth0"), to_mac: a.mac("eth0"), from: parsed("10.0.0.2:0"), to: parsed("10.0.0.1:0") };
    let v6 = Frame { from: parsed("[fd00::2]:0"), to: parsed("[fd00::1]:0"), ..claim };
    let strange = [2, 0, 0, 0, 0, 9];
    let claims = [("10.0.0.2", claim.arp(2, strange)), ("fd00::2", v6.neighbour_advertisement(parsed("fd00::2"), strange))];
    let wire = b.wire("eth0");
    for (address, frame) in claims {
        // What was learnt a moment ago the kernel does not give up at once (locktime in arp(7)).
        lab::eventually("it is believed", || {
            wire.send(&frame);
            a.run("ip", &["neighbour", "show", address]).contains("02:00:00:00:00:09").then_some(())
        });
    }
}

fn pod(name: &'static str, namespace: &'static str, app: &'static str) -> Pod {
    Pod { name, namespace, labels: vec![("role", app)], named: vec![("redis", Protocol::Tcp, 6379)] }
}

/// The example of <https://kubernetes.io/docs/concepts/services-networking/network-policies/>, whose meaning is told there in words.
#[test]
fn the_evaluator_says_of_the_documentations_example_what_the_documentation_says() {
    let block = |cidr: &str, except: &[&str]| Peer::Block(parsed(cidr), except.iter().map(|hole| parsed::<Cidr>(hole)).collect());
    let on = |port| vec![Port { protocol: Some(Protocol::Tcp), which: Which::One(port) }];
    let project = Peer::Pods(Some(Selector::label("project", "myproject")), None);
    let frontend = Peer::Pods(None, Some(Selector::label("role", "frontend")));
    let example = [Policy::Network(NetworkPolicy {
        namespace: "default",
        name: "test-network-policy".to_owned(),
        pods: Selector::label("role", "db"),
        types: Direction::BOTH.to_vec(),
        ingress: Some(vec![Rule { peers: vec![block("172.17.0.0/16", &["172.17.1.0/24"]), project, frontend], ports: on(6379) }]),
        egress: Some(vec![Rule { peers: vec![block("10.0.0.0/24", &[])], ports: on(5978) }]),
    })];
    let namespaces: Namespaces = vec![("default", vec![]), ("other", vec![("project", "myproject")]), ("third", vec![])];
    let db = pod("db", "default", "db");
    let inwards = |from: Option<&Pod>, address: &str, port| {
        let end = |address: &str, pod| End { address: parsed::<IpAddr>(address), pod };
        let attempt = Attempt { from: end(address, from), to: end("10.244.0.9", Some(&db)), protocol: Protocol::Tcp, port };
        allows(&example, &namespaces, &attempt)
    };
    let (frontend, job, abroad, third) =
        (pod("f", "default", "frontend"), pod("j", "default", "job"), pod("o", "other", "job"), pod("t", "third", "frontend"));
    assert!(inwards(Some(&frontend), "10.244.0.1", 6379) && inwards(Some(&abroad), "10.244.0.1", 6379));
    assert!(
        !inwards(Some(&job), "10.244.0.1", 6379)
            && !inwards(Some(&third), "10.244.0.1", 6379)
            && !inwards(Some(&frontend), "10.244.0.1", 80)
    );
    assert!(inwards(None, "172.17.0.255", 6379) && inwards(None, "172.17.2.0", 6379) && !inwards(None, "172.17.1.7", 6379));
    let outwards = |address: &str, port| {
        let to = End { address: parsed::<IpAddr>(address), pod: None };
        let attempt = Attempt { from: End { address: parsed("10.244.0.9"), pod: Some(&db) }, to, protocol: Protocol::Tcp, port };
        allows(&example, &namespaces, &attempt)
    };
    assert!(outwards("10.0.0.7", 5978) && !outwards("10.0.1.7", 5978) && !outwards("10.0.0.7", 80));
}
