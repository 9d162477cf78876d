//! Tables that are full: what finds no room is counted, what is known goes on, and nothing passes that a policy denies.

use std::net::{Ipv4Addr, SocketAddr};

use lab::{
    Container, Lab, Network, UPLINK,
    counted::Way,
    eventually,
    packet::Frame,
    policy::{model::Protocol, probe::Got, reach::udp, responder::Responder, yaml::network_policy},
    prog::{Answer, Programs},
};
use netd_api::addr::Family;

/// Only what it asked for itself comes in.
const CLOSED: &str = "{podSelector: {matchLabels: {app: closed}}, policyTypes: [Ingress]}";
const ONLY_53: &str = "{podSelector: {matchLabels: {app: closed}}, ingress: [{ports: [{port: 53, protocol: UDP}]}]}";
/// Nobody's hardware address.
const STRANGE_MAC: [u8; 6] = [2, 0x6e, 0x64, 0, 0, 0x99];
/// Flows that the table has room for, answered ones among them, and answered ones beside it.
const FLOWS: usize = 32_768;
const CONFIRMED: usize = 24_576;
const SPILLED: usize = 131_072;
/// More of them than all that together.
const MANY: usize = 180_000;

/// A container that a policy closes, and the programs at its host's end.
struct Stage<'lab> {
    net: Network<'lab>,
    closed: Container<'lab>,
    programs: Programs,
    host_end: String,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab, policy: &str) -> Self {
        let net = lab.network("web");
        let closed = lab.new_container("closed").on(&net).label("app", "closed").made();
        lab.applies(&network_policy("default/closed", policy));
        let host_end = closed.attachment(&net).host_ifname.to_string();
        Self { net, closed, programs: lab.programs(), host_end }
    }

    /// From it to one of many stations outside, by nobody's hardware address.
    fn sends(&self) -> impl Fn(usize) -> Frame + use<> {
        let (from_mac, from) = (self.closed.mac("eth0"), self.closed.v4(4444));
        move |number| {
            let far = Ipv4Addr::from(0x0b00_0000 + u32::try_from(number).expect("not that many"));
            Frame { from_mac, to_mac: STRANGE_MAC, from, to: SocketAddr::new(far.into(), 53) }
        }
    }

    /// From one of them to it.
    fn gets(&self) -> impl Fn(usize) -> Frame + use<> {
        let sends = self.sends();
        move |number| {
            let Frame { from_mac, to_mac, from, to } = sends(number);
            Frame { from_mac: to_mac, to_mac: from_mac, from: to, to: from }
        }
    }

    fn run(&self, frames: impl Iterator<Item = (Way, Vec<u8>)> + Send) -> Vec<Answer> {
        self.programs.run_all(&self.host_end, Some(UPLINK), frames)
    }
}

fn both(container: &Container<'_>, port: u16) -> [SocketAddr; 2] {
    Family::BOTH.map(|family| SocketAddr::new(container.address(family), port))
}

fn count(answers: &[Answer], wanted: Answer) -> usize {
    answers.iter().filter(|answer| **answer == wanted).count()
}

#[test]
fn answered_flows_that_find_no_room_anywhere_go_on_until_they_give_way_and_no_other_does() {
    let lab = Lab::new();
    let stage = Stage::on(&lab, CLOSED);
    let (net, closed) = (&stage.net, &stage.closed);
    let server = net.container("server").listens(80).listens_udp(80);
    let _answers = Responder::at(closed, &[80]);
    let stream = closed.streams(server.v4(80));
    let (open, shut) = (both(&server, 80), both(closed, 80));
    let (sends, gets) = (stage.sends(), stage.gets());
    // A daemon would make room.
    lab.netd().kill9();
    let answers = stage.run((0..MANY).flat_map(|number| [(Way::From, sends(number).udp(b"?")), (Way::To, gets(number).udp(b"!"))]));
    assert_eq!(count(&answers, Answer::Continue), 2 * MANY, "each of them is answered");
    let again = stage.run((0..MANY).map(|number| (Way::To, gets(number).udp(b"more"))));
    let (goes_on, gave_way) = (count(&again, Answer::Continue), count(&again, Answer::Drop));
    assert_eq!(goes_on + gave_way, MANY);
    // The stream has a place of its own.
    assert!((SPILLED + CONFIRMED - 1..=SPILLED + FLOWS).contains(&goes_on), "{goes_on} go on");
    let first = again.iter().position(|answer| *answer == Answer::Drop).expect("some gave way");
    assert!(first > SPILLED, "those that were there before go on, but {first} did not");
    stream.expect_flowing();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        closed.expect_to_get(Got::Reached, &open, protocol);
        server.expect_to_get(Got::Silence, &shut, protocol);
    }
    lab.netd().start();
    assert_eq!(closed.counted(net, "drop_policy"), u64::try_from(gave_way).unwrap() + 6, "and each of those is counted");
    let status = lab.policy_status();
    assert!(status.events["flow_not_confirmed"] >= (MANY - SPILLED - CONFIRMED) as u64, "{:?}", status.events);
    // The next one wakes netd, which makes room.
    eventually("there is room again", || {
        closed.reaches(&server, udp(80));
        let spilled = lab.policy_status().tables.into_iter().find(|table| table.name == "spilled flows").expect("it is shown");
        (spilled.used <= (SPILLED - SPILLED / 10) as u64 + 100).then_some(())
    });
    stream.expect_flowing();
    drop(stream);
    lab.ends_clean_uncounted();
}

#[test]
fn of_first_fragments_the_one_of_longest_ago_gives_way_and_the_rest_of_its_packet_is_dropped() {
    const ROOM: u32 = 4_096;
    let lab = Lab::new();
    let stage = Stage::on(&lab, ONLY_53);
    let gets = stage.gets();
    let letter = |id| Frame { to: stage.closed.v4(53), ..gets(0) }.udp_in_fragments(&[7; 100], 48, id);
    let run = |frames: &[Vec<u8>]| stage.run(frames.iter().cloned().map(|frame| (Way::To, frame)));
    let (old, new) = (letter(1), letter(2));
    assert_eq!(run(&old[..1]), [Answer::Continue]);
    let firsts: Vec<Vec<u8>> = (3..3 + 2 * ROOM).map(|id| letter(id).swap_remove(0)).collect();
    assert_eq!(count(&run(&firsts), Answer::Continue), firsts.len());
    assert_eq!(run(&old[1..]), [Answer::Drop; 2]);
    assert_eq!(stage.closed.counted(&stage.net, "drop_fragment_without_first"), 2);
    assert_eq!(run(&new), [Answer::Continue; 3], "others find room as ever");
    lab.ends_clean_uncounted();
}

#[test]
fn what_is_denied_is_counted_by_its_reason_alone_where_there_is_no_room_and_does_not_pass() {
    let lab = Lab::new();
    let stage = Stage::on(&lab, CLOSED);
    let server = stage.net.container("server");
    let _answers = Responder::at(&stage.closed, &[80]);
    server.reaches_not(&stage.closed, udp(80));
    let before = stage.closed.counted(&stage.net, "drop_policy");
    lab.fills_reasons();
    // What has a counter already goes on being counted in it. (How often somebody asks in vain, a busy machine decides.)
    server.reaches_not(&stage.closed, udp(80));
    let after = stage.closed.counted(&stage.net, "drop_policy");
    assert!(after > before, "{before} {after}");
    // Another reason, of another container: nobody is known by this address.
    let frame = Frame { from: SocketAddr::new(Ipv4Addr::new(203, 0, 113, 9).into(), 1), ..stage.sends()(0) };
    let others = not_counted(&lab);
    assert_eq!(stage.run([(Way::From, frame.udp(b"netd"))].into_iter()), [Answer::Drop]);
    assert_eq!((stage.closed.counted(&stage.net, "drop_source_address"), not_counted(&lab)), (0, others + 1));
    assert_eq!(lab.policy_status().events["drop_source_address"], 1, "its reason is shown");
    lab.ends_clean_uncounted();
}

fn not_counted(lab: &Lab) -> u64 {
    lab.policy_status().events.get("reason_not_counted").copied().unwrap_or_default()
}
