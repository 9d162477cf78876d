//! What a container sends is checked against what it is: each pretence is dropped under its own reason, unless the container may do so.

use std::net::{IpAddr, SocketAddr};

use lab::{
    Container, Lab, Network,
    network::parsed,
    packet::{
        Frame, Seen,
        neighbour::{dhcp_offer, dhcpv6_advertisement},
    },
    wire::Wire,
};
use netd_api::addr::Family;

const BROADCAST: [u8; 6] = [0xff; 6];
/// All nodes of a link (RFC 2464 §7, RFC 4291 §2.7.1).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: &str = "ff02::1";
/// Nobody's hardware address.
const STRANGE_MAC: [u8; 6] = [2, 0x6e, 0x64, 0, 0, 0x99];
/// The port that tells these datagrams from all others.
const PORT: u16 = 4444;

/// A liar, one who may lie, and who looks on, on a network of known addresses.
struct Stage<'lab> {
    net: Network<'lab>,
    a: Container<'lab>,
    free: Container<'lab>,
    witness: Container<'lab>,
    sees: Wire,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab) -> Self {
        let net = lab.new_network("web").subnet("10.77.0.0/24").subnet("fd00:77::/64").made();
        let a = net.container("a");
        let free = lab.new_container("free").on(&net).unguarded().made();
        let witness = net.container("witness");
        let sees = witness.wire("eth0");
        Self { net, a, free, witness, sees }
    }

    /// From a container to the witness.
    fn frame(&self, from: &Container<'_>, family: Family) -> Frame {
        let at = |container: &Container<'_>| SocketAddr::new(container.address(family), PORT);
        Frame { from_mac: from.mac("eth0"), to_mac: self.witness.mac("eth0"), from: at(from), to: at(&self.witness) }
    }

    /// Frames that `make` makes for each sender are dropped under `reason` where the sender is checked, and seen by the witness where it is not.
    #[track_caller]
    fn holds_up(&self, reason: &str, make: impl Fn(&Container<'_>) -> Vec<Vec<u8>>, arrives: impl Fn(&Seen) -> bool) {
        let liar = self.a.wire("eth0");
        let frames = make(&self.a);
        frames.iter().for_each(|frame| liar.send(frame));
        self.a.expect_counted(&self.net, reason, u64::try_from(frames.len()).unwrap());
        self.sees.expect_none("what was made up", |seen| arrives(seen).then(|| seen.clone()));
        let free = self.free.wire("eth0");
        let frames = make(&self.free);
        for frame in &frames {
            free.send(frame);
            self.sees.expect("what may be made up", |seen| arrives(seen).then_some(()));
        }
        self.free.expect_counted(&self.net, reason, 0);
        assert_eq!(self.a.denials(&self.net), [reason]);
    }
}

/// Tells a story about what each sender makes up, and looks whether every packet is accounted for.
#[track_caller]
fn guard(reason: &str, make: impl Fn(&Stage<'_>, &Container<'_>) -> Vec<Vec<u8>>, arrives: impl Fn(&Seen) -> bool) {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    stage.holds_up(reason, |from| make(&stage, from), arrives);
    lab.ends_clean();
}

fn to_port(seen: &Seen) -> bool {
    seen.ports().is_some_and(|(_, to)| to == PORT)
}

fn icmp_type(seen: &Seen, wanted: u8) -> bool {
    matches!(seen, Seen::Ip(_, _, 58, body) if body.first() == Some(&wanted))
}

#[test]
fn a_frame_with_somebody_elses_hardware_address_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        Family::BOTH.map(|family| Frame { from_mac: STRANGE_MAC, ..stage.frame(from, family) }.udp(b"not me")).to_vec()
    };
    guard("drop_source_mac", make, to_port);
}

#[test]
fn a_packet_with_somebody_elses_address_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        let pretences =
            [("10.77.0.200", Family::V4), ("198.51.100.9", Family::V4), ("fd00:77::200", Family::V6), ("2001:db8:9::9", Family::V6)];
        let as_another = |(address, family)| {
            let from = SocketAddr::new(parsed(address), PORT);
            Frame { from, ..stage.frame(&stage.witness, family) }
        };
        pretences.map(as_another).map(|frame| Frame { from_mac: from.mac("eth0"), ..frame }.udp(b"not me")).to_vec()
    };
    guard("drop_source_address", make, to_port);
}

#[test]
fn an_arp_packet_that_speaks_for_another_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        let gateway = SocketAddr::new(stage.net.gateway(Family::V4), 0);
        let honest = stage.frame(from, Family::V4);
        let claims = Frame { from: gateway, to_mac: BROADCAST, ..honest };
        // A reply and a request that say where the gateway is, and one's own address at a strange hardware address.
        vec![claims.arp(2, honest.from_mac), claims.arp(1, honest.from_mac), honest.arp(2, STRANGE_MAC)]
    };
    guard(
        "drop_arp_spoof",
        make,
        |seen| matches!(seen, Seen::Arp(mac, address) if *mac == STRANGE_MAC || address.to_string() == "10.77.0.1" && *mac != [0; 6]),
    );
}

#[test]
fn a_neighbour_advertisement_that_speaks_for_another_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        let honest = stage.frame(from, Family::V6);
        vec![
            honest.neighbour_advertisement(stage.net.gateway(Family::V6), honest.from_mac),
            honest.neighbour_advertisement(parsed("fd00:77::200"), honest.from_mac),
        ]
    };
    let spoken_for = |address: &IpAddr| ["fd00:77::1", "fd00:77::200"].contains(&address.to_string().as_str());
    guard("drop_nd_spoof", make, |seen| matches!(seen, Seen::Advertisement(_, address) if spoken_for(address)));
}

#[test]
fn a_router_advertisement_of_a_container_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        let own = from.link_local("eth0", &stage.witness, 0);
        let frame = Frame {
            from: SocketAddr::new(own.ip(), 0),
            to: SocketAddr::new(parsed(ALL_NODES), 0),
            to_mac: ALL_NODES_MAC,
            ..stage.frame(from, Family::V6)
        };
        vec![frame.router_advertisement()]
    };
    guard("drop_router_advertisement", make, |seen| icmp_type(seen, 134));
}

#[test]
fn an_answer_of_a_dhcp_server_in_a_container_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        let at = |address: &str, port| SocketAddr::new(parsed(address), port);
        let v4 = stage.frame(from, Family::V4);
        let v6 = stage.frame(from, Family::V6);
        let offer = Frame { from: SocketAddr::new(v4.from.ip(), 67), to: at("255.255.255.255", 68), to_mac: BROADCAST, ..v4 };
        let own = from.link_local("eth0", &stage.witness, 547);
        let advertisement = Frame { from: SocketAddr::new(own.ip(), 547), to: at(ALL_NODES, 546), to_mac: ALL_NODES_MAC, ..v6 };
        vec![offer.udp(&dhcp_offer()), advertisement.udp(&dhcpv6_advertisement())]
    };
    guard("drop_dhcp_server", make, |seen| matches!(seen.ports(), Some((67, 68) | (547, 546))));
}

#[test]
fn a_packet_by_a_route_of_its_senders_choice_is_dropped() {
    let make = |stage: &Stage<'_>, from: &Container<'_>| {
        Family::BOTH.map(|family| stage.frame(from, family).udp_source_routed(b"this way")).to_vec()
    };
    let arrives = |seen: &Seen| to_port(seen) || matches!(seen, Seen::Ip(_, _, 43, _));
    guard("drop_source_route", make, arrives);
}

#[test]
fn addresses_that_a_container_may_have_besides_its_own_pass_and_others_do_not() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let holder = lab.new_container("holder").on(&stage.net).allows_address("10.77.0.200/32").allows_address("2001:db8:77::/48").made();
    let wire = holder.wire("eth0");
    let from = |address: &str| {
        let at = SocketAddr::new(parsed(address), PORT);
        Frame { from: at, ..stage.frame(&holder, Family::of(at.ip())) }
    };
    for address in ["10.77.0.200", "2001:db8:77::5"] {
        wire.send(&from(address).udp(b"me too"));
        stage.sees.expect("what may be sent", |seen| matches!(seen, Seen::Ip(from, ..) if from.to_string() == address).then_some(()));
    }
    let claims = Frame { to_mac: BROADCAST, ..from("10.77.0.200") };
    wire.send(&claims.arp(2, claims.from_mac));
    stage
        .sees
        .expect("an ARP reply for it", |seen| matches!(seen, Seen::Arp(_, address) if address.to_string() == "10.77.0.200").then_some(()));
    let owns = from("2001:db8:77::5").neighbour_advertisement(parsed("2001:db8:77::5"), claims.from_mac);
    wire.send(&owns);
    stage.sees.expect("an advertisement", |seen| {
        matches!(seen, Seen::Advertisement(_, address) if address.to_string() == "2001:db8:77::5").then_some(())
    });
    for address in ["10.77.0.201", "2001:db8:78::5"] {
        wire.send(&from(address).udp(b"not me"));
    }
    holder.expect_counted(&stage.net, "drop_source_address", 2);
    stage.sees.expect_none("somebody else's address", |seen| to_port(seen).then(|| seen.clone()));
    lab.ends_clean();
}

#[test]
fn what_every_honest_station_says_on_a_link_passes() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let wire = stage.a.wire("eth0");
    let (v4, v6) = (stage.frame(&stage.a, Family::V4), stage.frame(&stage.a, Family::V6));
    let own = stage.a.link_local("eth0", &stage.witness, 0);
    let to_all = |frame: Frame| Frame { to_mac: ALL_NODES_MAC, to: SocketAddr::new(parsed(ALL_NODES), 0), ..frame };
    // A probe and an announcement of its IPv4 address (RFC 5227).
    let nobody = Frame { from: parsed("0.0.0.0:0"), to: v4.from, to_mac: BROADCAST, ..v4 };
    wire.send(&nobody.arp(1, v4.from_mac));
    stage.sees.expect("an ARP probe", |seen| {
        matches!(seen, Seen::Arp(mac, address) if *mac == v4.from_mac && address.is_unspecified()).then_some(())
    });
    wire.send(&Frame { to: v4.from, to_mac: BROADCAST, ..v4 }.arp(1, v4.from_mac));
    stage.sees.expect("an announcement", |seen| (*seen == Seen::Arp(v4.from_mac, v4.from.ip())).then_some(()));
    // Duplicate address detection, a multicast listener, an advertisement of its own.
    let detection = to_all(Frame { from: parsed("[::]:0"), ..v6 });
    wire.send(&detection.neighbour_solicitation(v6.from.ip()));
    stage.sees.expect("duplicate address detection", |seen| icmp_type(seen, 135).then_some(()));
    let report = to_all(Frame { from: SocketAddr::new(own.ip(), 0), ..v6 });
    wire.send(&report.listener_report());
    stage.sees.expect("a listener's report", |seen| icmp_type(seen, 131).then_some(()));
    wire.send(&v6.neighbour_advertisement(v6.from.ip(), v6.from_mac));
    stage
        .sees
        .expect("its own advertisement", |seen| matches!(seen, Seen::Advertisement(_, address) if *address == v6.from.ip()).then_some(()));
    // Link-local addresses are as good as others.
    let served = stage.witness.link_local("eth0", &stage.a, 80);
    stage.witness.serves(80);
    stage.a.fetches(served).expect_from(&stage.witness);
    assert_eq!(stage.a.denials(&stage.net), Vec::<String>::new());
    lab.ends_clean();
}

#[test]
fn guards_hold_without_any_policy_and_while_netd_is_dead() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let wire = stage.a.wire("eth0");
    let frame = Frame { from: parsed("10.77.0.200:4444"), ..stage.frame(&stage.a, Family::V4) };
    lab.netd().kill9();
    (0..10).for_each(|_| wire.send(&frame.udp(b"not me")));
    stage.sees.expect_none("somebody else's address", |seen| to_port(seen).then(|| seen.clone()));
    lab.netd().start();
    stage.a.expect_counted(&stage.net, "drop_source_address", 10);
    lab.ends_clean();
}
