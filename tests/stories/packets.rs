//! The programs as they are in the kernel, run on one packet at a time: what each says of it, and that it is counted under its reason.

use std::net::SocketAddr;

use lab::{
    Container, Lab, Network, UPLINK,
    counted::Way,
    network::parsed,
    packet::{
        Frame,
        icmp::Complaint,
        neighbour::{dhcp_offer, dhcpv6_advertisement},
        odd::{DESTINATION, HOP_BY_HOP},
    },
    policy::yaml::network_policy,
    prog::{Answer, Programs},
};
use netd_api::addr::Family;

/// Nobody's hardware address.
const STRANGE_MAC: [u8; 6] = [2, 0x6e, 0x64, 0, 0, 0x99];
/// Somebody outside.
const FAR: [&str; 2] = ["198.51.100.7:53", "[2001:db8:9::7]:53"];
const CLOSED: &str = "{podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress, Egress]}";
const ONLY_DNS: &str = "{podSelector: {matchLabels: {app: closed}}, egress: [{ports: [{protocol: UDP, port: 53}]}], policyTypes: [Egress]}";
/// IPv4 options: record route (RFC 791 §3.1), and one of length zero.
const RECORD_ROUTE: [u8; 8] = [7, 7, 4, 0, 0, 0, 0, 0];
const OF_LENGTH_ZERO: [u8; 4] = [7, 0, 0, 0];

/// A container, and the programs at its host's end.
struct Stage<'lab> {
    net: Network<'lab>,
    it: Container<'lab>,
    programs: Programs,
    host_end: String,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab, guarded: bool) -> Self {
        let net = lab.new_network("web").subnet("10.77.0.0/24").subnet("fd00:77::/64").made();
        let draft = lab.new_container("it").on(&net).label("app", "closed").allows_address("192.0.2.80/32");
        let it = if guarded { draft } else { draft.unguarded() }.made();
        let host_end = it.attachment(&net).host_ifname.to_string();
        Self { net, it, programs: lab.programs(), host_end }
    }

    /// From the container to somebody outside, by nobody's hardware address, so that no short way is taken.
    fn sends(&self, family: Family) -> Frame {
        let to = parsed(FAR[usize::from(family == Family::V6)]);
        Frame { from_mac: self.it.mac("eth0"), to_mac: STRANGE_MAC, from: SocketAddr::new(self.it.address(family), 4444), to }
    }

    /// From somebody outside to the container.
    fn gets(&self, family: Family) -> Frame {
        let Frame { from_mac, to_mac, from, to } = self.sends(family);
        Frame { from_mac: to_mac, to_mac: from_mac, from: to, to: from }
    }

    /// From its link-local address to all nodes.
    fn says(&self) -> Frame {
        let from = self.it.link_local("eth0", &self.it, 0);
        Frame { from: SocketAddr::new(from.ip(), 547), to: parsed("[ff02::1]:546"), ..self.sends(Family::V6) }
    }

    fn run(&self, way: Way, frame: &[u8]) -> Answer {
        self.programs.run(way, &self.host_end, Some(UPLINK), frame)
    }

    /// Each goes on, and is counted as nothing else.
    #[track_caller]
    fn passes(&self, way: Way, frames: &[Vec<u8>]) {
        let before = self.it.attachment(&self.net).reasons;
        for frame in frames {
            assert_eq!(self.run(way, frame), Answer::Continue, "{frame:02x?}");
        }
        assert_eq!(self.it.attachment(&self.net).reasons, before);
    }

    /// Each is dropped, and counted under this reason once.
    #[track_caller]
    fn drops(&self, way: Way, reason: &str, frames: &[Vec<u8>]) {
        let before = self.it.counted(&self.net, reason);
        for (counted, frame) in (before + 1..).zip(frames) {
            assert_eq!(self.run(way, frame), Answer::Drop, "{reason}: {frame:02x?}");
            assert_eq!(self.it.counted(&self.net, reason), counted, "{reason}: {frame:02x?}");
        }
    }

    /// What the guard refuses, by its reason.
    fn pretences(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let (v4, v6, link) = (self.sends(Family::V4), self.sends(Family::V6), self.says());
        let (own4, own6) = (v4.from, v6.from.ip());
        let from = |address: &str| {
            let from: SocketAddr = parsed(address);
            Frame { from, ..self.sends(Family::of(from.ip())) }
        };
        let server = Frame { from: SocketAddr::new(own4.ip(), 67), to: parsed("255.255.255.255:68"), ..v4 };
        let strange = |frame: Frame| Frame { from_mac: STRANGE_MAC, ..frame };
        vec![
            ("drop_source_mac", vec![strange(v4).udp(b""), strange(v6).syn(), strange(v4).of_ethernet(0x88cc, &[0; 46])]),
            ("drop_source_address", ["10.77.0.200:1", "0.0.0.0:1", "[fd00:77::200]:1", "[::]:1"].map(|it| from(it).udp(b"")).to_vec()),
            (
                "drop_arp_spoof",
                vec![from("10.77.0.1:0").arp(2, v4.from_mac), v4.arp(1, STRANGE_MAC), from("0.0.0.0:0").arp(1, STRANGE_MAC)],
            ),
            (
                "drop_nd_spoof",
                vec![
                    v6.neighbour_advertisement(parsed("fd00:77::1"), v6.from_mac),
                    v6.neighbour_advertisement(own6, STRANGE_MAC),
                    strange(v6).neighbour_solicitation(parsed("fd00:77::1")),
                ],
            ),
            ("drop_router_advertisement", vec![link.router_advertisement()]),
            ("drop_dhcp_server", vec![server.udp(&dhcp_offer()), link.udp(&dhcpv6_advertisement())]),
            ("drop_source_route", vec![v4.udp_source_routed(b""), v6.udp_source_routed(b"")]),
        ]
    }

    /// What cannot be read, to the container or from it. (The kernel itself runs no program on half an IP header.)
    fn broken(of: impl Fn(Family) -> Frame) -> Vec<Vec<u8>> {
        let (v4, v6) = (of(Family::V4), of(Family::V6));
        let mapped = Frame { from: parsed("[::ffff:10.77.0.2]:1"), ..v6 };
        let cut_off = |frame: Vec<u8>, length: usize| frame[..length].to_vec();
        let mut few_words = v4.udp(b"netd");
        few_words[14] = 0x44;
        vec![
            cut_off(v4.udp(b""), 14 + 27),
            cut_off(v6.syn(), 14 + 59),
            v4.udp_of_length(27, b""),
            v4.udp_of_length(29, b""),
            v4.udp_of_length(19, b""),
            v6.udp_of_length(7, b""),
            v6.udp_of_length(9, b""),
            v4.udp_with_options(&OF_LENGTH_ZERO, b""),
            few_words,
            v4.fragment(6, &[0; 16], 0, true, 7),
            v6.fragment(6, &[0; 16], 0, true, 7),
            v6.of_protocol(HOP_BY_HOP, &[17, 9, 0, 0, 0, 0, 0, 0]),
            v4.of_ethernet(0x0806, &[0; 27]),
            v4.of_ethernet(0x8100, &[0, 5, 8]),
            mapped.udp(b""),
        ]
    }

    /// Parts that would write over the first one's transport header.
    fn overlaps(of: impl Fn(Family) -> Frame) -> Vec<Vec<u8>> {
        [Family::V4, Family::V6].into_iter().flat_map(|family| [8, 16].map(|at| of(family).fragment(6, &[0; 24], at, false, 7))).collect()
    }
}

#[test]
fn a_good_packet_of_each_kind_goes_on() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, true);
    let (v4, v6) = (stage.sends(Family::V4), stage.sends(Family::V6));
    let nobody = Frame { from: parsed("0.0.0.0:68"), to: parsed("255.255.255.255:67"), ..v4 };
    let detects = Frame { from: parsed("[::]:0"), ..stage.says() };
    let mut sent: Vec<Vec<u8>> = [v4, v6].iter().flat_map(|it| [it.udp(b"netd"), it.syn(), it.sctp_init()]).collect();
    sent.extend([v4, v6].iter().flat_map(|it| it.udp_in_fragments(&[7; 100], 48, 9)));
    sent.extend([
        v4.udp_with_options(&RECORD_ROUTE, b""),
        v6.udp_behind(DESTINATION, 8, b""),
        v4.arp(1, v4.from_mac),
        nobody.arp(1, v4.from_mac),
        nobody.udp(b"a client of DHCP"),
        v6.neighbour_advertisement(v6.from.ip(), v6.from_mac),
        v6.neighbour_solicitation(parsed("fd00:77::1")),
        detects.neighbour_solicitation(v6.from.ip()),
        stage.says().listener_report(),
        Frame { from: parsed("192.0.2.80:1"), from_mac: STRANGE_MAC, ..v4 }.udp(b"a virtual address"),
        v4.of_ethernet(0x88cc, &[0; 46]),
        v4.of_protocol(99, b"netd"),
    ]);
    stage.passes(Way::From, &sent);
    let got: Vec<Vec<u8>> = Family::BOTH.iter().map(|family| stage.gets(*family)).flat_map(|it| [it.udp(b"netd"), it.syn()]).collect();
    stage.passes(Way::To, &got);
    lab.ends_clean_uncounted();
}

#[test]
fn each_pretence_is_dropped_and_counted_under_its_reason() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, true);
    for (reason, frames) in stage.pretences() {
        stage.drops(Way::From, reason, &frames);
    }
    stage.drops(Way::From, "drop_malformed", &Stage::broken(|family| stage.sends(family)));
    stage.drops(Way::From, "drop_fragment_overlap", &Stage::overlaps(|family| stage.sends(family)));
    stage.drops(Way::From, "drop_extension_headers", &[stage.sends(Family::V6).udp_behind(DESTINATION, 9, b"")]);
    lab.ends_clean_uncounted();
}

#[test]
fn without_guard_and_policy_only_overlaps_are_dropped() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, false);
    for (_, frames) in stage.pretences() {
        stage.passes(Way::From, &frames);
    }
    stage.passes(Way::From, &Stage::broken(|family| stage.sends(family)));
    stage.passes(Way::To, &Stage::broken(|family| stage.gets(family)));
    stage.passes(Way::From, &[stage.sends(Family::V6).udp_behind(DESTINATION, 9, b"")]);
    stage.drops(Way::From, "drop_fragment_overlap", &Stage::overlaps(|family| stage.sends(family)));
    stage.drops(Way::To, "drop_fragment_overlap", &Stage::overlaps(|family| stage.gets(family)));
    lab.ends_clean_uncounted();
}

#[test]
fn a_policy_drops_what_it_cannot_judge_both_ways() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, false);
    lab.applies(&network_policy("default/closed", CLOSED));
    type Of<'a> = &'a dyn Fn(Family) -> Frame;
    let (sends, gets): (Of<'_>, Of<'_>) = (&|family| stage.sends(family), &|family| stage.gets(family));
    for (way, of) in [(Way::From, sends), (Way::To, gets)] {
        let both = Family::BOTH.map(of);
        stage.drops(way, "drop_policy", &both.map(|it| it.udp(b"netd")));
        stage.drops(way, "drop_policy", &both.map(|it| it.complains(Complaint::PortUnreachable, &it.udp(b"of no known flow"))));
        stage.drops(way, "drop_malformed", &Stage::broken(of));
        stage.drops(way, "drop_fragment_overlap", &Stage::overlaps(of));
        stage.drops(way, "drop_extension_headers", &[of(Family::V6).udp_behind(DESTINATION, 9, b"")]);
        stage.drops(way, "drop_fragment_without_first", &both.map(|it| it.fragment(17, &[7; 24], 1480, false, 0x77)));
        stage.drops(way, "drop_not_ip", &[of(Family::V4).of_ethernet(0x88cc, &[0; 46])]);
        // A link works all the same.
        stage.passes(way, &[of(Family::V4).arp(1, of(Family::V4).from_mac), of(Family::V6).neighbour_solicitation(of(Family::V6).to.ip())]);
    }
    lab.ends_clean_uncounted();
}

#[test]
fn parts_of_a_packet_go_together_whatever_header_each_names_next() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, true);
    lab.applies(&network_policy("default/only-dns", ONLY_DNS));
    let v6 = stage.sends(Family::V6);
    // A destination header and a datagram from port 4444 to port 53, of which eight bytes are in the first part.
    let first = [17, 0, 1, 4, 0, 0, 0, 0, 0x11, 0x5c, 0, 53, 0, 24, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let parts = |id| {
        [
            v6.fragment(DESTINATION, &first, 0, true, id),
            v6.fragment(DESTINATION, &[9; 8], 24, false, id),
            v6.fragment(17, &[9; 8], 24, false, id),
        ]
    };
    stage.passes(Way::From, &parts(0x11));
    stage.drops(Way::From, "drop_fragment_without_first", &parts(0x12)[1..]);
    // Another port, and what belongs to it.
    let mut refused = first;
    refused[11] = 54;
    stage.drops(Way::From, "drop_policy", &[v6.fragment(DESTINATION, &refused, 0, true, 0x13), parts(0x13)[1].clone()]);
    lab.ends_clean_uncounted();
}

#[test]
fn a_packet_from_the_middle_of_an_unknown_connection_is_judged_as_if_its_sender_had_made_that() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, true);
    let only_80 = "{podSelector: {matchLabels: {app: closed}}, ingress: [{ports: [{port: 80}]}], egress: [{ports: [{port: 80}]}]}";
    lab.applies(&network_policy("default/only-80", only_80));
    let to = |frame: Frame, port: u16| Frame { to: SocketAddr::new(frame.to.ip(), port), ..frame };
    let back = |frame: Frame| Frame { from_mac: frame.to_mac, to_mac: frame.from_mac, from: frame.to, to: frame.from };
    for family in Family::BOTH {
        let (sends, gets) = (stage.sends(family), stage.gets(family));
        for (way, other, frame) in [(Way::From, Way::To, sends), (Way::To, Way::From, gets)] {
            stage.drops(way, "drop_policy", &[to(frame, 81).ack()]);
            // What would be its answer, as long as nobody has asked.
            stage.drops(other, "drop_policy", &[back(to(frame, 80)).ack()]);
            stage.passes(way, &[to(frame, 80).ack()]);
            stage.passes(other, &[back(to(frame, 80)).ack()]);
        }
    }
    lab.ends_clean_uncounted();
}

#[test]
fn the_cluster_dns_is_port_53_of_udp_and_tcp_and_of_nothing_else() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, true);
    let dns =
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}";
    lab.applies(&network_policy("default/dns", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{dns}]}}]}}")));
    for family in Family::BOTH {
        let at = |port| Frame { to: SocketAddr::new(stage.net.gateway(family), port), ..stage.sends(family) };
        stage.passes(Way::From, &[at(53).udp(b"netd"), at(53).syn()]);
        stage.drops(
            Way::From,
            "drop_policy",
            &[at(53).sctp_init(), at(54).udp(b"netd"), at(54).syn(), at(53).of_protocol(99, b"\0\x35\0\x35")],
        );
    }
    lab.ends_clean_uncounted();
}

#[test]
fn only_what_is_whole_and_ordinary_takes_the_short_way() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab, false);
    let other = stage.net.container("other");
    for family in Family::BOTH {
        let frame = Frame { to_mac: other.mac("eth0"), to: SocketAddr::new(other.address(family), 53), ..stage.sends(family) };
        let tagged = [&frame.to_mac[..], &frame.from_mac, &[0x81, 0, 0, 5], &frame.udp(b"netd")[12..]].concat();
        for ordinary in
            [frame.udp(b"netd"), frame.udp(b"more"), frame.syn(), frame.ack(), frame.sctp_init(), frame.of_protocol(99, b"netd")]
        {
            assert_eq!(stage.run(Way::From, &ordinary), Answer::Redirect, "{ordinary:02x?}");
        }
        stage.passes(
            Way::From,
            &[tagged, frame.udp_source_routed(b"netd"), frame.complains(Complaint::PortUnreachable, &frame.udp(b"netd"))],
        );
        stage.passes(Way::From, &frame.udp_in_fragments(&[7; 100], 48, 9));
    }
    let v6 = Frame { to_mac: other.mac("eth0"), to: SocketAddr::new(other.address(Family::V6), 53), ..stage.sends(Family::V6) };
    stage.passes(Way::From, &[v6.neighbour_solicitation(v6.to.ip()), v6.udp_behind(DESTINATION, 9, b"")]);
    lab.ends_clean_uncounted();
}
