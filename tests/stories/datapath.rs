//! The eBPF programs count every packet of every attachment, go on without the daemon, and are replaced without missing one.

use std::net::SocketAddr;

use lab::{
    Container, Lab, Network,
    cni::Conflist,
    eventually,
    packet::{Frame, Seen},
    policy::reach::tcp,
    wire::Wire,
};
use netd_api::{
    addr::Family,
    view::{Counters, Presence},
};

fn counters(container: &Container<'_>, net: &Network<'_>) -> Counters {
    container.attachment(net).counters.expect("the program counts on this kernel")
}

/// What the interfaces counted: packets and bytes that the container sent, as its host end received them, and that it received itself. (The host end does not see
/// what takes the short way.)
fn interface(lab: &Lab, container: &Container<'_>, net: &Network<'_>) -> [u64; 4] {
    let attachment = container.attachment(net);
    let received = |link: serde_json::Value| ["packets", "bytes"].map(|unit| link["stats64"]["rx"][unit].as_u64().unwrap());
    let [from_packets, from_bytes] = received(lab.here().link(attachment.host_ifname.as_str()));
    let [to_packets, to_bytes] = received(container.link(attachment.ifname.as_str()));
    [from_packets, from_bytes, to_packets, to_bytes]
}

/// So many requests make more packets than a container that has just come sends and gets unasked.
const FETCHES: u64 = 40;

/// Datagrams of 100 bytes from one container to another, as frames, so that their number is known exactly.
struct Volley {
    from: Wire,
    to: Wire,
    frame: Frame,
}

impl Volley {
    fn between(from: &Container<'_>, to: &Container<'_>) -> Self {
        let at = |container: &Container<'_>, port| SocketAddr::new(container.address(Family::V4), port);
        let frame = Frame { from_mac: from.mac("eth0"), to_mac: to.mac("eth0"), from: at(from, 4444), to: at(to, 9999) };
        Self { from: from.wire("eth0"), to: to.wire("eth0"), frame }
    }

    /// Sends so many, and waits until the last has arrived.
    fn fires(&self, count: u64) {
        for number in 0..count {
            let mut payload = [0; 100];
            payload[..8].copy_from_slice(&number.to_be_bytes());
            self.from.send(&self.frame.udp(&payload));
            if number % 64 == 63 || number + 1 == count {
                self.to.expect("the last datagram", |seen| match seen {
                    Seen::Ip(_, _, 17, body) if body.get(8..16) == Some(&number.to_be_bytes()[..]) => Some(()),
                    _ => None,
                });
            }
        }
    }
}

#[test]
fn counters_agree_with_the_interface_to_the_packet_and_the_byte() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    let b = net.container("b");
    b.streams(a.v4(80)).expect_flowing();
    b.streams(a.v6(80)).expect_flowing();
    Volley::between(&b, &a).fires(100);
    for container in [&a, &b] {
        eventually("both counters agree", || {
            let seen = counters(container, &net);
            let [from_packets, from_bytes, to_packets, to_bytes] = interface(&lab, container, &net);
            let agree = (seen.from.packets, seen.from.bytes) == (from_packets, from_bytes)
                && (seen.to.packets, seen.to.bytes) == (to_packets, to_bytes);
            agree.then_some(())
        });
    }
    lab.ends_clean();
}

#[test]
fn exactly_the_packets_that_were_sent_are_counted_with_and_without_a_daemon() {
    let lab = Lab::new();
    let net = lab.new_network("web").made();
    let (a, b) = (net.container("a"), net.container("b"));
    let volley = Volley::between(&a, &b);
    // Ethernet, IPv4 and UDP headers, and the payload.
    let frame_bytes = 14 + 20 + 8 + 100;
    let before = counters(&a, &net);
    volley.fires(300);
    let after = counters(&a, &net);
    assert!(after.from.packets >= before.from.packets + 300 && after.from.packets < before.from.packets + 310, "{before:?} {after:?}");
    assert!(after.from.bytes >= before.from.bytes + 300 * frame_bytes);
    lab.netd().kill9();
    volley.fires(300);
    lab.netd().start();
    let last = counters(&a, &net);
    assert!(last.from.packets >= after.from.packets + 300 && last.from.packets < after.from.packets + 310, "{after:?} {last:?}");
    lab.ends_clean();
}

#[test]
fn a_restart_replaces_the_programs_while_traffic_runs_and_misses_no_packet() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    let b = net.container("b");
    let stream = b.streams(a.v4(80));
    for _ in 0..3 {
        lab.netd().restart();
        stream.expect_flowing();
        lab.netd().crash();
        stream.expect_flowing();
    }
    drop(stream);
    eventually("not a packet was missed", || {
        let seen = counters(&a, &net);
        let [from_packets, _, to_packets, _] = interface(&lab, &a, &net);
        ((seen.from.packets, seen.to.packets) == (from_packets, to_packets)).then_some(())
    });
    lab.ends_clean();
}

#[test]
fn a_link_that_somebody_removed_comes_back_and_goes_on_counting() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a"), net.container("b"));
    Volley::between(&a, &b).fires(100);
    let before = counters(&a, &net);
    let link = a.attachment(&net).host_ifname;
    let number = || lab.here().links().contains(&link.to_string()).then(|| lab.here().link(link.as_str())["ifindex"].as_u64());
    let former = number();
    lab.here().run("ip", &["link", "del", link.as_str()]);
    eventually("it is made again", || (number().is_some() && number() != former).then_some(()));
    eventually("it is reached again", || b.pings(a.address(Family::V4)).then_some(()));
    let after = counters(&a, &net);
    assert!(after.from.packets > before.from.packets, "{before:?} {after:?}");
    lab.ends_clean_uncounted();
}

#[test]
fn the_next_container_counts_from_zero_though_the_former_ones_link_went_by_itself() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let net = || lab.known_network("web");
    let seen = |id: &str| counters(&lab.container(id), &net());
    // How netd hears of it: by the DEL, by the kernel and then the DEL, at its next start.
    for (round, how) in ["DEL", "noticed", "restart"].into_iter().enumerate() {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        let a = cni.sandbox(&old).listens(80);
        let added = a.joins(&list);
        for _ in 0..FETCHES {
            lab.here().fetches(added.v4(80)).expect_from(&old);
        }
        let many = seen(&old).from.packets;
        assert!(many > 3 * FETCHES, "{many}");
        if how == "restart" {
            lab.netd().kill9();
        }
        a.ends();
        match how {
            "noticed" => eventually("it is noticed", || (lab.container(&old).inspect().state == Presence::Absent).then_some(())),
            "restart" => lab.netd().start(),
            _ => {}
        }
        a.leaves(&list);
        let b = cni.sandbox(&new);
        b.joins(&list);
        let first = seen(&new);
        assert!(first.from.packets < FETCHES && first.to.packets < FETCHES, "{how}: {first:?}");
        b.leaves(&list);
        b.ends();
    }
    lab.ends_clean();
}

#[test]
fn a_container_whose_place_was_left_half_written_is_itself_again_after_the_next_start() {
    const COUNT: u64 = 100;
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a"), net.container("b"));
    let (host_end, volley) = (a.attachment(&net).host_ifname.to_string(), Volley::between(&a, &b));
    volley.fires(COUNT);
    lab.netd().kill9();
    lab.mistakes(&host_end);
    lab.netd().start();
    let before = counters(&a, &net);
    volley.fires(COUNT);
    let after = counters(&a, &net);
    assert!(after.from.packets >= before.from.packets + COUNT, "{before:?} {after:?}");
    lab.ends_clean_uncounted();
}

#[test]
fn programs_and_maps_are_pinned_and_gone_after_a_cleanup() {
    let lab = Lab::new();
    let net = lab.network("web");
    net.container("a");
    let pins = || std::fs::read_dir(lab.host().path("/sys/fs/bpf/netd")).map_or(0, Iterator::count);
    assert!(pins() > 0);
    lab.netd().stop();
    assert!(pins() > 0, "a stop leaves the data path running");
    lab.netd().start();
    lab.cleanup();
    assert_eq!(pins(), 0);
    lab.ends_clean();
}

#[test]
fn a_map_of_a_former_layout_is_not_taken_for_one_of_todays_of_the_same_shape() {
    let lab = Lab::new();
    let net = lab.network("web");
    let [a, b] = ["a", "b"].map(|name| net.container(name).listens(80));
    a.reaches(&b, tcp(80));
    lab.netd().stop();
    let (layout, former) = (lab.layout("FLOWS"), lab.map_id("FLOWS"));
    lab.takes_back_layout("FLOWS");
    lab.netd().start();
    assert_eq!(lab.layout("FLOWS"), layout);
    assert_ne!(lab.map_id("FLOWS"), former, "the programs of before still write it in another order");
    a.reaches(&b, tcp(80));
    lab.ends_clean();
}

#[test]
fn status_says_which_kernel_features_are_used() {
    let lab = Lab::new();
    let status = lab.status();
    assert!(!status.features.is_empty() && status.features.iter().all(|feature| !feature.note.is_empty()), "{:?}", status.features);
    assert_eq!(status.uplinks.iter().map(ToString::to_string).collect::<Vec<_>>(), [lab::UPLINK]);
    assert!(status.degraded.is_empty(), "{:?}", status.degraded);
    lab.ends_clean();
}
