//! The lab's own promises, without netd: stations talk, the outside is there, labs do not see each other, nothing is left.

use std::{net::SocketAddr, time::Duration};

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_LINK, OUTSIDE_V4, OUTSIDE_V6, UPLINK,
    packet::{Frame, Seen},
};

#[test]
fn two_namespaces_talk_over_a_cable() {
    let lab = Lab::bare();
    let (a, b) = (lab.stranger("a"), lab.stranger("b"));
    a.run("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "b"]);
    for (station, v4, v6) in [(&a, "10.0.0.1/24", "fd00::1/64"), (&b, "10.0.0.2/24", "fd00::2/64")] {
        station.run("ip", &["link", "set", "eth0", "up"]);
        station.takes_address(v4, "eth0").takes_address(v6, "eth0");
    }
    b.serves(80).serves_udp(53);
    let answer = a.fetches("10.0.0.2:80").expect_from(&b);
    assert_eq!(answer.seen.ip().to_string(), "10.0.0.1");
    a.fetches("[fd00::2]:80").expect_from(&b);
    a.asks("10.0.0.2:53").expect_from(&b);
    a.asks("[fd00::2]:53").expect_from(&b);
    assert!(a.pings("10.0.0.2") && a.pings("fd00::2"));
    assert!(a.cannot_ping("10.0.0.3"));
    a.tries("10.0.0.2:81").expect_refused();
    a.tries_to_ask("10.0.0.2:54").expect_refused();
    b.run("nft", &["add table inet deaf; add chain inet deaf in { type filter hook input priority 0; policy drop; }"]);
    a.tries("10.0.0.2:80").expect_silence();
}

#[test]
fn the_outside_host_is_reachable_over_both_families() {
    let lab = Lab::bare();
    lab.outside().serves(80);
    lab.here().serves(81);
    lab.here().fetches((OUTSIDE_V4, 80)).expect_from(lab.outside());
    lab.here().fetches((OUTSIDE_V6, 80)).expect_from(lab.outside());
    lab.outside().fetches((HOST_V4, 81)).expect_from(lab.here());
    let answer = lab.outside().fetches((HOST_V6, 81)).expect_from(lab.here());
    assert_eq!(answer.seen.ip().to_string(), OUTSIDE_V6);
    let answer = lab.outside().fetches_from((OUTSIDE_V4, 4321), (HOST_V4, 81)).expect_from(lab.here());
    assert_eq!(answer.seen.port(), 4321);
}

#[test]
fn labs_do_not_see_each_other_nor_the_machine() {
    let (one, two) = (Lab::bare(), Lab::bare());
    one.here().serves(80);
    two.here().serves(80);
    one.outside().fetches((HOST_V4, 80)).expect_from(one.here());
    let mut links = one.here().links();
    links.sort();
    assert_eq!(links, ["lo", UPLINK]);
    one.stranger("only-here");
    assert!(!two.host().path("/run/netns/only-here").exists());
    assert!(!std::path::Path::new("/run/netns/only-here").exists());
    assert!(two.nft().is_empty(), "a private host begins without rules");
    one.leaves_nothing_but("file /run/netns/only-here");
}

#[test]
fn a_stream_that_is_cut_is_noticed_and_one_that_is_not_flows() {
    let lab = Lab::bare();
    lab.outside().serves(80);
    let stream = lab.here().streams((OUTSIDE_V4, 80));
    stream.expect_flowing();
    assert!(stream.longest_pause() < Duration::from_secs(5));
    lab.here().run("ip", &["link", "set", UPLINK, "down"]);
    stream.expect_cut();
}

#[test]
fn frames_made_by_hand_arrive_as_made() {
    let lab = Lab::bare();
    let (near, far) = (lab.here().wire(UPLINK), lab.outside().wire(OUTSIDE_LINK));
    for (from, to) in [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)] {
        let from = SocketAddr::new(from.parse().unwrap(), 7);
        let to = SocketAddr::new(to.parse().unwrap(), 9);
        let frame = Frame { from_mac: [2, 0, 0, 0, 0, 1], to_mac: [0xff; 6], from, to };
        for (protocol, bytes) in [(17, frame.udp(b"hello")), (6, frame.syn()), (132, frame.sctp_init())] {
            near.send(&bytes);
            let ports = far.expect("the packet", |seen| match seen {
                Seen::Ip(source, _, kind, _) if *source == from.ip() && *kind == protocol => seen.ports(),
                _ => None,
            });
            assert_eq!(ports, (7, 9));
        }
    }
    // The kernel takes our datagram for a good one and the server answers it: the checksums are right.
    lab.outside().serves_udp(9);
    for (from, to) in [((HOST_V4, 7), (OUTSIDE_V4, 9)), ((HOST_V6, 7), (OUTSIDE_V6, 9))] {
        let at = |(address, port): (&str, u16)| SocketAddr::new(address.parse().unwrap(), port);
        let frame = Frame { from_mac: lab.here().mac(UPLINK), to_mac: lab.outside().mac(OUTSIDE_LINK), from: at(from), to: at(to) };
        near.send(&frame.udp(b"hello"));
        near.expect("the answer", |seen| (seen.ports() == Some((9, 7))).then_some(()));
    }
}

#[test]
fn a_failing_story_is_explained() {
    let failure = std::panic::catch_unwind(|| {
        let lab = Lab::bare();
        let page = lab.explanation();
        assert!(page.contains(UPLINK) && page.contains("nsenter --target") && page.contains(HOST_V4), "{page}");
        lab.here().tries((OUTSIDE_V4, 80)).expect_from("nobody");
    });
    let words = *failure.expect_err("nobody serves there").downcast::<String>().expect("a sentence");
    assert_eq!(words, "host fetches 192.0.2.2:80: expected an answer from nobody, got a refusal");
}
