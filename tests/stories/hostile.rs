//! Packets made to confuse: cut off, of wrong lengths, with heaps of headers, of unknown kinds. None reaches a container that a policy closes,
//! and each is counted.

use std::net::SocketAddr;

use lab::{
    Container, Lab, Network, eventually,
    packet::{
        Frame,
        odd::{DESTINATION, HOP_BY_HOP, ROUTING},
    },
    policy::{reach::tcp, yaml::network_policy},
};
use netd_api::addr::Family;

const BOTH: &str = "{podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress, Egress]}";
/// What is in every packet of these stories, so that it is known again.
const PAYLOAD: &[u8] = b"netd: this packet means no good to anybody";

/// A closed container, and a hostile one that may send as whom it likes.
struct Stage<'lab> {
    net: Network<'lab>,
    closed: Container<'lab>,
    hostile: Container<'lab>,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab) -> Self {
        let net = lab.network("web");
        let closed = lab.new_container("closed").on(&net).label("app", "closed").made().listens(80);
        let hostile = lab.new_container("hostile").on(&net).unguarded().made();
        lab.applies(&network_policy("default/both", BOTH));
        Self { net, closed, hostile }
    }

    fn between(from: &Container<'_>, to: &Container<'_>, family: Family) -> Frame {
        let at = |container: &Container<'_>, port| SocketAddr::new(container.address(family), port);
        Frame { from_mac: from.mac("eth0"), to_mac: to.mac("eth0"), from: at(from, 4444), to: at(to, 53) }
    }

    /// All packets that were dropped for any reason on the way from one to the other.
    fn dropped(&self) -> u64 {
        let views = [&self.closed, &self.hostile].map(|container| container.attachment(&self.net));
        let all = views.iter().flat_map(|view| &view.reasons);
        all.filter(|it| ["drop", "reject"].contains(&it.verdict.as_str())).map(|it| it.counted.packets).sum()
    }

    /// None of these frames gets from one to the other, and all are counted.
    #[track_caller]
    fn stops(&self, from: &Container<'_>, to: &Container<'_>, frames: &[Vec<u8>]) {
        let (sends, sees) = (from.wire("eth0"), to.wire("eth0"));
        let before = self.dropped();
        let arrived = |frame: &[u8]| frames.iter().any(|sent| !frame.is_empty() && sent == frame).then(|| frame.to_vec());
        frames.iter().for_each(|frame| sends.send(frame));
        let wanted = before + u64::try_from(frames.len()).unwrap();
        eventually(&format!("all {} are counted, of which {} were", frames.len(), self.dropped() - before), || {
            (self.dropped() >= wanted).then_some(())
        });
        sees.expect_no_frame("one of them", arrived);
        assert_eq!(
            self.dropped(),
            wanted,
            "each is counted once: {:?} {:?}",
            self.closed.denials(&self.net),
            self.hostile.denials(&self.net)
        );
    }

    /// Both ways: into the closed container, and out of it.
    #[track_caller]
    fn stops_both_ways(&self, make: impl Fn(Frame) -> Vec<Vec<u8>>) {
        for family in Family::BOTH {
            self.stops(&self.hostile, &self.closed, &make(Self::between(&self.hostile, &self.closed, family)));
            self.stops(&self.closed, &self.hostile, &make(Self::between(&self.closed, &self.hostile, family)));
        }
    }
}

/// Tells a story about what is sent, and looks whether all is well afterwards.
#[track_caller]
fn none_passes(make: impl Fn(Frame) -> Vec<Vec<u8>>) {
    none_passes_with_tags(0, make);
}

/// The same where so many VLAN tags are in what is sent to a container, and by it.
#[track_caller]
fn none_passes_with_tags(tags: u64, make: impl Fn(Frame) -> Vec<Vec<u8>>) {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    stage.stops_both_ways(make);
    [&stage.closed, &stage.hostile].iter().for_each(|container| lab.counters_add_up_but_for_tags(container, &stage.net, tags));
    stage.hostile.reaches_not(&stage.closed, tcp(80));
    lab.here().reaches(&stage.closed, tcp(80));
    lab.ends_clean_but_for_tags(tags);
}

#[test]
fn packets_that_are_cut_off_anywhere_do_not_pass() {
    none_passes(|frame| {
        let whole = frame.udp(PAYLOAD);
        let headers = if frame.to.is_ipv4() { 14 + 20 + 8 } else { 14 + 40 + 8 };
        (15..headers + 4).map(|length| whole[..length].to_vec()).collect()
    });
}

#[test]
fn packets_whose_lengths_are_lies_do_not_pass() {
    none_passes(|frame| [0, 1, 7, 19, 20, 27, 1000, 65535].map(|length| frame.udp_of_length(length, PAYLOAD)).to_vec());
}

#[test]
fn headers_of_transport_that_are_too_short_do_not_pass() {
    none_passes(|frame| {
        let cut = |protocol: u8| (0..8).map(move |length| frame.of_protocol(protocol, &[0, 53, 0, 53, 0, 0, 0, 0][..length]));
        [6, 17, 132].into_iter().flat_map(cut).collect()
    });
}

#[test]
fn heaps_of_extension_headers_do_not_pass() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let make = |frame: Frame| -> Vec<Vec<u8>> {
        let counts = [1, 2, 8, 9, 32, 150];
        let heaps = |kind: u8| counts.map(|count| frame.udp_behind(kind, count, PAYLOAD));
        [DESTINATION, HOP_BY_HOP].into_iter().flat_map(heaps).collect()
    };
    stage.stops(&stage.hostile, &stage.closed, &make(Stage::between(&stage.hostile, &stage.closed, Family::V6)));
    stage.stops(&stage.closed, &stage.hostile, &make(Stage::between(&stage.closed, &stage.hostile, Family::V6)));
    // A header that says it is longer than the packet, and one that leads nowhere.
    let frame = Stage::between(&stage.hostile, &stage.closed, Family::V6);
    let lies =
        [HOP_BY_HOP, DESTINATION, ROUTING].map(|kind| frame.of_protocol(kind, &[17, 255, 1, 4, 0, 0, 0, 0, 0, 53, 0, 53, 0, 8, 0, 0]));
    stage.stops(&stage.hostile, &stage.closed, &lies);
    lab.ends_clean();
}

#[test]
fn options_of_ipv4_hide_no_ports() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let frame = Stage::between(&stage.hostile, &stage.closed, Family::V4);
    // No-operations, a router alert, a time stamp, an option that is longer than the header, and one of no length.
    let options: [&[u8]; 5] = [&[1; 40], &[148, 4, 0, 0], &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[7, 39, 4, 0], &[7, 0, 0, 0]];
    stage.stops(&stage.hostile, &stage.closed, &options.map(|options| frame.udp_with_options(options, PAYLOAD)));
    lab.ends_clean();
}

#[test]
fn ports_are_read_where_they_are_whatever_stands_before_them() {
    const GOOD: &[u8] = b"netd: this packet goes where it may";
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    lab.withdraws_policy("default/both");
    let only_53 = "{podSelector: {matchLabels: {app: closed}}, ingress: [{ports: [{protocol: UDP, port: 53}]}]}";
    lab.applies(&network_policy("default/only-53", only_53));
    // What stands where ports would be if nothing were before them says the other port: behind the end of IPv4's options anything may, and an option of
    // IPv6 that nobody knows is passed over (RFC 791, 3.1; RFC 8200, 4.2).
    let before = |frame: Frame, other: u8, payload: &[u8]| {
        let tagged = [&frame.to_mac[..], &frame.from_mac, &[0x81, 0, 0, 5], &frame.udp(payload)[12..]].concat();
        let behind = if frame.to.is_ipv4() {
            frame.udp_with_options(&[1, 1, 0, other], payload)
        } else {
            let plain = frame.udp(payload);
            frame.of_protocol(DESTINATION, &[&[17, 0, 0, other, 3, 0, 0, 0], &plain[14 + 40..]].concat())
        };
        [behind, tagged]
    };
    let sees = stage.closed.wire("eth0");
    for family in Family::BOTH {
        let to = |port| {
            let mut frame = Stage::between(&stage.hostile, &stage.closed, family);
            frame.to.set_port(port);
            frame
        };
        stage.stops(&stage.hostile, &stage.closed, &before(to(54), 53, PAYLOAD));
        for good in before(to(53), 54, GOOD) {
            stage.hostile.wire("eth0").send(&good);
            sees.expect_frame("a good one", |seen| seen.ends_with(GOOD).then_some(()));
        }
    }
    assert_eq!(stage.closed.denials(&stage.net), ["drop_policy"]);
    // Each way has two tagged frames.
    lab.ends_clean_but_for_tags(4);
}

#[test]
fn protocols_of_which_no_policy_speaks_do_not_pass() {
    none_passes(|frame| [2, 4, 33, 41, 47, 50, 51, 89, 112, 253, 254, 255].map(|protocol| frame.of_protocol(protocol, PAYLOAD)).to_vec());
}

#[test]
fn frames_that_are_neither_ip_nor_arp_do_not_pass_where_a_policy_governs_and_pass_elsewhere() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    // Local experiments, IPX, PPPoE, EAPOL (IEEE 802 numbers).
    let make = |frame: Frame| [0x88b5, 0x8137, 0x8864, 0x888e].map(|kind| frame.of_ethernet(kind, PAYLOAD)).to_vec();
    let inwards = Stage::between(&stage.hostile, &stage.closed, Family::V4);
    stage.stops(&stage.hostile, &stage.closed, &make(inwards));
    assert!(stage.closed.denials(&stage.net).contains(&"drop_not_ip".to_owned()));
    stage.stops(&stage.closed, &stage.hostile, &make(Stage::between(&stage.closed, &stage.hostile, Family::V4)));
    lab.withdraws_policy("default/both");
    let (sends, sees) = (stage.hostile.wire("eth0"), stage.closed.wire("eth0"));
    let frame = inwards.of_ethernet(0x88b5, PAYLOAD);
    sends.send(&frame);
    sees.expect_frame("it, now that no policy governs", |seen| (seen == frame).then_some(()));
    lab.ends_clean();
}

#[test]
fn packets_with_a_vlan_tag_are_judged_like_those_without() {
    // Two frames in each family, one with two tags.
    none_passes_with_tags(6, |frame| {
        let udp = frame.udp(PAYLOAD);
        let tagged = |tags: &[u8]| frame.of_ethernet(0x8100, &[tags, &udp[12..]].concat());
        vec![tagged(&[0, 5]), tagged(&[0, 5, 0x81, 0, 0, 6])]
    });
}
