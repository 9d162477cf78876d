//! The table of flows where its buckets are full: who was answered stays known, and who was not gives way.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::Range,
    time::Duration,
};

use lab::{
    Container, Lab,
    packet::Frame,
    policy::{reach::ECHO, yaml::network_policy},
    within,
};
use netd_api::{addr::Family, flow::FlowView};

use crate::fast_path::on_either_path;

/// Only what it asked for itself comes to the client.
const NOTHING_IN: &str = "{podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress]}";
/// Each of these ports of the client is a connection, which both containers' programs remember: together half as many again as the table has places.
const PORTS: Range<u16> = 20_000..45_000;
/// One that was not.
const STRANGE: u16 = 50_000;

fn socket(container: &Container<'_>, port: u16) -> UdpSocket {
    socket_of(container, Family::V4, port)
}

fn socket_of(container: &Container<'_>, family: Family, port: u16) -> UdpSocket {
    let at = (container.address(family), port);
    let socket = container.net().inside(|| UdpSocket::bind(at)).unwrap_or_else(|why| panic!("{at:?}: {why}"));
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket has a timeout");
    socket
}

#[test]
fn answered_flows_that_find_no_room_in_their_bucket_go_on_as_all_others() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (server, client) = (net.container("server"), lab.new_container("client").on(&net).label("app", "client").made());
    lab.applies(&network_policy("default/nothing-in", NOTHING_IN));
    let asked = socket(&server, 53);
    let to = SocketAddr::new(server.address(Family::V4), 53);
    let address = client.address(Family::V4);
    for port in PORTS {
        let client = socket(&client, port);
        client.send_to(b"?", to).expect("the server is there");
        let (_, from) = asked.recv_from(&mut [0; 8]).expect("the question arrives");
        asked.send_to(b"!", from).expect("the client is there");
        client.recv(&mut [0; 8]).expect("the answer arrives");
    }
    let fill = |name: &str| {
        let status = lab.policy_status();
        status.tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}")).used
    };
    assert!(fill("spilled flows") > 10_000, "so many flows do not all find room in their buckets");
    assert_eq!(fill("flows") + fill("spilled flows"), 2 * PORTS.len() as u64, "each is known at both ends, and none gave way");
    assert_eq!(client.counted(&net, "drop_policy"), 0);
    for port in PORTS {
        asked.send_to(b"more", (address, port)).expect("the client is there");
    }
    assert_eq!(client.counted(&net, "drop_policy"), 0, "the server goes on with every one of them");
    asked.send_to(b"surprise", (address, STRANGE)).expect("the client is there");
    client.expect_counted(&net, "drop_policy", 1);
    lab.ends_clean();
}

/// More than a CPU remembers where it found them, so that some share a place there with others; and by turns with another one of the same ports and the
/// other family.
#[test]
fn connections_that_speak_by_turns_are_each_counted_for_themselves() {
    const SPEAKERS: Range<u16> = 20_000..20_300;
    const ROUNDS: u64 = 4;
    on_either_path(|lab| {
        let net = lab.network("web");
        let (server, client) = (net.container("server"), net.container("client"));
        let asked = Family::BOTH.map(|family| socket_of(&server, family, 53));
        let speakers: Vec<[UdpSocket; 2]> = SPEAKERS.map(|port| Family::BOTH.map(|family| socket_of(&client, family, port))).collect();
        for (speaker, asked) in (0..ROUNDS).flat_map(|_| &speakers).flat_map(|both| both.iter().zip(&asked)) {
            speaker.send_to(b"?", asked.local_addr().expect("it is bound")).expect("the server is there");
            let (_, from) = asked.recv_from(&mut [0; 8]).expect("the question arrives");
            asked.send_to(b"longer", from).expect("the client is there");
            speaker.recv(&mut [0; 8]).expect("the answer arrives");
        }
        for (family, headers) in Family::BOTH.into_iter().zip([14 + 20 + 8, 14 + 40 + 8]) {
            let (questions, answers) = ((ROUNDS, ROUNDS * (headers + 1)), (ROUNDS, ROUNDS * (headers + 6)));
            for (container, sent, received) in [(&client, questions, answers), (&server, answers, questions)] {
                let mut flows = container.flows();
                flows.retain(|flow| flow.remote.address.is_ipv4() == (family == Family::V4));
                for port in SPEAKERS {
                    let is_it = |flow: &&FlowView| [flow.container.port, flow.remote.port].contains(&port);
                    let [flow] = flows.iter().filter(is_it).collect::<Vec<_>>()[..] else { panic!("not one flow of {port} {family:?}") };
                    let carried = [flow.sent, flow.received].map(|way| (way.packets, way.bytes));
                    assert_eq!(carried, [sent, received], "{port} {family:?} at {}", container.name());
                }
            }
        }
    });
}

/// Each SYN to a port at which nobody listens is a connection that is answered, and over.
#[test]
fn connections_that_were_closed_make_room_at_once_where_they_fill_the_table() {
    const CLOSED: Range<u16> = 20_000..42_000;
    let lab = Lab::new();
    let net = lab.network("web");
    let (server, client) = (net.container("server"), net.container("client"));
    let (wire, to) = (client.wire("eth0"), server.v4(9));
    let (from_mac, to_mac) = (client.mac("eth0"), server.mac("eth0"));
    // The server knows whom it refuses.
    client.run("ping", &["-c", "1", "-W", "2", &server.address(Family::V4).to_string()]);
    for port in CLOSED {
        wire.send(&Frame { from_mac, to_mac, from: client.v4(port), to }.syn());
    }
    let known = || {
        let tables = lab.policy_status().tables;
        tables.iter().filter(|table| ["flows", "spilled flows"].contains(&table.name.as_str())).map(|table| table.used).sum::<u64>()
    };
    // Without a word from the programs nobody would look for ten seconds.
    within(Duration::from_secs(2), "many are gone", || (known() + 10_000 < 2 * CLOSED.len() as u64).then_some(()));
    lab.ends_clean();
}

/// Who waits for an answer asks again, as clients do, so that no question is old.
#[test]
fn who_waits_for_an_answer_gets_it_while_a_neighbour_fills_the_table() {
    const WAITING: Range<u16> = 20_000..20_200;
    const ROUNDS: u16 = 8;
    const ROUND: u16 = 8_000;
    let lab = Lab::new();
    let net = lab.network("web");
    let (server, client) = (net.container("server"), lab.new_container("client").on(&net).label("app", "client").made());
    let (flooder, sink) = (net.container("flooder"), net.container("sink"));
    lab.applies(&network_policy("default/nothing-in", NOTHING_IN));
    let (asked, _unread) = (socket(&server, 53), socket(&sink, 9));
    let question = SocketAddr::new(server.address(Family::V4), 53);
    let sockets: Vec<UdpSocket> = WAITING.map(|port| socket(&client, port)).collect();
    let ask = || sockets.iter().for_each(|socket| assert_eq!(socket.send_to(b"?", question).ok(), Some(1)));
    let wire = flooder.wire("eth0");
    let [from, to] = [(&flooder, 0), (&sink, 9)].map(|(container, port)| SocketAddr::new(container.address(Family::V4), port));
    let flood = Frame { from_mac: flooder.mac("eth0"), to_mac: sink.mac("eth0"), from, to };
    for round in 0..ROUNDS {
        ask();
        for port in 0..ROUND {
            let from = SocketAddr::new(from.ip(), 1_000 + round * ROUND + port);
            wire.send(&Frame { from, ..flood }.udp(b"flood"));
        }
    }
    let gave_way = lab.policy_status().events.get("new_flow_gave_way").copied().unwrap_or(0);
    assert!(gave_way > u64::from(ROUND), "the flood is larger than the table: {gave_way}");
    for socket in &sockets {
        let back = socket.local_addr().expect("it is bound");
        asked.send_to(b"!", back).expect("the client is there");
        socket.recv(&mut [0; 8]).expect("the answer arrives");
    }
    assert_eq!(client.counted(&net, "drop_policy"), 0);
    lab.ends_clean();
}

/// A client to whom nobody may come, in a flood: a flow of its that gave way would be one that is denied as soon as the server speaks.
#[test]
fn answered_flows_of_either_protocol_and_family_go_on_in_a_flood_of_new_ones() {
    const FLOOD: u16 = 40_000;
    const SILENT: Range<u16> = 20_000..20_050;
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.77.0.0/16").subnet("fd00:77::/64").made();
    let server = net.container("server").listens(80);
    let client = lab.new_container("client").on(&net).label("app", "client").made();
    let flooder = lab.new_container("flooder").on(&net).unguarded().made();
    // As in the stories of flows: nobody is answered.
    server.run("ip", &["route", "add", "blackhole", "10.77.128.0/18"]);
    server.run("ip", &["route", "add", "blackhole", "fd00:77:0:0:f::/80"]);
    lab.applies(&network_policy("default/nothing-in", NOTHING_IN));
    let streams = Family::BOTH.map(|family| client.streams((server.address(family), 80)));
    let asked = Family::BOTH.map(|family| socket_of(&server, family, 53));
    let mut silent = Vec::new();
    for (asked, family) in asked.iter().zip(Family::BOTH) {
        silent.extend(SILENT.map(|port| (asked, socket_of(&client, family, port))));
    }
    for (asked, client) in &silent {
        client.send_to(b"?", asked.local_addr().expect("it is bound")).expect("the server is there");
        let (_, from) = asked.recv_from(&mut [0; 8]).expect("the question arrives");
        asked.send_to(b"!", from).expect("the client is there");
        client.recv(&mut [0; 8]).expect("the answer arrives");
    }
    let (from_mac, to_mac) = (flooder.mac("eth0"), server.mac("eth0"));
    let wire = flooder.wire("eth0");
    for family in Family::BOTH {
        let to = SocketAddr::new(server.address(family), 80);
        for number in 0..FLOOD {
            let frame = Frame { from_mac, to_mac, from: SocketAddr::new(flooders(family, number), 1024 + number), to };
            wire.send(&if number % 2 == 0 { frame.syn() } else { frame.udp(b"netd") });
        }
        streams.iter().for_each(lab::stream::Stream::expect_flowing);
    }
    assert!(lab.policy_status().events["new_flow_gave_way"] > 0);
    for (asked, client) in &silent {
        asked.send_to(b"more", client.local_addr().expect("it is bound")).expect("the client is there");
        client.recv(&mut [0; 8]).expect("the server goes on");
    }
    assert_eq!(client.counted(&net, "drop_policy"), 0);
    server.reaches_not(&client, ECHO);
    drop(streams);
    lab.ends_clean();
}

fn flooders(family: Family, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    match family {
        Family::V4 => [10, 77, 128 | high & 63, low].into(),
        Family::V6 => [0xfd00, 0x77, 0, 0, 0xf, 0, 0, number].into(),
    }
}
