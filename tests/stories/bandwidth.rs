//! A container gets and sends as fast as its runtime asked for it, and no faster: measured by what arrives, whatever it or anybody else tries.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lab::{Container, Lab, Network, Station, packet::Frame, within};
use netd_api::{
    addr::Family,
    cni::{Bandwidth, CniAdd, CniKey, CniNetwork, Rate},
    message::{Reply, Request},
    names::Namespace,
};

/// How far from the asked rate the measured one may be.
const NEAR: f64 = 0.05;
/// A connection finds its pace, and the first burst is over.
const WARM: Duration = Duration::from_secs(1);
/// The end of the steady part that is measured.
const ENOUGH: Duration = Duration::from_secs(4);
/// As in the stories of drift: a second, and room for a busy machine.
const SOON: Duration = Duration::from_secs(6);

fn megabits(count: u64) -> Option<Rate> {
    Some(Rate { bits_per_second: count * 1_000_000, burst_bits: None })
}

/// What is known of an attachment by its runtime.
fn key(net: &Network<'_>, name: &str) -> CniKey {
    CniKey { config: net.name().clone(), container: name.parse().unwrap(), ifname: "eth0".parse().unwrap() }
}

/// A container that a runtime attaches with a bandwidth.
#[track_caller]
fn paced<'lab>(lab: &'lab Lab, net: &Network<'lab>, name: &str, bandwidth: Bandwidth) -> Container<'lab> {
    lab.stranger(name);
    let reply = lab.done(&Request::CniAdd(Box::new(CniAdd {
        key: key(net, name),
        netns: format!("/run/netns/{name}"),
        name: Some(name.parse().unwrap()),
        namespace: Namespace::default(),
        labels: [].into(),
        cgroup: None,
        network: CniNetwork::Named(net.name().clone()),
        addresses: Vec::new(),
        mac: None,
        routes: None,
        publish: Vec::new(),
        bandwidth,
        sysctls: [].into(),
        aliases: Vec::new(),
    })));
    assert!(matches!(reply, Reply::CniAdded(_)), "{reply:?}");
    lab.container(name)
}

/// A container that gets and sends so many megabits a second.
#[track_caller]
pub(crate) fn paced_at<'lab>(lab: &'lab Lab, net: &Network<'lab>, name: &str, rate: u64) -> Container<'lab> {
    paced(lab, net, name, Bandwidth { ingress: megabits(rate), egress: megabits(rate) })
}

/// Takes it away again, as its runtime would.
pub(crate) fn ends(lab: &Lab, net: &Network<'_>, name: &str) {
    lab.done(&Request::CniDel(key(net, name)));
    lab.here().run("ip", &["netns", "del", name]);
}

/// The wire rate of the steady part from one container to another is the asked one.
#[track_caller]
fn flows_at(asked: u64, from: &Container<'_>, to: &Container<'_>, family: Family) {
    let rate = from.pours(to, to.address(family), ENOUGH).wire_rate(WARM, ENOUGH) / 1e6;
    println!("{from} to {to} over {family:?}: asked {asked} Mbit/s, measured {rate:.2}");
    assert!((rate / asked as f64 - 1.0).abs() <= NEAR, "{from} to {to} over {family:?}: asked {asked} Mbit/s, measured {rate:.2}");
}

/// The same by what comes in at the receiver's interface: a lost frame, for which a connection waits long at a low rate, holds back what it counts as
/// arrived. A packet that passed whole has its headers once (66 bytes: Ethernet, IPv4, TCP with time stamps); on a wire each 1,448 bytes have them.
#[track_caller]
fn frames_arrive_at(asked: u64, from: &Container<'_>, to: &Container<'_>) {
    let (sender, receiver, at): (&Station, &Station, _) = (from, to, to.address(Family::V4));
    std::thread::scope(|scope| {
        let pouring = scope.spawn(move || sender.pours(receiver, at, ENOUGH));
        let came = || {
            let stats = receiver.link("eth0")["stats64"]["rx"].take();
            let payload = stats["bytes"].as_u64().unwrap() - 66 * stats["packets"].as_u64().unwrap();
            (Instant::now(), payload as f64 * 1514.0 / 1448.0)
        };
        std::thread::sleep(WARM);
        let (start, before) = came();
        std::thread::sleep(ENOUGH - WARM - WARM / 2);
        let (end, after) = came();
        let rate = (after - before) * 8.0 / 1e6 / (end - start).as_secs_f64();
        println!("{from} to {to}: asked {asked} Mbit/s, {rate:.2} came in");
        assert!((rate / asked as f64 - 1.0).abs() <= NEAR, "{from} to {to}: asked {asked} Mbit/s, {rate:.2} came in");
        pouring.join().unwrap();
    });
}

/// The pacers that there are on the host.
pub(crate) fn pacers(lab: &Lab) -> Vec<String> {
    lab.here().links().into_iter().filter(|name| name.starts_with("ndi")).collect()
}

fn bucket_of(lab: &Lab, link: &str) -> String {
    lab.here().run("tc", &["qdisc", "show", "dev", link, "root"])
}

#[test]
fn the_asked_rate_is_kept_in_both_directions_and_families() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    for rate in [50, 200] {
        let name = format!("at-{rate}");
        let limited = paced_at(&lab, &net, &name, rate);
        for family in Family::BOTH {
            flows_at(rate, &free, &limited, family);
            flows_at(rate, &limited, &free, family);
        }
        ends(&lab, &net, &name);
    }
    lab.ends_clean();
}

/// What is dropped behind the programs was passed on by them.
#[test]
fn what_a_container_gets_too_fast_is_counted_as_passed_on_and_its_pacer_counts_what_it_dropped() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    let limited = paced(&lab, &net, "a", Bandwidth { ingress: megabits(5), egress: None });
    let host_end = limited.attachment(&net).host_ifname.to_string();
    let _open = limited.mailbox(9);
    let at = |container: &Container<'_>, port| SocketAddr::new(container.address(Family::V4), port);
    let frame = Frame { from_mac: free.mac("eth0"), to_mac: limited.mac("eth0"), from: at(&free, 4444), to: at(&limited, 9) };
    let (wire, frame) = (free.wire("eth0"), frame.udp(&[7; 1_000]));
    let dropped = || {
        let said = lab.here().run("tc", &["-json", "-statistics", "qdisc", "show", "dev", &host_end, "root"]);
        let all: serde_json::Value = serde_json::from_str(&said).expect("tc prints JSON");
        all[0]["drops"].as_u64().expect("a queue counts what it drops")
    };
    // However slow this machine is, at some moment more has come than the queue takes.
    lab::eventually("the pacer drops", || {
        (0..1_000).for_each(|_| wire.send(&frame));
        (dropped() > 100).then_some(())
    });
    within(SOON, "each packet arrived, or was dropped by the pacer", || {
        let passed = limited.attachment(&net).counters.expect("the programs count on this kernel").to.packets;
        let arrived = limited.link("eth0")["stats64"]["rx"]["packets"].as_u64().expect("iproute2 prints counters");
        (passed == arrived + dropped()).then_some(())
    });
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn each_direction_has_its_own_rate_and_a_low_one_is_kept_too() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    let limited = paced(&lab, &net, "a", Bandwidth { ingress: megabits(5), egress: megabits(20) });
    frames_arrive_at(5, &free, &limited);
    frames_arrive_at(20, &limited, &free);
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn a_burst_goes_at_once_and_what_follows_at_the_rate() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    // A megabyte a second, and two at once.
    let rate = Some(Rate { bits_per_second: 8_000_000, burst_bits: Some(16_000_000) });
    let limited = paced(&lab, &net, "a", Bandwidth { ingress: rate, egress: rate });
    for (from, to) in [(&free, &limited), (&limited, &free)] {
        let poured = from.pours(to, to.address(Family::V4), ENOUGH);
        let burst = poured.time_of(1_500_000).expect("more than the burst arrives");
        assert!(burst < Duration::from_millis(750), "half of the time that 1.5 MB take at the rate: {burst:?}");
        // What waits while a busy machine holds the sender up comes later: over the whole time it is the burst and the rate, whenever it stood still.
        let rest = poured.wire_rate(Duration::ZERO, ENOUGH) / 1e6 - 16.0 / ENOUGH.as_secs_f64();
        assert!((rest / 8.0 - 1.0).abs() <= NEAR, "beside the burst {rest:.2} Mbit/s");
    }
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn a_container_cannot_lift_its_limit_from_inside() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    let limited = paced_at(&lab, &net, "a", 50);
    limited.run("tc", &["qdisc", "replace", "dev", "eth0", "root", "pfifo", "limit", "10000"]);
    limited.run("ip", &["link", "set", "eth0", "txqueuelen", "10000"]);
    limited.run("ip", &["link", "set", "eth0", "down"]);
    limited.run("ip", &["link", "set", "eth0", "address", "02:00:00:00:00:77", "up"]);
    within(Duration::from_secs(50), "the container's end is as it should be again", || lab.plan().is_empty().then_some(()));
    flows_at(50, &free, &limited, Family::V4);
    flows_at(50, &limited, &free, Family::V4);
    // Several connections at once share one limit.
    let (from, to, at): (&Station, &Station, _) = (&limited, &free, free.address(Family::V4));
    let (one, other) = std::thread::scope(|scope| {
        let pour = || from.pours(to, at, ENOUGH).wire_rate(WARM, ENOUGH) / 1e6;
        let other = scope.spawn(pour);
        (pour(), other.join().unwrap())
    });
    // What is sent again is no payload, so there is only an upper bound.
    assert!(one + other <= 50.0 * (1.0 + NEAR), "{one:.2} and {other:.2} Mbit/s");
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn every_packet_of_a_paced_container_is_counted_once() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    let limited = paced_at(&lab, &net, "a", 50);
    limited.pours(&free, free.address(Family::V4), WARM);
    free.pours(&limited, limited.address(Family::V4), WARM);
    let veth = limited.attachment(&net).host_ifname.to_string();
    let stat = |link: &serde_json::Value, direction: &str, what: &str| link["stats64"][direction][what].as_u64().unwrap();
    lab::eventually("the program's counters and the interface's agree", || {
        let link = lab.here().link(&veth);
        let from = limited.attachment(&net).counters.unwrap().from;
        ((from.packets, from.bytes) == (stat(&link, "rx", "packets"), stat(&link, "rx", "bytes"))).then_some(())
    });
    // What it gets is counted before its bucket: as many frames as went through and were dropped there, large packets as the frames they were cut into.
    lab::eventually("what came through the bucket and what it dropped is what was counted", || {
        let said = lab.here().run("tc", &["-s", "-j", "qdisc", "show", "dev", &veth, "root"]);
        let queue: serde_json::Value = serde_json::from_str(&said).unwrap();
        let to = limited.attachment(&net).counters.unwrap().to;
        let through = queue[0]["packets"].as_u64().unwrap() + queue[0]["drops"].as_u64().unwrap();
        (to.packets <= through && through <= to.segments).then_some(())
    });
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn limits_are_in_force_without_a_daemon_and_after_its_restart() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free").listens(80);
    let limited = paced_at(&lab, &net, "a", 50);
    let (ingress, egress) = (limited.address(Family::V4), free.address(Family::V4));
    let stream = limited.streams(free.v4(80));
    let is_kept = |what: &str| {
        for (from, to, at) in [(&free, &limited, ingress), (&limited, &free, egress)] {
            let rate = from.pours(to, at, ENOUGH).wire_rate(WARM, ENOUGH) / 1e6;
            assert!((rate / 50.0 - 1.0).abs() <= NEAR, "{what}, {from} to {to}: {rate:.2} Mbit/s");
        }
    };
    lab.netd().kill9();
    is_kept("after kill -9");
    lab.netd().start();
    assert_eq!(lab.plan(), Vec::<String>::new());
    assert_eq!(lab.status().reconcile.expect("it started").done, 0, "a start finds everything as it should be");
    is_kept("after the start");
    lab.netd().restart();
    assert_eq!(lab.status().reconcile.expect("it started").done, 0);
    stream.expect_flowing();
    drop(stream);
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn a_pacer_goes_with_its_container_and_an_unlimited_one_has_none() {
    let lab = Lab::new();
    let net = lab.network("web");
    net.container("free");
    assert_eq!(pacers(&lab), Vec::<String>::new());
    paced(&lab, &net, "a", Bandwidth { ingress: None, egress: megabits(50) });
    let b = paced(&lab, &net, "b", Bandwidth { ingress: megabits(50), egress: None });
    assert_eq!(pacers(&lab).len(), 1);
    assert!(bucket_of(&lab, &pacers(&lab)[0]).contains("tbf 6e64: "));
    assert!(bucket_of(&lab, b.attachment(&net).host_ifname.as_str()).contains("tbf 6e64: "));
    ends(&lab, &net, "a");
    assert_eq!(pacers(&lab), Vec::<String>::new());
    ends(&lab, &net, "b");
    lab.ends_clean();
}

#[test]
fn other_containers_are_not_slowed() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (free, other) = (net.container("free"), net.container("other"));
    let limited = paced_at(&lab, &net, "a", 20);
    let (slow, fast, to, at): (&Station, &Station, &Station, _) = (&limited, &other, &free, free.address(Family::V4));
    std::thread::scope(|scope| {
        let pour = |from: &Station| from.pours(to, at, ENOUGH).wire_rate(WARM, ENOUGH) / 1e6;
        let slow = scope.spawn(move || pour(slow));
        let fast = pour(fast);
        let slow = slow.join().unwrap();
        assert!(slow <= 20.0 * (1.0 + NEAR), "{slow:.2} Mbit/s beside a free one");
        assert!(fast > 400.0, "{fast:.2} Mbit/s beside a limited one");
    });
    ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn deleted_and_changed_buckets_and_pacers_are_mended() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free");
    let limited = paced_at(&lab, &net, "a", 50);
    let (veth, pacer) = (limited.attachment(&net).host_ifname.to_string(), pacers(&lab).pop().expect("it has a pacer"));
    let mends = |program: &str, arguments: &[&str]| {
        let before = lab.status().drift_repaired;
        lab.here().run(program, arguments);
        within(SOON, &format!("`{program} {}` is mended and counted", arguments.join(" ")), || {
            (lab.status().drift_repaired > before && lab.plan().is_empty()).then_some(())
        });
        for link in [&veth, &pacer] {
            let bucket = bucket_of(&lab, link);
            assert!(bucket.contains("tbf 6e64: ") && bucket.contains("rate 50Mbit"), "{bucket}");
        }
    };
    for link in [&veth, &pacer] {
        mends("tc", &["qdisc", "del", "dev", link, "root"]);
        mends("tc", &["qdisc", "replace", "dev", link, "root", "pfifo"]);
        let faster = ["qdisc", "change", "dev", link, "root", "handle", "6e64:", "tbf", "rate", "1gbit", "burst", "1mb", "limit", "1mb"];
        mends("tc", &faster);
    }
    mends("ip", &["link", "set", &pacer, "down"]);
    flows_at(50, &limited, &free, Family::V4);
    mends("ip", &["link", "del", &pacer]);
    flows_at(50, &limited, &free, Family::V6);
    flows_at(50, &free, &limited, Family::V6);
    mends("ip", &["link", "del", &veth]);
    flows_at(50, &limited, &free, Family::V4);
    ends(&lab, &net, "a");
    lab.ends_clean();
}
