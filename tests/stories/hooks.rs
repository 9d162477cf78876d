//! The programs at each interface's own hooks: they come there while traffic runs, and whatever becomes of them no packet passes by all programs.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use lab::{Container, Lab, policy::yaml::network_policy};

/// Nobody reaches the server, but at this port.
const ONLY_80: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 80}]}]}";

/// While this happens a container sends datagrams to a port where nobody listens, as fast as one thread can: something is under way in every moment.
/// Beside it a connection is used.
fn while_packets_fly(from: &Container<'_>, to: &Container<'_>, happens: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let stream = from.streams(to.v4(80));
    let target = to.v4(9);
    let socket = from.net().inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a socket can be opened");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let _refused_by_the_other_end = socket.send_to(b"packet", target);
            }
        });
        happens();
        stream.expect_flowing();
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn no_packet_is_missed_or_counted_twice_as_the_programs_come_to_the_hooks_and_leave_them() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b"));
    let ends = [&a, &b].map(|container| container.attachment(&net).host_ifname.to_string());
    while_packets_fly(&b, &a, || ends.iter().for_each(|end| lab.host().expect_hooked(end)));
    [&a, &b].iter().for_each(|container| lab.counters_add_up(container, &net));
    while_packets_fly(&b, &a, || ends.iter().for_each(|end| lab.host().unhook(end)));
    [&a, &b].iter().for_each(|container| lab.counters_add_up(container, &net));
    lab.ends_clean();
}

#[test]
fn a_policy_holds_at_the_hooks_without_netd_and_on_the_block_where_somebody_took_them_away() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80).listens(81);
    let b = net.container("b");
    let end = a.attachment(&net).host_ifname.to_string();
    lab.applies(&network_policy("default/only-80", ONLY_80));
    let (open, shut) = (a.v4(80), a.v4(81));
    let holds = || {
        b.fetches(open).expect_from(&a);
        b.tries(shut).expect_silence();
    };
    lab.host().expect_hooked(&end);
    holds();
    lab.netd().kill9();
    holds();
    lab.host().unhook(&end);
    holds();
    lab.netd().start();
    // A new netd puts them there again.
    lab.host().expect_hooked(&end);
    holds();
    lab.counters_add_up(&a, &net);
    lab.ends_clean();
}

#[test]
fn a_container_that_came_while_others_were_busy_has_the_programs_at_its_hooks_too() {
    let lab = Lab::new();
    let net = lab.network("web");
    let first = net.container("first");
    let others = ["a", "b", "c"].map(|name| net.container(name));
    let ends = || std::iter::once(&first).chain(&others).map(|container| container.attachment(&net).host_ifname.to_string());
    ends().for_each(|end| lab.host().expect_hooked(&end));
    first.disconnects(&net);
    first.connects(&net);
    ends().for_each(|end| lab.host().expect_hooked(&end));
    [&first].into_iter().chain(&others).for_each(|container| lab.counters_add_up(container, &net));
    lab.ends_clean();
}
