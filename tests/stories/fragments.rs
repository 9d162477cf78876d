//! Fragments share the verdict of the first one; what has no first one is dropped where a policy governs, and passes elsewhere.

use std::net::SocketAddr;

use lab::{Container, Lab, Network, packet::Frame, policy::yaml::network_policy};
use netd_api::addr::Family;

/// Only datagrams to port 53 come in.
const ONLY_53: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 53, protocol: UDP}]}]}";
/// So much goes into one of the fragments that are made here.
const SIZE: usize = 800;
/// A datagram of four fragments: 8 bytes of UDP header stand before it.
const LETTER: [u8; 2800] = [b'n'; 2800];
const PARTS: u64 = 4;

/// A server that a policy governs, and a client that makes fragments.
struct Stage<'lab> {
    net: Network<'lab>,
    a: Container<'lab>,
    b: Container<'lab>,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab) -> Self {
        let net = lab.network("web");
        let a = lab.new_container("a").on(&net).label("app", "server").made();
        let b = net.container("b");
        lab.applies(&network_policy("default/only-53", ONLY_53));
        Self { net, a, b }
    }

    fn frame(&self, family: Family, port: u16) -> Frame {
        let at = |container: &Container<'_>, port| SocketAddr::new(container.address(family), port);
        Frame { from_mac: self.b.mac("eth0"), to_mac: self.a.mac("eth0"), from: at(&self.b, 4444), to: at(&self.a, port) }
    }

    /// The letter in fragments, in an order of a story's choice.
    fn sends(&self, family: Family, port: u16, identification: u32, order: &[usize]) {
        let wire = self.b.wire("eth0");
        let parts = self.frame(family, port).udp_in_fragments(&LETTER, SIZE, identification);
        order.iter().for_each(|at| wire.send(&parts[*at]));
    }
}

#[test]
fn a_big_datagram_arrives_where_it_may_and_not_one_part_of_it_elsewhere() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let (good, bad) = (stage.a.mailbox(53), stage.a.mailbox(54));
    for (number, family) in (1..).zip(Family::BOTH) {
        stage.sends(family, 53, 100, &[0, 1, 2, 3]);
        good.expect(&LETTER);
        stage.sends(family, 54, 200, &[0, 1, 2, 3]);
        stage.a.expect_counted(&stage.net, "drop_policy", number * PARTS);
    }
    bad.expect_empty();
    assert_eq!(stage.a.denials(&stage.net), ["drop_policy"]);
    lab.ends_clean();
}

#[test]
fn the_kernels_own_fragments_are_judged_like_any_with_and_without_a_filtered_bridge() {
    for filtered in ["0", "1"] {
        let lab = Lab::bare();
        lab.bridge_filter(filtered);
        lab.starts();
        let stage = Stage::on(&lab);
        let (good, bad) = (stage.a.mailbox(53), stage.a.mailbox(54));
        let letter = vec![7; 20_000];
        for family in Family::BOTH {
            for port in [53, 54] {
                stage.b.posts_letter(SocketAddr::new(stage.a.address(family), port), &letter);
            }
            good.expect(&letter);
        }
        bad.expect_empty();
        lab.counters_add_up(&stage.a, &stage.net);
        lab.ends_clean();
    }
}

#[test]
fn later_fragments_that_come_first_are_dropped_where_a_policy_governs() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let good = stage.a.mailbox(53);
    for (number, family) in (1..).zip(Family::BOTH) {
        stage.sends(family, 53, 300, &[3, 2, 1, 0]);
        stage.a.expect_counted(&stage.net, "drop_fragment_without_first", number * (PARTS - 1));
    }
    good.expect_empty();
    // What follows the first one in another order than it was cut is as good as ever.
    for family in Family::BOTH {
        stage.sends(family, 53, 301, &[0, 3, 1, 2]);
        good.expect(&LETTER);
    }
    lab.ends_clean();
}

#[test]
fn later_fragments_that_come_first_pass_where_no_policy_governs() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    lab.withdraws_policy("default/only-53");
    let letters = stage.a.mailbox(54);
    for family in Family::BOTH {
        stage.sends(family, 54, 400, &[3, 2, 1, 0]);
        letters.expect(&LETTER);
    }
    assert_eq!(stage.a.denials(&stage.net), Vec::<String>::new());
    lab.ends_clean();
}

#[test]
fn fragments_whose_first_one_is_lost_are_dropped_where_a_policy_governs_and_the_next_datagram_is_not() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let good = stage.a.mailbox(53);
    for (number, family) in (1..).zip(Family::BOTH) {
        stage.sends(family, 53, 500, &[1, 2, 3]);
        stage.a.expect_counted(&stage.net, "drop_fragment_without_first", number * (PARTS - 1));
        stage.sends(family, 53, 501, &[0, 1, 2, 3]);
        good.expect(&LETTER);
    }
    lab.ends_clean();
}

#[test]
fn a_fragment_that_would_write_over_the_ports_and_flags_is_dropped_with_and_without_a_policy() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let wire = stage.b.wire("eth0");
    let sees = stage.a.wire("eth0");
    let overlap = |family, offset| stage.frame(family, 53).fragment(6, &[0; 24], offset, false, 600);
    let overlaps = || Family::BOTH.into_iter().flat_map(|family| [overlap(family, 8), overlap(family, 16)]);
    let dropped = || stage.a.counted(&stage.net, "drop_fragment_overlap") + stage.b.counted(&stage.net, "drop_fragment_overlap");
    overlaps().for_each(|frame| wire.send(&frame));
    lab::eventually("they are dropped", || (dropped() == 4).then_some(()));
    lab.withdraws_policy("default/only-53");
    overlaps().for_each(|frame| wire.send(&frame));
    lab::eventually("they are dropped again", || (dropped() == 8).then_some(()));
    sees.expect_none("a part of TCP", |seen| matches!(seen, lab::packet::Seen::Ip(_, _, 6 | 44, _)).then(|| seen.clone()));
    lab.ends_clean();
}

#[test]
fn parts_of_a_denied_datagram_do_not_pass_as_those_of_an_allowed_one() {
    let lab = Lab::unfiltered();
    let stage = Stage::on(&lab);
    let (good, bad) = (stage.a.mailbox(53), stage.a.mailbox(54));
    for family in Family::BOTH {
        // The same identification: the second datagram begins before the first has ended.
        stage.sends(family, 53, 700, &[0, 1]);
        stage.sends(family, 54, 700, &[0, 1, 2, 3]);
    }
    bad.expect_empty();
    good.expect_empty();
    lab.ends_clean();
}
